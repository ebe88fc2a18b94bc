//! `reloadconfig`, SIGHUP, and the restart of everything.

use circus_tests::daemon::{Daemon, Flavor, fresh_address};
use circus_tests::script::{Session, agree_beside};
use circus_tests::wait::until;
use circus_tests::wire::Wire;
use nix::sys::signal::Signal;
use serde_json::json;

const BASE: &str = "\
[circus]
check_delay = 0.5
[env:withenv]
A = 1
[watcher:same]
cmd = sleep 1000
[watcher:count]
cmd = sleep 1001
numprocesses = 2
[watcher:changed]
cmd = sleep 1002
[watcher:stopped]
cmd = sleep 1003
autostart = False
[watcher:gone]
cmd = sleep 1004
[watcher:withenv]
cmd = sleep 1005
[watcher:minor]
cmd = sleep 1006
max_age = 1000
";

fn reload(s: &mut Session, ini: &str) {
    s.daemon.rewrite(ini);
    s.skip_events();
    s.call("reloadconfig", json!({"waiting": true}));
}

fn everything(s: &mut Session) {
    statuses(s);
    let names = s.call("list", json!({}));
    for name in names["watchers"].as_array().into_iter().flatten() {
        s.call("list", json!({"name": name}));
    }
}

/// Row D60: in an order of our own.
fn statuses(s: &mut Session) {
    let reply = s.wire.ask("status", &json!({}));
    let mut lines: Vec<String> = reply["statuses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, status)| format!("{name}: {status}"))
        .collect();
    lines.sort_unstable();
    s.note("status", lines.join(", "));
}

#[test]
fn what_changed_is_changed_and_nothing_else() {
    agree_beside(&[], BASE, |s| {
        everything(s);
        // Nothing.
        reload(s, BASE);
        s.no_event();
        everything(s);
        // What `set` and `incr` did is not compared with.
        s.call("incr", json!({"name": "same", "waiting": true}));
        s.call("set", json!({"name": "changed", "options": {"graceful_timeout": 3}, "waiting": true}));
        reload(s, BASE);
        s.no_event();
        s.call("numprocesses", json!({"name": "same"}));
        // A number is applied live.
        reload(s, &BASE.replace("numprocesses = 2", "numprocesses = 3"));
        s.events_until("watcher.count.spawn");
        s.no_event();
        everything(s);
        // One key.
        let changed = BASE.replace("numprocesses = 2", "numprocesses = 3").replace("1002", "2002");
        reload(s, &changed);
        s.events_until("watcher.changed.start");
        s.no_event();
        s.call("options", json!({"name": "changed"}));
        // A stopped one is rebuilt, too, and stays so; a variable is a change.
        let changed = changed.replace("1003", "2003").replace("A = 1", "A = 1\nB = 2");
        reload(s, &changed);
        s.events_until("watcher.withenv.start");
        everything(s);
        // New, gone, and made by `add`.
        s.call("add", json!({"name": "added", "cmd": "sleep 1100", "start": true, "waiting": true}));
        s.call("rm", json!({"name": "same", "waiting": true}));
        let changed = changed.replace("[watcher:gone]", "[watcher:new]");
        reload(s, &changed);
        everything(s);
        // Not to be read: nothing happens, and somebody who waits is told.
        s.daemon.rewrite(&changed.replace("numprocesses = 3", "numprocesses = many"));
        s.skip_events();
        s.call("reloadconfig", json!({}));
        s.no_event();
        let reply = s.call_differs("D66", "reloadconfig", json!({"waiting": true}));
        s.note("refused", format!("{} {}", reply["status"], reply["errno"]));
        s.no_event();
        everything(s);
    });
}

/// The rows of 9.5 in which stock loses or forgets something; see D67 to D70.
#[test]
fn what_stock_gets_wrong_is_right() {
    let daemon = Daemon::start(Flavor::Ours, BASE);
    let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    let reload = |wire: &mut Wire, ini: &str| {
        daemon.rewrite(ini);
        let reply = wire.call("reloadconfig", &json!({"waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
    };
    let pids = |wire: &mut Wire, name: &str| wire.call("list", &json!({"name": name}))["pids"].clone();
    let all = |wire: &mut Wire| ["same", "count", "changed", "minor"].map(|name| pids(wire, name));
    let up = ["same", "count", "changed", "minor", "withenv"];
    let active =
        |wire: &mut Wire, name: &str| wire.call("status", &json!({"name": name}))["status"] == "active";
    until("everything to start", || up.iter().all(|name| active(&mut wire, name)).then_some(()));
    let before = all(&mut wire);
    // D67 (Q30): a change in [circus] restarts nobody; what can be applied is.
    let circus = BASE.replace("check_delay = 0.5", "check_delay = 0.7\nwarmup_delay = 1\numask = 022");
    reload(&mut wire, &circus);
    reload(&mut wire, &circus);
    assert_eq!(all(&mut wire), before);
    let options = wire.call("globaloptions", &json!({}));
    assert_eq!(options["options"]["check_delay"], json!(0.7), "{options}");
    assert!(daemon.log().contains("[circus] umask changed"), "{}", daemon.log());
    // D68 (Q42): there and back.
    reload(&mut wire, &BASE.replace("numprocesses = 2", "numprocesses = 3"));
    assert_eq!(pids(&mut wire, "count").as_array().map(Vec::len), Some(3));
    reload(&mut wire, BASE);
    until("two again", || (pids(&mut wire, "count").as_array().map(Vec::len) == Some(2)).then_some(()));
    // D69: a key that has no default is noticed, and only its watcher is touched.
    let before = all(&mut wire);
    reload(&mut wire, &BASE.replace("max_age = 1000", ""));
    let after = all(&mut wire);
    assert_eq!(before[..3], after[..3]);
    assert_ne!(before[3], after[3]);
    // D70: what `add` made and the file now has is taken over.
    let reply =
        wire.call("add", &json!({"name": "extra", "cmd": "sleep 1100", "start": true, "waiting": true}));
    assert_eq!(reply["status"], "ok", "{reply}");
    reload(&mut wire, &format!("{BASE}[watcher:extra]\ncmd = sleep 1101\n"));
    let reply = wire.call("get", &json!({"name": "extra", "keys": ["cmd"]}));
    assert_eq!(reply["options"]["cmd"], "sleep 1101");
    // A definition that cannot be built leaves the others alone and is told in the log.
    let before = all(&mut wire);
    reload(&mut wire, &BASE.replace("numprocesses = 2", "numprocesses = 2\nsingleton = True"));
    let after = all(&mut wire);
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert!(daemon.log().contains("Failed to create watcher 'count'"), "{}", daemon.log());
}

#[test]
fn a_hang_up_reloads_everything() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:a]
cmd = sleep 1000
[watcher:b]
cmd = sleep 1001
send_hup = True
[watcher:c]
cmd = sleep 1002
autostart = False
";
    agree_beside(&[], ini, |s| {
        s.skip_events();
        everything(s);
        s.daemon.signal(Signal::SIGWINCH);
        s.no_event();
        s.daemon.signal(Signal::SIGHUP);
        let up = |reply: &serde_json::Value| reply["status"] == "active";
        s.wait_for("c to start", "status", &json!({"name": "c"}), up);
        s.skip_events();
        s.call("status", json!({}));
        s.call("numprocesses", json!({"name": "a"}));
    });
}

#[test]
fn a_restart_reads_everything_anew() {
    agree_beside(&[], BASE, |s| {
        s.call("add", json!({"name": "added", "cmd": "sleep 1100", "start": true, "waiting": true}));
        s.call("set", json!({"name": "same", "options": {"graceful_timeout": 3}, "waiting": true}));
        let changed =
            BASE.replace("[watcher:gone]", "[watcher:new]").replace("check_delay = 0.5", "check_delay = 0.6");
        s.daemon.rewrite(&changed);
        // Stock may lose its endpoint here (Q4), so it is not asked to come back.
        if s.flavor() == Flavor::Ours {
            s.call("restart", json!({}));
            s.wait_for("the new watcher", "status", &json!({"name": "new"}), |reply| {
                reply["status"] == "active"
            });
        } else {
            s.call("restart", json!({}));
            s.daemon = Daemon::start(Flavor::Stock, &changed);
            s.wire = Wire::connect(&s.daemon.endpoint(), &s.daemon.pubsub());
            s.wait_for("the new watcher", "status", &json!({"name": "new"}), |reply| {
                reply["status"] == "active"
            });
        }
        s.wait_for("all", "status", &json!({"name": "withenv"}), |reply| reply["status"] == "active");
        statuses(s);
        // The ids begin anew with the connection.
        for (command, properties, key) in [
            ("globaloptions", json!({"option": "check_delay"}), "options"),
            ("get", json!({"name": "same", "keys": ["graceful_timeout", "numprocesses"]}), "options"),
        ] {
            let reply = s.wire.ask(command, &properties);
            s.note(command, &reply[key]);
        }
    });
}

#[test]
fn a_restart_moves_to_new_endpoints_and_is_never_lost() {
    let ini = "[circus]\ncheck_delay = 0.5\n[watcher:a]\ncmd = sleep 1000\n";
    let mut daemon = Daemon::start(Flavor::Ours, ini);
    let (old, elsewhere) = (daemon.address().to_owned(), fresh_address());
    let text = std::fs::read_to_string(daemon.dir().join("circus.ini")).expect("the ini");
    let write = |daemon: &Daemon, text: &str| {
        std::fs::write(daemon.dir().join("circus.ini"), text).expect("the ini is written");
    };
    // Five times on the same endpoint (Q4).
    for _ in 0..5 {
        let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
        let before = wire.call("list", &json!({"name": "a"}))["pids"].clone();
        assert_eq!(wire.call("restart", &json!({"waiting": true}))["status"], "ok");
        until("another process", || {
            let now = wire.call("list", &json!({"name": "a"}))["pids"].clone();
            (now != before && now.as_array().is_some_and(|pids| pids.len() == 1)).then_some(())
        });
    }
    // To another one, events too.
    write(&daemon, &text.replace(&old, &elsewhere));
    let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    assert_eq!(wire.call("restart", &json!({}))["status"], "ok");
    let (endpoint, pubsub) = (format!("tcp://{elsewhere}:5555"), format!("tcp://{elsewhere}:5556"));
    until("the new endpoint", || std::net::TcpStream::connect(format!("{elsewhere}:5555")).ok());
    let mut wire = Wire::connect(&endpoint, &pubsub);
    wire.wait_for_events();
    assert_eq!(wire.call("globaloptions", &json!({}))["options"]["endpoint"], json!(endpoint));
    until("the old one to close", || {
        std::net::TcpStream::connect(format!("{old}:5555")).is_err().then_some(())
    });
    // One that is taken: it stays where it is, and says so.
    let taken = std::net::TcpListener::bind(format!("{old}:5555")).expect("free again");
    write(&daemon, &text.replace(&format!("{old}:5556"), &format!("{elsewhere}:5556")));
    assert_eq!(wire.call("restart", &json!({"waiting": true}))["status"], "ok");
    until("the complaint", || daemon.log().contains("commands stay on").then_some(()));
    until("the watcher", || (wire.call("status", &json!({"name": "a"}))["status"] == "active").then_some(()));
    assert_eq!(wire.call("globaloptions", &json!({}))["options"]["endpoint"], json!(endpoint));
    drop(taken);
    assert!(daemon.is_running());
}
