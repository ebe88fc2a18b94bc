//! The fleet against the stock daemon: what it does must be what it says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "starts the daemon under test; whatever goes wrong is a failed test"
)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use circus_protocol::command::ResetKind;
use controller::fleet::{Fleet, ServicesFile};
use controller::outcome::{ConfigureRequest, NodeOutcome, NodeState, Operation, ResetRequest};
use serde_json::{Value, json};
use support::{Stock, options, run};

const TWO: &str = "
[watcher:Web]
cmd = sleep 1000
numprocesses = 2

[watcher:Off]
cmd = sleep 1001
autostart = False
";

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

#[tokio::test]
async fn status_start_and_stop_of_every_watcher() {
    let stock = Stock::start(TWO).await;
    let mut fleet = Fleet::new(stock.inventory(), None);
    let row = support::settled(&mut fleet).await;
    assert_eq!(row.data, json!({"watchers": {"Off": "stopped", "Web": "active"}}));
    assert_eq!((row.state, row.daemon.as_deref()), (NodeState::Done, Some("circusd")));

    let row = run(&mut fleet, Operation::Start { names: vec![] }).await;
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Done, ""));
    assert_eq!(row.data, json!({"watchers": {"Off": "active", "Web": "active"}}));

    let row = run(&mut fleet, Operation::Stop { names: vec![] }).await;
    assert_eq!(row.data, json!({"watchers": {"Off": "stopped", "Web": "stopped"}}));

    let row = run(&mut fleet, Operation::Stop { names: names(&["web"]) }).await;
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Unchanged, "already stopped"));

    let row = run(&mut fleet, Operation::Restart { names: names(&["off"]) }).await;
    assert_eq!(row.data, json!({"watchers": {"Off": "active"}}));
}

#[tokio::test]
async fn nodes_that_are_not_there_have_their_reasons() {
    let stock = Stock::start(TWO).await;
    let mut inventory = stock.inventory();
    let nobody = support::free_port();
    inventory.nodes.push(support::node("nobody", "127.0.0.1", nobody));
    inventory.nodes.push(support::node("noname", "no-such-host.invalid", nobody));
    // A listener that never says anything may be a daemon that hangs.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    inventory.nodes.push(support::node("mute", "127.0.0.1", mute.local_addr().unwrap().port()));
    let mut fleet = Fleet::new(inventory, None);
    let outcome =
        fleet.run(Operation::Status { names: vec![] }, &options(Duration::from_secs(5)), &mut |_| {}).await;
    let states: Vec<NodeState> = outcome.nodes.iter().map(|n| n.state).collect();
    use NodeState::{Done, TimedOut, Unreachable};
    assert_eq!(states, [Done, Unreachable, Unreachable, TimedOut]);
    assert!(outcome.nodes[0].elapsed < outcome.nodes[3].elapsed, "{outcome:?}");
    let reasons: Vec<&str> = outcome.nodes.iter().map(|n| n.reason.as_str()).collect();
    assert!(reasons[1].starts_with("connection refused"), "{reasons:?}");
    assert!(reasons[2].contains("no-such-host.invalid"), "{reasons:?}");
    assert!(reasons[3].starts_with("accepts connections, but says nothing"), "{reasons:?}");
}

/// A service `web` with two files and something to reset, all below a directory.
fn services(dir: &Path, extra: &str) -> ServicesFile {
    let d = dir.display();
    fs::create_dir_all(dir.join("conf")).unwrap();
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(
        dir.join("a.tmpl"),
        "id=$identifier\nhosts=${initial_hosts}\ncost=$$5 f\u{fc}r $$(circus.wid) ((circus.wid))\n",
    )
    .unwrap();
    fs::write(dir.join("b.tmpl"), "me ${address} of ${cluster_size}\n").unwrap();
    let ini = format!(
        "[service:web]\n{extra}\n\
         [config:web:a]\ntemplate = a.tmpl\ntarget = {d}/conf/a.conf\nmode = 640\n\
         [config:web:b]\ntemplate = b.tmpl\ntarget = {d}/conf/b.conf\n\
         [list:initial_hosts]\nitem = {{address}}:5001\nseparator = ,\n\
         [reset:web:data]\nroot = {d}/data\ndelete = graph.db, graph.db.*, big\nkeep = big/keepme\nrequire_dirs = graph.db\n\
         [reset:web:log]\nroot = {d}/data\ntruncate = *.log\n"
    );
    fs::write(dir.join("services.ini"), ini).unwrap();
    ServicesFile::load(&dir.join("services.ini")).unwrap()
}

fn configure(dry_run: bool) -> Operation {
    Operation::Configure(ConfigureRequest { dry_run, ..ConfigureRequest::default() })
}

fn reset(kind: ResetKind, change: impl FnOnce(&mut ResetRequest)) -> Operation {
    let mut request =
        ResetRequest { services: vec![], kind, dry_run: false, stop: false, undo: false, keep: None };
    change(&mut request);
    Operation::Reset(request)
}

/// No one-shot watcher and no copy of a file may be left.
async fn nothing_left(fleet: &mut Fleet, dir: &Path) {
    let row = run(fleet, Operation::Call { command: "list".to_owned(), properties: json!({}) }).await;
    assert_eq!(row.data, json!({"watchers": ["off", "web"]}));
    for entry in fs::read_dir(dir.join("conf")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with('.'), "{name:?} was left");
    }
}

fn changed(row: &NodeOutcome) -> Vec<bool> {
    row.data["files"].as_array().unwrap().iter().map(|f| f["changed"].as_bool().unwrap()).collect()
}

const A: &str = "id=1\nhosts=127.0.0.1:5001\ncost=$5 f\u{fc}r $(circus.wid) ((circus.wid))";
const B: &str = "me 127.0.0.1 of 1";

#[tokio::test]
async fn configure_writes_the_files_byte_for_byte_and_leaves_nothing() {
    let stock = Stock::start(TWO).await;
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(stock.inventory(), Some(services(dir.path(), "")));
    let (a, b) = (dir.path().join("conf/a.conf"), dir.path().join("conf/b.conf"));
    // b is a link, as on many installations; what it leads to has its own mode.
    let real = dir.path().join("real.conf");
    fs::write(&real, "old\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
    symlink(&real, &b).unwrap();

    // The service runs: refused, and nothing written.
    let row = run(&mut fleet, configure(false)).await;
    assert_eq!(row.state, NodeState::Refused, "{row:?}");
    assert!(row.reason.contains("web is running and"), "{}", row.reason);
    assert!(!a.exists());
    assert_eq!(fs::read_to_string(&real).unwrap(), "old\n");
    nothing_left(&mut fleet, dir.path()).await;

    run(&mut fleet, Operation::Stop { names: vec![] }).await;
    let row = run(&mut fleet, configure(true)).await;
    assert_eq!((row.state, changed(&row)), (NodeState::Done, vec![true, true]), "{row:?}");
    let diff = row.data["files"][1]["diff"].as_str().unwrap();
    assert!(diff.contains("-old\n+me 127.0.0.1 of 1"), "{diff}");
    assert!(!a.exists(), "a dry run writes nothing");

    let row = run(&mut fleet, configure(false)).await;
    assert_eq!((row.state, row.reason.as_str(), changed(&row)), (NodeState::Done, "", vec![true, true]));
    assert_eq!(fs::read_to_string(&a).unwrap(), A);
    assert_eq!(fs::read_to_string(&real).unwrap(), B);
    assert!(fs::symlink_metadata(&b).unwrap().is_symlink(), "the link is still one");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&a), mode(&real)), (0o640, 0o604));
    nothing_left(&mut fleet, dir.path()).await;

    let before = fs::metadata(&a).unwrap().modified().unwrap();
    let row = run(&mut fleet, configure(false)).await;
    assert_eq!((row.state, changed(&row)), (NodeState::Unchanged, vec![false, false]));
    assert_eq!(fs::metadata(&a).unwrap().modified().unwrap(), before, "unchanged files are not touched");
}

#[tokio::test]
async fn configure_is_all_or_nothing() {
    let stock = Stock::start(TWO).await;
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(stock.inventory(), Some(services(dir.path(), "")));
    run(&mut fleet, Operation::Stop { names: vec![] }).await;
    fs::create_dir(dir.path().join("conf/b.conf")).unwrap();
    let row = run(&mut fleet, configure(false)).await;
    assert_eq!(row.state, NodeState::Refused);
    let told = format!(
        "{}/conf/b.conf: the target of web:b cannot be written: it is not a regular file",
        dir.path().display()
    );
    assert_eq!(row.reason, told);
    assert!(!dir.path().join("conf/a.conf").exists());
    nothing_left(&mut fleet, dir.path()).await;
}

#[tokio::test]
async fn a_service_that_wants_a_restart_gets_it_only_when_it_runs() {
    let stock = Stock::start(TWO).await;
    let dir = tempfile::tempdir().unwrap();
    let file = services(dir.path(), "configure_while_running = restart");
    let mut fleet = Fleet::new(stock.inventory(), Some(file));
    support::settled(&mut fleet).await;
    let pids = |row: &NodeOutcome| {
        row.data["watchers"]["Web"]["processes"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let before = pids(&run(&mut fleet, Operation::Stats { names: vec![], over: Duration::ZERO }).await);
    let row = run(&mut fleet, configure(false)).await;
    assert_eq!(row.state, NodeState::Done, "{row:?}");
    let after = pids(&run(&mut fleet, Operation::Stats { names: vec![], over: Duration::ZERO }).await);
    assert_eq!((before.len(), after.len()), (2, 2));
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");

    run(&mut fleet, Operation::Stop { names: vec![] }).await;
    fs::write(dir.path().join("conf/a.conf"), "edited").unwrap();
    run(&mut fleet, configure(false)).await;
    let row = run(&mut fleet, Operation::Status { names: names(&["web"]) }).await;
    assert_eq!(row.data, json!({"watchers": {"Web": "stopped"}}));
}

#[tokio::test]
async fn without_a_services_file_the_remedy_is_told() {
    let stock = Stock::start(TWO).await;
    let mut fleet = Fleet::new(stock.inventory(), None);
    for operation in [configure(false), reset(ResetKind::All, |_| {})] {
        let row = run(&mut fleet, operation).await;
        assert_eq!(row.state, NodeState::Refused);
        assert!(row.reason.contains("--services FILE"), "{}", row.reason);
    }
}

fn fill(dir: &Path) {
    let data = dir.join("data");
    for (name, text) in [
        ("graph.db/store", "12345"),
        ("graph.db.old/x", "1"),
        ("big/gone", "22"),
        ("big/keepme/k", "k"),
        ("auth", "secret"),
        ("a.log", "0123456789"),
    ] {
        let path = data.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    symlink("/etc/hostname", data.join("graph.db/link")).unwrap();
}

fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![dir.to_path_buf()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".circus-reset" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                ahead.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn paths(row: &NodeOutcome, list: &str) -> Vec<String> {
    let items = row.data["services"]["web"][list].as_array().unwrap();
    items.iter().map(|i| i["path"].as_str().unwrap().rsplit("/data/").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn reset_moves_data_aside_and_brings_it_back() {
    let stock = Stock::start(TWO).await;
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(stock.inventory(), Some(services(dir.path(), "")));
    fill(dir.path());
    let data = dir.path().join("data");
    let everything = tree(&data);

    let row = run(&mut fleet, reset(ResetKind::Data, |_| {})).await;
    assert_eq!(
        (row.state, row.reason.as_str()),
        (NodeState::Refused, "web is running; stop first, or reset with --stop")
    );

    let row = run(&mut fleet, reset(ResetKind::All, |r| r.dry_run = true)).await;
    assert_eq!(row.state, NodeState::Done, "{row:?}");
    assert_eq!(paths(&row, "deleted"), ["big/gone", "graph.db", "graph.db.old"]);
    assert_eq!(paths(&row, "truncated"), ["a.log"]);
    assert_eq!(paths(&row, "kept"), ["big/keepme"]);
    assert_eq!(tree(&data), everything);

    let row = run(&mut fleet, reset(ResetKind::Data, |r| r.stop = true)).await;
    assert_eq!(row.state, NodeState::Done, "{row:?}");
    assert_eq!(tree(&data), ["a.log", "auth", "big/keepme/k"]);
    assert!(data.join("graph.db").is_dir(), "a required directory is there again");
    assert!(row.data["services"]["web"]["undo_until"].is_number());
    assert_eq!(fs::read_to_string("/etc/hostname").is_ok(), Path::new("/etc/hostname").exists());
    nothing_left(&mut fleet, dir.path()).await;

    let row = run(&mut fleet, reset(ResetKind::Data, |r| r.undo = true)).await;
    assert_eq!((row.state, paths(&row, "deleted").len()), (NodeState::Done, 3), "{row:?}");
    assert_eq!(tree(&data), everything);
    let aside = data.join(".circus-reset");
    support::until("the place aside is gone", || !aside.exists()).await;
    let row = run(&mut fleet, reset(ResetKind::Data, |r| r.undo = true)).await;
    assert_eq!(
        (row.state, row.reason.as_str()),
        (NodeState::Refused, "no reset can be undone: nothing is kept aside for these services")
    );

    let row = run(&mut fleet, reset(ResetKind::Log, |_| {})).await;
    assert_eq!(paths(&row, "truncated"), ["a.log"]);
    assert_eq!(fs::read_to_string(data.join("a.log")).unwrap(), "");

    let row = run(&mut fleet, reset(ResetKind::Data, |r| r.keep = Some(0.0))).await;
    assert_eq!(row.data["services"]["web"]["undo_until"], Value::Null);
    support::until("what was moved aside is freed", || !aside.exists()).await;
    nothing_left(&mut fleet, dir.path()).await;
}

#[tokio::test]
async fn a_dropped_operation_leaves_no_watcher() {
    let stock = Stock::start(TWO).await;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let mut fleet = Fleet::new(stock.inventory(), Some(services(dir.path(), "")));
    run(&mut fleet, Operation::Stop { names: vec![] }).await;
    for wait in [5, 15, 30, 60, 100] {
        let options = options(Duration::from_secs(10));
        let ignore = &mut |_| {};
        let operation = fleet.run(configure(true), &options, ignore);
        let _ = tokio::time::timeout(Duration::from_millis(wait), operation).await;
    }
    fleet.close().await;
    let mut second = Fleet::new(stock.inventory(), None);
    nothing_left(&mut second, dir.path()).await;
}

#[tokio::test]
async fn a_finished_leftover_of_another_console_is_removed_and_told() {
    let stock = Stock::start(TWO).await;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf")).unwrap();
    let mut first = Fleet::new(stock.inventory(), None);
    // What a console leaves that is killed while its one-shot ends without a result.
    let options_ = json!({"respawn": false, "max_retry": 1});
    let properties =
        json!({"name": "circusman-configure-dead-1", "cmd": "true", "options": options_, "start": true});
    run(&mut first, Operation::Call { command: "add".to_owned(), properties }).await;
    let mut notes = Vec::new();
    support::until_async("the leftover is found", async || {
        let mut second = Fleet::new(stock.inventory(), None);
        let collect = &mut |p| {
            if let controller::outcome::Progress::Note { text, .. } = p {
                notes.push(text);
            }
        };
        second.run(Operation::Status { names: vec![] }, &options(Duration::from_secs(5)), collect).await;
        !notes.is_empty()
    })
    .await;
    let told = "removed what an interrupted console left behind: circusman-configure-dead-1";
    assert_eq!(notes.last().map(String::as_str), Some(told));
    nothing_left(&mut first, dir.path()).await;
}

/// Runs a piece of Python with the one-shots' own text before it, and returns what it prints.
fn python(programs: &[&str], code: &str, input: &Value) -> Value {
    let mut text = "__name__ = 'a test'\n".to_owned();
    for name in programs {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/oneshot").join(name);
        text += &fs::read_to_string(path).unwrap();
    }
    text += code;
    let mut child = std::process::Command::new(support::stock_bin().join("python"))
        .args(["-c", &text])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The console's rules and the one-shot's must say the same about every path.
#[test]
fn python_and_rust_agree_about_every_path() {
    use circus_protocol::service::glob::Glob;
    use circus_protocol::service::{ResetRule, Verdict};
    let patterns = [
        "graph.db",
        "*",
        "*.log",
        ".*",
        "?b",
        "[a-c]x",
        "[!a]x",
        "[]]x",
        "[a",
        "big/keepme",
        "big/*/k",
        "a-[0-9]*",
        "**x",
        "b*g/k*",
        "[^b]ig",
        "a/b/c",
        ".circus-reset",
    ];
    let paths = [
        "graph.db",
        "a.log",
        ".hidden",
        "ab",
        "ax",
        "bx",
        "]x",
        "[a",
        "big",
        "big/keepme",
        "big/keepme/k",
        "big/x/k",
        "a-7z",
        "big/other",
        "a",
        "a/b",
        "a/b/c",
        "a/b/c/d",
        ".circus-reset",
        ".circus-reset/1",
        "x\u{fc}",
        "dig",
    ];
    let globs: Vec<&str> = patterns.into_iter().filter(|p| Glob::parse(p).is_ok()).collect();
    let services = services(tempfile::tempdir().unwrap().path(), "").services;
    let model: ResetRule = services.services[0].resets[0].clone();
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for delete in &globs {
        for keep in &globs {
            let one = |text: &str| vec![Glob::parse(text).unwrap()];
            let rule =
                ResetRule { delete: one(delete), keep: one(keep), truncate: one("*.log"), ..model.clone() };
            for path in paths {
                let parts: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
                expected.push(match rule.verdict(&parts) {
                    Verdict::Delete => "delete",
                    Verdict::DeleteAround => "around",
                    Verdict::Truncate => "truncate",
                    Verdict::Keep => "keep",
                    Verdict::Descend => "descend",
                    Verdict::Leave => "leave",
                });
                asked.push(json!([{"delete": [delete], "keep": [keep], "truncate": ["*.log"]}, path]));
            }
        }
    }
    let code = "
out = []
for task, path in json.load(sys.stdin):
    out.append(Rule(task).verdict([p.encode('utf-8') for p in path.split('/')]))
json.dump(out, sys.stdout)
";
    let told = python(&["common.py", "reset.py"], code, &json!(asked));
    for ((question, told), expected) in asked.iter().zip(told.as_array().unwrap()).zip(expected) {
        assert_eq!(told, expected, "{question}");
    }
}

/// What is told must fit into a process' name, whatever it is.
#[test]
fn long_results_are_shortened_with_their_counts() {
    let code = "
rows = [{'path': '/srv/data/%06d' % n, 'bytes': n} for n in range(20000)]
services = {'web': {'deleted': rows, 'deleted_count': len(rows)}}
text = encode(fit({'services': services}, [rows]))
files = [{'service': 's', 'label': str(n), 'path': '/p', 'changed': True, 'diff': '+line\\n' * 9000} for n in range(3)]
def read_back(t): return json.loads(base64.urlsafe_b64decode(t + '=' * (-len(t) % 4)).decode('utf-8'))
json.dump([len(text), read_back(text), len(encode(shorten({'files': files}))), read_back(encode(shorten({'files': files})))], sys.stdout)
";
    let told = python(&["common.py", "configure.py"], code, &Value::Null);
    let limit = 48 * 1024;
    assert!(
        told[0].as_u64().unwrap() <= limit && told[2].as_u64().unwrap() <= limit,
        "{} {}",
        told[0],
        told[2]
    );
    let web = &told[1]["services"]["web"];
    let kept = web["deleted"].as_array().unwrap().len();
    assert!(kept > 100 && kept < 20_000, "{kept}");
    assert_eq!(web["deleted_count"], 20_000);
    let diffs: Vec<&str> =
        told[3]["files"].as_array().unwrap().iter().map(|f| f["diff"].as_str().unwrap()).collect();
    assert!(diffs.iter().any(|d| d.ends_with("too long to be told)\n")), "{diffs:?}");
}
