//! A reply as circusctl prints it, to the byte: people's scripts read this.
//!
//! Values are shown as Python's `str` shows them (`None` as nothing). A reply that lacks what its
//! command should bring is shown as far as it goes. Pure.

use circus_protocol::json::{self, python_repr_str, python_str};
use serde_json::{Map, Value};

use super::commands::Name;

/// What is printed, without the last line end; on stderr when [`failed`].
pub(super) fn text(command: Name, reply: &Map<String, Value>) -> String {
    let ok = reply.get("status").and_then(Value::as_str) == Some("ok");
    match command {
        Name::List => list(reply),
        Name::Status => status(reply),
        Name::Listsockets => sockets(reply),
        Name::Globaloptions if !ok => shown(reply.get("reason")),
        Name::Get | Name::Options | Name::Globaloptions if ok => options(reply),
        Name::Numprocesses if ok => shown(reply.get("numprocesses")),
        Name::Numwatchers if ok => shown(reply.get("numwatchers")),
        Name::Incr | Name::Decr if ok && reply.contains_key("singleton") => SINGLETON.to_owned(),
        Name::Incr | Name::Decr if ok => {
            reply.get("numprocesses").map_or_else(|| "ok".to_owned(), python_str)
        }
        Name::Stats if ok => stats(reply),
        Name::Dstats if ok => dstats(reply),
        Name::Ipython if ok => format!("error: {NO_IPYTHON}"),
        Name::Get
        | Name::Options
        | Name::Globaloptions
        | Name::Numprocesses
        | Name::Numwatchers
        | Name::Incr
        | Name::Decr
        | Name::Stats
        | Name::Dstats
        | Name::Ipython
        | Name::Add
        | Name::Kill
        | Name::Listen
        | Name::Quit
        | Name::Reload
        | Name::Reloadconfig
        | Name::Restart
        | Name::Rm
        | Name::Signal
        | Name::Set
        | Name::Start
        | Name::Stop => {
            if ok {
                "ok".to_owned()
            } else {
                error(reply)
            }
        }
    }
}

const SINGLETON: &str = "This watcher is a Singleton - not changing the number of processes";
const NO_IPYTHON: &str = "Could not start ipython kernel";

/// Whether the reply means that the command was refused.
pub(super) fn failed(reply: &Map<String, Value>) -> bool {
    reply.get("status").and_then(Value::as_str) == Some("error")
}

fn error(reply: &Map<String, Value>) -> String {
    format!("error: {}", reply.get("reason").map_or_else(|| "None".to_owned(), python_str))
}

/// Null is nothing here.
fn shown(value: Option<&Value>) -> String {
    value.filter(|value| !value.is_null()).map_or_else(String::new, python_str)
}

fn joined(items: &Value) -> String {
    let items: Vec<String> = items.as_array().into_iter().flatten().map(python_str).collect();
    items.join(",")
}

fn list(reply: &Map<String, Value>) -> String {
    match (reply.get("pids"), reply.get("watchers"), reply.contains_key("reason")) {
        (Some(items), _, _) | (None, Some(items), _) => joined(items),
        (None, None, true) => error(reply),
        (None, None, false) => "error: Response doesn't contain 'pids' nor 'watchers'.".to_owned(),
    }
}

fn status(reply: &Map<String, Value>) -> String {
    let Some(statuses) = reply.get("statuses").and_then(Value::as_object) else {
        return shown(reply.get("status"));
    };
    let mut lines: Vec<(&String, &Value)> = statuses.iter().collect();
    lines.sort_by_key(|(name, _)| *name);
    let lines: Vec<String> =
        lines.iter().map(|(name, state)| format!("{name}: {}", python_str(state))).collect();
    lines.join("\n")
}

fn options(reply: &Map<String, Value>) -> String {
    let options = reply.get("options").and_then(Value::as_object);
    let line = |(key, value): (&String, &Value)| match (key.as_str(), value) {
        ("env", Value::Object(env)) => format!("env: {}", environment(env)),
        _ => format!("{key}: {}", shown(Some(value))),
    };
    options.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

fn environment(env: &Map<String, Value>) -> String {
    let mut pairs: Vec<(&String, &Value)> = env.iter().collect();
    pairs.sort_by_key(|(name, _)| *name);
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", python_str(value))).collect();
    pairs.join(",")
}

fn sockets(reply: &Map<String, Value>) -> String {
    let Some(sockets) = reply.get("sockets").and_then(Value::as_array) else { return error(reply) };
    let line = |socket: &Value| {
        let part = |key: &str| socket.get(key).map_or_else(String::new, python_str);
        let place = match socket.get("path") {
            Some(path) => python_str(path),
            None => format!("{}:{}", part("host"), part("port")),
        };
        format!("{}:socket '{}' at {place}", part("fd"), part("name"))
    };
    sockets.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One process as `pid  program owner niceness memory memory cpu mem time`.
fn info_line(info: &Map<String, Value>) -> String {
    let part = |key: &str| info.get(key).map_or_else(String::new, python_str);
    let rest = ["cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime"].map(part);
    format!("{}  {}", part("pid"), rest.join(" "))
}

/// A process and, indented, its children. Processes that are gone are a text.
fn info(info: &Value) -> String {
    let Value::Object(map) = info else { return python_str(info) };
    let mut lines = vec![info_line(map)];
    let children = map.get("children").and_then(Value::as_array).into_iter().flatten();
    lines.extend(children.filter_map(Value::as_object).map(|child| format!("   {}", info_line(child))));
    lines.join("\n")
}

fn stats(reply: &Map<String, Value>) -> String {
    let processes = |infos: Option<&Value>| -> Vec<String> {
        let infos = infos.and_then(Value::as_object).into_iter().flatten();
        infos.map(|(pid, process)| format!("{pid}: {}", info(process))).collect()
    };
    let mut lines = Vec::new();
    if let Some(name) = reply.get("name") {
        lines.push(format!("{}:", python_str(name)));
        lines.extend(processes(reply.get("info")));
    } else if let Some(watchers) = reply.get("infos").and_then(Value::as_object) {
        for (watcher, infos) in watchers {
            lines.push(format!("{watcher}:"));
            lines.extend(processes(Some(infos)));
        }
    } else {
        let process = reply.get("info").map_or_else(String::new, info);
        lines.push(format!("{}: {process}\n", shown(reply.get("process"))));
    }
    lines.join("\n")
}

fn dstats(reply: &Map<String, Value>) -> String {
    let Some(map) = reply.get("info").and_then(Value::as_object) else { return "Main Process:".to_owned() };
    let mut lines = vec!["Main Process:".to_owned(), format!("    {}", info_line(map))];
    let children: Vec<_> = map
        .get("children")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .collect();
    if !children.is_empty() {
        lines.push("Children:".to_owned());
        lines.extend(children.into_iter().map(|child| format!("    {}", info_line(child))));
    }
    lines.join("\n")
}

/// Python's `json.dumps(reply)`, or with `indent=2, sort_keys=True`.
pub(super) fn as_json(reply: &Map<String, Value>, pretty: bool) -> String {
    let mut out = Vec::new();
    let value = Value::Object(reply.clone());
    if pretty {
        write_pretty(&mut out, &value, 0);
    } else {
        json::write_value(&mut out, &value);
    }
    String::from_utf8_lossy(&out).into_owned()
}

const INDENT: usize = 2;

fn write_pretty(out: &mut Vec<u8>, value: &Value, depth: usize) {
    let mut block = |open: u8, close: u8, items: Vec<(Option<&String>, &Value)>| {
        out.push(open);
        for (index, (key, item)) in items.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b",\n" } else { b"\n" });
            out.resize(out.len() + (depth + 1) * INDENT, b' ');
            if let Some(key) = key {
                json::write_str(out, key);
                out.extend_from_slice(b": ");
            }
            write_pretty(out, item, depth + 1);
        }
        out.push(b'\n');
        out.resize(out.len() + depth * INDENT, b' ');
        out.push(close);
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            block(b'[', b']', items.iter().map(|item| (None, item)).collect());
        }
        Value::Object(map) if !map.is_empty() => {
            let mut items: Vec<_> = map.iter().map(|(key, item)| (Some(key), item)).collect();
            items.sort_by_key(|(key, _)| *key);
            block(b'{', b'}', items);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => json::write_value(out, value),
    }
}

/// An event as Python prints two byte strings.
pub(super) fn event(topic: &[u8], payload: &[u8]) -> String {
    format!("{}: {}\n", json::python_repr_bytes(topic), json::python_repr_bytes(payload))
}

/// The choices in the complaint about an unknown command.
pub(super) fn quoted(words: impl Iterator<Item = &'static str>) -> String {
    words.map(python_repr_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Map<String, Value> {
        let Value::Object(map) = json::parse(text.as_bytes()).unwrap() else { panic!("an object") };
        map
    }

    fn show(command: Name, of: &str) -> String {
        text(command, &reply(of))
    }

    #[test]
    fn prints_what_stock_prints() {
        assert_eq!(show(Name::List, r#"{"status": "ok", "pids": [1, 22]}"#), "1,22");
        assert_eq!(
            show(Name::List, r#"{"status": "error", "reason": "program x not found"}"#),
            "error: program x not found"
        );
        assert_eq!(
            show(Name::Status, r#"{"status": "ok", "statuses": {"b": "active", "A": "stopped"}}"#),
            "A: stopped\nb: active"
        );
        assert_eq!(show(Name::Status, r#"{"status": "active"}"#), "active");
        assert_eq!(show(Name::Status, r#"{"status": "error", "reason": "x"}"#), "error");
        assert_eq!(
            show(
                Name::Options,
                r#"{"status": "ok", "options": {"env": {"B": "2", "A": "1"}, "uid": null, "f": 30.0, "l": ["a", 1], "t": true}}"#
            ),
            "env: A=1,B=2\nuid: \nf: 30.0\nl: ['a', 1]\nt: True"
        );
        assert_eq!(
            show(Name::Globaloptions, r#"{"status": "error", "reason": "'x' not an existing option"}"#),
            "'x' not an existing option"
        );
        assert_eq!(show(Name::Decr, r#"{"status": "ok", "numprocesses": 1, "singleton": true}"#), SINGLETON);
        assert_eq!(show(Name::Incr, r#"{"status": "ok"}"#), "ok");
        assert_eq!(show(Name::Incr, r#"{"status": "ok", "numprocesses": 3}"#), "3");
        assert_eq!(
            show(
                Name::Listsockets,
                r#"{"status": "ok", "sockets": [{"fd": 7, "name": "a", "host": "h", "port": 1}, {"fd": 8, "name": "b", "path": "/p"}]}"#
            ),
            "7:socket 'a' at h:1\n8:socket 'b' at /p"
        );
        assert_eq!(show(Name::Quit, r#"{"status": "ok"}"#), "ok");
    }

    #[test]
    fn prints_figures() {
        let child = r#"{"pid": 8, "cmdline": "b", "username": "u", "nice": 0, "mem_info1": "1.00M", "mem_info2": "2.00M", "cpu": 0.0, "mem": 0.1, "ctime": "0:00.0"}"#;
        let process = format!(
            r#"{{"pid": 7, "cmdline": "a", "username": "u", "nice": 0, "mem_info1": "1.00M", "mem_info2": "2.00M", "cpu": 1.5, "mem": 0.1, "ctime": "0:01.2", "children": [{child}]}}"#
        );
        let line = "7  a u 0 1.00M 2.00M 1.5 0.1 0:01.2\n   8  b u 0 1.00M 2.00M 0.0 0.1 0:00.0";
        let named = format!(r#"{{"status": "ok", "name": "Web", "info": {{"7": {process}, "9": "gone"}}}}"#);
        assert_eq!(show(Name::Stats, &named), format!("Web:\n7: {line}\n9: gone"));
        let all = format!(r#"{{"status": "ok", "infos": {{"web": {{"7": {process}}}, "none": {{}}}}}}"#);
        assert_eq!(show(Name::Stats, &all), format!("web:\n7: {line}\nnone:"));
        let one = format!(r#"{{"status": "ok", "process": 7, "info": {process}}}"#);
        assert_eq!(show(Name::Stats, &one), format!("7: {line}\n"));
        let daemon = format!(r#"{{"status": "ok", "info": {child}}}"#);
        assert_eq!(show(Name::Dstats, &daemon), "Main Process:\n    8  b u 0 1.00M 2.00M 0.0 0.1 0:00.0");
    }

    #[test]
    fn prints_json_as_python_does() {
        let reply = reply(r#"{"status":"ok","b":[],"a":[1,{"x":"é"}],"time":1e16,"n":{}}"#);
        assert_eq!(
            as_json(&reply, false),
            r#"{"status": "ok", "b": [], "a": [1, {"x": "\u00e9"}], "time": 1e+16, "n": {}}"#
        );
        let pretty = "{\n  \"a\": [\n    1,\n    {\n      \"x\": \"\\u00e9\"\n    }\n  ],\n  \"b\": [],\n  \"n\": {},\n  \"status\": \"ok\",\n  \"time\": 1e+16\n}";
        assert_eq!(as_json(&reply, true), pretty);
        assert_eq!(event(b"watcher.a", b"{\"t\": 'x'}"), "b'watcher.a': b'{\"t\": \\'x\\'}'\n");
    }

    proptest::proptest! {
        #[test]
        fn strange_replies_do_no_harm(key in "(pids|watchers|statuses|info|infos|options|sockets|process|name)", value in "(null|1|\"x\"|\\[1\\]|\\{\"a\": 1\\}|\\{\"a\": \\{\"pid\": null\\}\\})") {
            let reply = reply(&format!(r#"{{"status": "ok", "{key}": {value}}}"#));
            for row in super::super::commands::COMMANDS {
                let _unused = text(row.name, &reply);
            }
        }
    }
}
