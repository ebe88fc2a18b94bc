//! Lines of a console are the command line's, with less to say.

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    let words = words::split(line, words::CONSOLE).map_err(|error| error.to_string())?;
    let matches = command().try_get_matches_from(words).map_err(|error| error.render().to_string())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.to_string())
}

#[test]
fn takes_the_same_commands() {
    command().debug_assert();
    assert!(matches!(parse("start neo4j --on a"), Ok(Cli { verb: Some(Verb::Start(_)), .. })));
    assert!(matches!(parse("clear data --yes"), Ok(Cli { verb: Some(Verb::Reset(_)), .. })));
    assert!(matches!(parse("cluster 192.168.0 3"), Ok(Cli { verb: Some(Verb::Cluster(_)), .. })));
    assert!(parse("strat").expect_err("no such command").contains("start"));
    insta::assert_snapshot!(parse("help").expect_err("help"));
    insta::assert_snapshot!(parse("reset -h").expect_err("help"));
}

#[test]
fn the_line_decides_over_the_console() {
    let base = parse("--json --on a --timeout 3 status").expect("parses").global;
    let line = parse("--ndjson --on b status").expect("parses").global;
    let both = merged(&base, &line, None).expect("merges");
    assert_eq!((both.json, both.ndjson, both.on.as_deref()), (false, true, Some("b")));
    assert_eq!(both.timeout, Some(Duration::from_secs(3)));
    let other = parse("--cluster x status").expect("parses");
    assert_eq!(merged(&base, &other.global, other.verb.as_ref()).expect_err("not here").exit, Exit::Usage);
}
