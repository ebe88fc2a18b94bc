//! Faults made on purpose, from a wrong port to a wrong clock, and the first broken link that `why`
//! names for each. Listeners and daemons are real; what no daemon does (a wrong clock, an old version)
//! is a scripted node that speaks the real protocol.

pub(crate) mod world;

use serde_json::Value;
use world::{World, asked};

/// One fault: what `why` is asked, and what it must find.
struct Fault {
    /// What is wrong.
    what: &'static str,
    /// Nodes, and the words behind `why`.
    cluster: String,
    words: Vec<String>,
    /// The first broken link, a part of what it says, a part of the remedy, and the exit status.
    link: &'static str,
    text: &'static str,
    remedy: &'static str,
    exit: i32,
}

fn fault(
    what: &'static str,
    (cluster, words): (&str, &str),
    link: &'static str,
    (text, remedy): (&'static str, &'static str),
    exit: i32,
) -> Fault {
    let words = words.split(' ').map(str::to_owned).collect();
    Fault { what, cluster: cluster.to_owned(), words, link, text, remedy, exit }
}

/// What is wrong, where, and what must be found: the link, what it says and its remedy, the exit status.
type OnTheWay = (&'static str, String, &'static str, (&'static str, &'static str), i32);

/// On the way to the daemon.
fn on_the_way(world: &World) -> Vec<Fault> {
    let at = |port: u16| format!("{}:{port}", world.strangers);
    let (native, stock) = (world.native.address(), world.stock.address());
    let node = |place: &str| (place.to_owned(), place.to_owned());
    let of = |(cluster, words): &(String, String)| (cluster.clone(), words.clone());
    let places: Vec<OnTheWay> = vec![
        ("a name nobody knows", "no-such-host.invalid".to_owned(), "name", ("does not resolve", "DNS"), 4),
        ("a wrong port", format!("{native}:5999"), "port", ("nobody listens on port 5999", "--port 5555"), 4),
        ("no daemon", at(5555), "port", ("refused", "start circusd there"), 4),
        ("a filtered port", at(world.full), "port", ("filtered", "firewall"), 4),
        ("the port of events", format!("{native}:5556"), "protocol", ("PUB socket", "--port 5555"), 1),
        ("stock's port of events", format!("{stock}:5556"), "protocol", ("PUB socket", "--port 5555"), 1),
        ("an HTTP server", at(world.http), "protocol", ("HTTP server (SimpleHTTP", "port"), 1),
        ("a TLS server", at(world.tls), "protocol", ("a TLS server", "port"), 1),
        ("an SSH server", at(world.ssh), "protocol", ("SSH server (SSH-2.0-Test", "port"), 1),
        ("CURVE", at(world.curve), "protocol", ("security mechanism CURVE", "another program"), 1),
        ("a REP socket of somebody", at(world.rep), "protocol", ("none of circus'", "port"), 1),
        ("a PULL socket", at(world.pull), "protocol", ("PULL", "port"), 1),
        ("who closes at once", at(world.closer), "protocol", ("closes them at once", "descriptors"), 1),
        ("who says nothing", at(world.mute), "daemon", ("says nothing", "frozen"), 5),
        (
            "a frozen circusd-rs",
            world.frozen.address().to_owned(),
            "daemon",
            ("says nothing", "kill -CONT"),
            5,
        ),
        ("a frozen circusd", world.cold.address().to_owned(), "daemon", ("says nothing", "kill -CONT"), 5),
        ("a circusd that hangs", at(world.hanging), "daemon", ("no answer", "hangs"), 5),
        ("an old version", at(world.old), "version", ("too old", "newer"), 1),
        ("a clock that is ahead", at(world.ahead), "clock", ("7200.0 s ahead", "NTP"), 1),
        ("a clock that is behind", at(world.behind), "clock", ("s behind", "NTP"), 1),
    ];
    let mut faults = Vec::new();
    for (what, place, link, says, exit) in places {
        let (cluster, word) = of(&node(&place));
        faults.push(fault(what, (&cluster, &word), link, says, exit));
    }
    faults
}

/// On the node.
fn on_the_node(world: &World) -> Vec<Fault> {
    let native = |what, words, link, says| fault(what, (world.native.address(), words), link, says, 1);
    let stock = |what, words, link, says| fault(what, (world.stock.address(), words), link, says, 1);
    vec![
        native("no such watcher", "nobody", "watcher", ("no watcher named nobody", "ini")),
        native("never started", "idle", "wanted", ("not started yet", "circusman start idle --on")),
        native("stopped by a command", "asked", "wanted", ("stop wanted it down", "start asked")),
        native("no processes wanted", "none", "wanted", ("numprocesses is 0", "incr name=none")),
        native("a dependency is not ready", "app", "order", ("waits for db:joined", "its probe")),
        native("a conflict", "rival", "order", ("in conflict with 'runs'", "stop the other")),
        native(
            "no such program",
            "missing",
            "start",
            ("there is no such program", "install what is missing"),
        ),
        native("a hook says no", "vetoed", "start", ("before_start did not want it", "log")),
        native("its port is taken", "taken", "process", ("taken by somebody else", "ss -ltnp")),
        native(
            "an exit code of the service",
            "coded",
            "process",
            ("could not join its cluster", "logs coded"),
        ),
        native("it is done", "done", "process", ("done", "respawn")),
        native("a probe fails", "db", "ready", ("not joined yet: tcp", "probe")),
        stock("stock: stopped", "idle", "wanted", ("it is stopped", "circusman start idle")),
        stock("stock: it dies at once", "dying", "process", ("without a process", "by hand")),
        stock("stock: no such watcher", "nobody", "watcher", ("it has", "ini")),
        fault("stock: locked", (world.locked.address(), "slow"), "lock", ("already running", "hook"), 5),
    ]
}

#[test]
fn each_fault_breaks_its_link() {
    let world = World::start();
    let mut faults = on_the_way(&world);
    faults.extend(on_the_node(&world));
    let mut wrong = Vec::new();
    world.lock();
    for fault in &faults {
        let words: Vec<&str> = fault.words.iter().map(String::as_str).collect();
        // Some take a moment to become what they are.
        let mut found = String::new();
        let good = (0..8).any(|_| {
            let (exit, document) = asked(&fault.cluster, &words);
            let link = first_broken(&document);
            let says = |key: &str, part: &str| link[key].as_str().is_some_and(|text| text.contains(part));
            found = format!("exit {exit}, {link}");
            let right = exit == fault.exit
                && link["link"] == fault.link
                && says("text", fault.text)
                && says("remedy", fault.remedy);
            if !right {
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            right
        });
        if !good {
            wrong.push(format!("{}: wanted {} {:?}, found {found}", fault.what, fault.link, fault.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), faults.len(), wrong.join("\n"));
    assert!(faults.len() >= 20);
}

fn first_broken(document: &Value) -> Value {
    let links = document["nodes"][0]["data"]["links"].as_array();
    links.into_iter().flatten().find(|link| link["state"] == "broken").cloned().unwrap_or_default()
}

#[test]
fn no_route_is_told_apart() {
    // A network of its own whose loopback device is down leads nowhere.
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--map-root-user"]).arg(circus_tests::daemon::built("circusman"));
    command.args(["--json", "--cluster", "127.0.0.1", "why", "127.0.0.1"]);
    let home = tempfile::tempdir().expect("a temporary directory");
    command.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path()).env("XDG_STATE_HOME", home.path());
    let (exit, stdout, stderr) = circus_tests::daemon::run(&mut command);
    if stderr.starts_with("unshare:") {
        eprintln!("no network of its own can be made here: {stderr}");
        return;
    }
    let document: Value = serde_json::from_str(&stdout).expect("a document");
    let link = first_broken(&document);
    assert_eq!((exit, &link["link"]), (4, &"route".into()), "{document:#}");
}

#[test]
fn whole_chains_have_no_broken_link() {
    let world = World::start();
    let both = format!("{},{}", world.native.address(), world.stock.address());
    let (exit, document) = asked(&both, &["runs"]);
    assert_eq!(exit, 0, "{document:#}");
    for node in document["nodes"].as_array().expect("rows") {
        let links = node["data"]["links"].as_array().expect("links");
        let names: Vec<&str> = links.iter().filter_map(|link| link["link"].as_str()).collect();
        let first = ["name", "route", "port", "protocol", "daemon", "version", "clock", "watcher", "wanted"];
        assert_eq!(names.get(..first.len()), Some(&first[..]), "{node:#}");
        assert!(links.iter().all(|link| link["state"] != "broken"), "{node:#}");
    }
    // A word that names a node means the node, and `--on` the watcher.
    let (_, node) = asked(world.native.address(), &[world.native.address()]);
    assert_eq!(first_broken(&node)["link"], "watcher", "{node:#}");
    let (exit, watcher) =
        asked(world.native.address(), &[world.native.address(), "--on", world.native.address()]);
    assert_eq!((exit, &first_broken(&watcher)["link"]), (1, &"watcher".into()), "{watcher:#}");
    let (exit, _) = circusman_alone(&both, &["why", "127.255.255.254"]);
    assert_eq!(exit, 3);
}

fn circusman_alone(cluster: &str, words: &[&str]) -> (i32, String) {
    let mut command = world::circusman(cluster);
    let (exit, stdout, _) = circus_tests::daemon::run(command.0.args(words));
    (exit, stdout)
}
