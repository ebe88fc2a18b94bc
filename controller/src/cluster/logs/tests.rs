//! `logs` on nodes of both kinds, scripted.

use std::collections::HashMap;

use super::*;

fn setting() -> Setting {
    let ini = "[service:db]\nhome = /srv/db\nlog.system = logs/system-${address}.log\n";
    let ini = circus_protocol::ini::Ini::parse(ini, "services.ini").expect("parses");
    let base = std::path::Path::new("/etc/circus");
    let services = circus_protocol::service::Services::from_ini(&ini, base).expect("loads");
    let file = ServicesFile { services, ..ServicesFile::default() };
    let membership = Membership {
        identifier: 1,
        address: "10.0.0.1".to_owned(),
        cluster: vec!["10.0.0.1".to_owned()],
        ..Membership::default()
    };
    let (node, oneshot) = ("n1".to_owned(), "circusman-logs-1".to_owned());
    Setting { node, epoch: 1000.0, membership, services: Some(Arc::new(file)), oneshot }
}

fn native() -> Daemon {
    let hello = json!({"version": "1", "extensions": ["logs"], "pubsub_endpoint": "tcp://0.0.0.0:5556"});
    Daemon::from_hello(hello.as_object().expect("an object"))
}

/// Plays until the end: what was asked, and the verdict.
fn play(
    request: LogsRequest,
    daemon: &Daemon,
    mut answer: impl FnMut(&Request) -> Answer,
) -> (Vec<Value>, Verdict) {
    let mut logs = Logs::new(request, setting());
    let (mut asked, mut event) = (Vec::new(), Event::Begin);
    for second in 0..50 {
        let context = Context { daemon, now: Duration::from_secs(second) };
        match logs.next(&context, event) {
            Next::Send(request) => {
                let mut shown = request.properties.clone();
                shown["command"] = json!(request.command);
                asked.push(shown);
                event = Event::Answer(answer(&request));
            }
            Next::Pause(_) => event = Event::Woken,
            next @ Next::Probe(_) => panic!("{next:?}"),
            Next::Finish(verdict) => return (asked, verdict),
        }
    }
    panic!("it does not end: {asked:?}");
}

fn ok(value: Value) -> Answer {
    Answer::Ok(value.as_object().expect("an object").clone())
}

fn request(names: &[&str], sources: &[&str]) -> LogsRequest {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    LogsRequest { names: words(names), sources: words(sources), ..LogsRequest::default() }
}

#[test]
fn globs_and_all_sources_are_looked_up() {
    let (asked, verdict) =
        play(request(&["d*"], &["all"]), &native(), |request| match request.command.as_str() {
            "status" => {
                ok(json!({"time": 1005.0, "statuses": {"db": "active", "web": "active", "dx": "stopped"}}))
            }
            _ if request.properties["sources"] == true => ok(json!({"sources": ["stdout", "gc"]})),
            _ if request.properties["source"] == "gc" && request.properties["name"] == "dx" => {
                Answer::Error { errno: 3, reason: "'dx' has no log 'gc'".to_owned() }
            }
            _ => ok(json!({"text": "x\n", "offset": 0, "next_offset": 2, "eof": true, "generation": "7"})),
        });
    let commands: Vec<&str> = asked.iter().filter_map(|asked| asked["command"].as_str()).collect();
    assert_eq!(commands, ["status", "logs", "logs", "logs", "logs", "logs", "logs"]);
    assert_eq!(asked[3], json!({"command": "logs", "name": "db", "source": "stdout", "lines": 100}));
    assert_eq!((verdict.state, verdict.reason.as_str()), (NodeState::Done, ""));
    let logs = verdict.data["logs"].as_array().expect("logs");
    assert_eq!(logs.len(), 4);
    assert_eq!(
        logs[3],
        json!({"name": "dx", "source": "gc", "error": "logs: 'dx' has no log 'gc'", "refused": true})
    );
    assert_eq!(verdict.data["pubsub"], "tcp://0.0.0.0:5556");
    assert_eq!(verdict.data["clock"]["offset"], json!(4.5));
}

#[test]
fn places_are_read_on_without_a_look() {
    let place = LogPlace {
        name: "web".into(),
        source: "gc".into(),
        offset: 9,
        generation: Some("5-1".into()),
        path: None,
    };
    let part = LogsPart::On { places: [("n1".to_owned(), vec![place]), ("n2".to_owned(), vec![])].into() };
    let wanted = LogsRequest { part, binary: true, ..request(&["w*"], &["all"]) }.of("n1");
    let (asked, verdict) = play(wanted, &native(), |_| ok(json!({"base64": "eAo=", "next_offset": 11})));
    let question = json!({"command": "logs", "name": "web", "source": "gc", "offset": 9, "generation": "5-1", "encoding": "base64"});
    assert_eq!(asked, [question]);
    assert_eq!(verdict.data["logs"][0]["base64"], "eAo=");
    let nothing = LogsRequest { part: LogsPart::On { places: HashMap::new() }, ..request(&[], &[]) };
    assert_eq!(play(nothing, &native(), |_| panic!("asked")).1.state, NodeState::Done);
}

#[test]
fn a_log_is_read_back_to_a_time() {
    let part = LogsPart::Since { time: 1_425_211_200.0 };
    let wanted = LogsRequest { part, ..request(&["web"], &["stdout"]) };
    let (asked, verdict) = play(wanted, &native(), |request| {
        let offset = request.properties.get("offset").and_then(Value::as_u64);
        let hour = if offset.is_some() { 11 } else { 13 };
        let text = format!("2015-03-01 {hour}:00:00 x\n");
        ok(
            json!({"text": text, "offset": offset.unwrap_or(300_000), "next_offset": 300_024, "eof": true, "generation": "7", "zone": 0}),
        )
    });
    assert_eq!(asked[1]["offset"], json!(300_000 - 262_144));
    assert_eq!((&asked[1]["limit"], &asked[1]["generation"]), (&json!(262_144), &json!("7")));
    assert_eq!(asked.len(), 2, "11:00 is early enough");
    assert_eq!(verdict.data["logs"][0]["text"], "2015-03-01 11:00:00 x\n2015-03-01 13:00:00 x\n");
}

#[test]
fn stock_is_read_by_a_one_shot() {
    let packed = STANDARD.encode(miniz_oxide::deflate::compress_to_vec_zlib(b"hello\n", 6));
    let result = json!({"zone": 3600, "logs": [{"name": "db", "source": "system", "path": "/srv/db/logs/system-10.0.0.1.log",
        "z": packed, "offset": 0, "next_offset": 6, "eof": true, "generation": "5.6.7.8"}]});
    let name = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(result.to_string());
    let (asked, verdict) = play(request(&["db"], &["system", "stderr"]), &Daemon::Stock, |request| {
        match request.command.as_str() {
            "status" => ok(json!({"time": 1.0, "statuses": {"db": "active"}})),
            "options" => ok(
                json!({"options": {"stdout_stream_conf": {"filename": "/var/log/db"}, "stderr_stream_conf": {}}}),
            ),
            "add" => ok(json!({"started": [5]})),
            _ => ok(json!({"info": {"5": {"cmdline": format!("circusman:{name}"), "age": 1.0}}})),
        }
    });
    assert_eq!(asked.len(), 4, "{asked:?}");
    let logs = verdict.data["logs"].as_array().expect("logs");
    assert_eq!(
        (verdict.state, &logs[1]["text"], &logs[1]["zone"]),
        (NodeState::Done, &json!("hello\n"), &json!(3600))
    );
    assert!(logs[0]["error"].as_str().expect("an error").contains("stderr of 'db' goes into no file"));
}

#[test]
fn who_has_nothing_refuses() {
    let no = |_: &Request| Answer::Error { errno: 3, reason: "'web' has no log 'gc'; it has stdout".into() };
    let (_, verdict) = play(request(&["web"], &["gc"]), &native(), no);
    let reason = "logs: 'web' has no log 'gc'; it has stdout";
    assert_eq!((verdict.state, verdict.reason.as_str()), (NodeState::Refused, reason));
    let (_, verdict) =
        play(request(&["x*"], &["stdout"]), &native(), |_| ok(json!({"statuses": {"web": "active"}})));
    assert_eq!(
        (verdict.state, verdict.reason.as_str()),
        (NodeState::Skipped, "no watcher matches x*; it has web")
    );
}
