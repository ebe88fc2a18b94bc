//! What the command line takes and refuses.

use clap::CommandFactory;

use super::*;

#[test]
fn definition_is_sound() {
    Cli::command().debug_assert();
}

/// A value that two arguments of one name mean differently is found only when it is read.
#[test]
fn every_verb_reads_the_options_of_all() {
    let parse = |words: &[&str]| Cli::try_parse_from(["circusman"].iter().chain(words));
    assert!(parse(&["demo"]).is_ok_and(|cli| !cli.global.choice.stock));
    assert!(parse(&["demo", "--with-stock", "x"]).is_ok());
    for verb in Cli::command().get_subcommands() {
        let cli = match verb.get_name() {
            "ctl" => continue,
            "why" | "logs" | "call" | "stand-in" | "demo-guard" => parse(&["--stock", verb.get_name(), "x"]),
            name => parse(&["--stock", name]),
        };
        // What else a verb needs does not matter here; it must not panic.
        let read = cli.map(|cli| cli.global.choice.stock);
        assert_ne!(read.ok(), Some(false), "{}", verb.get_name());
    }
    let cli = parse(&["cluster", "add", "a", "--quiet"]).expect("parses");
    assert!(cli.global.quiet);
    assert!(parse(&["cluster", "detect", "--use"]).is_ok());
    assert!(parse(&["cluster", "detect", "a", "--no-multicast", "--interface", "127.0.0.1"]).is_err());
    let Ok(Cli { verb: Some(Verb::Cluster(args)), .. }) = parse(&["cluster", "add:5555"]) else {
        panic!("a host")
    };
    assert_eq!(args.first.as_deref(), Some("add:5555"));
}

#[test]
fn durations() {
    let read = |text| duration(text).map(|time| time.as_millis());
    assert_eq!(read("10"), Ok(10_000));
    assert_eq!(read("1.5s"), Ok(1_500));
    assert_eq!(read("500ms"), Ok(500));
    assert_eq!(read("2m"), Ok(120_000));
    assert_eq!(read("1h"), Ok(3_600_000));
    for bad in ["", "s", "-1", "1d", "1e9", "999h", "NaN", "inf", "1.2.3"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_heartbeat_has_bounds() {
    let parse = |words: &[&str]| Cli::try_parse_from(["circusman"].iter().chain(words));
    let beat = |words: &[&str]| match parse(words).map(|cli| cli.verb) {
        Ok(Some(Verb::Console(beat))) => beat.heartbeat,
        Ok(Some(Verb::Listen(args))) => args.beat.heartbeat,
        Ok(Some(Verb::Top(args))) => args.beat.heartbeat,
        other => panic!("{other:?}"),
    };
    assert_eq!(beat(&["listen"]), None);
    assert_eq!(beat(&["listen", "--heartbeat", "0.2"]), Some(Duration::from_millis(200)));
    assert_eq!(beat(&["top", "--heartbeat", "1m"]), Some(Duration::from_secs(60)));
    assert_eq!(beat(&["console", "--heartbeat", "5"]), Some(Duration::from_secs(5)));
    for bad in ["0", "199ms", "61", "often"] {
        let error = parse(&["listen", "--heartbeat", bad]).expect_err(bad).to_string();
        assert!(error.contains(&format!("'{bad}' for '--heartbeat <TIME>'")), "{error}");
    }
    assert!(parse(&["status", "--heartbeat", "1"]).is_err(), "it follows nobody");
}

#[test]
fn options_stand_before_or_after() {
    let parse = |words: &[&str]| Cli::try_parse_from(["circusman"].iter().chain(words));
    let cli = parse(&["--cluster", "a", "stop", "neo4j", "--on", "-b", "--timeout", "3"]).expect("parses");
    assert_eq!(cli.global.cluster.as_deref(), Some("a"));
    assert_eq!(cli.global.on.as_deref(), Some("-b"));
    let cli = parse(&["configure", "neo4j", "--services", "x.ini", "titan"]).expect("parses");
    assert_eq!(cli.global.services.as_deref(), Some(std::path::Path::new("x.ini")));
    let Some(Verb::Configure(args)) = cli.verb else { panic!("configure") };
    assert_eq!(args.services, ["neo4j", "titan"]);
    assert!(parse(&["--json", "--ndjson", "status"]).is_err());
    assert!(parse(&["--parallel", "0", "status"]).is_err());
    assert!(parse(&["--port", "0", "status"]).is_err());
    let Ok(Cli { verb: Some(Verb::Reset(args)), .. }) = parse(&["clear", "log"]) else {
        panic!("clear is reset")
    };
    assert_eq!(args.kind, Kind::Log);
    assert!(parse(&["configure", "--set", "=x"]).is_err());
    assert!(parse(&["reset", "--undo", "--keep", "1"]).is_err());
}
