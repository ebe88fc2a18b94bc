//! What each command makes of its arguments, and every reason of refusing them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know tests by their functions; these are the helpers of tests"
)]

use circus_protocol::codec::{decode_request, reason};
use circus_protocol::command::options::{self, Outcome};
use circus_protocol::command::{
    Add, Adjust, Command, Kill, Match, NAMES, Reload, ResetKind, Selection, SignalTarget, StatsQuery,
};
use circus_protocol::json;
use circus_protocol::number::Signal;
use circus_protocol::reply::Refusal;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(command: &str, properties: &str) -> Result<Command, Refusal> {
    let payload = format!(r#"{{"id": "x", "command": "{command}", "properties": {properties}}}"#);
    Command::parse(&decode_request(payload.as_bytes()).unwrap())
}

#[track_caller]
fn accepted(command: &str, properties: &str) -> Command {
    parse(command, properties).unwrap()
}

/// The whole reason; `...: ` stands for the quoted request.
#[track_caller]
fn refused(command: &str, properties: &str, errno: i64, text: &str) {
    let refusal = parse(command, properties).unwrap_err();
    let payload = format!(r#"{{"id": "x", "command": "{command}", "properties": {properties}}}"#);
    let quoted = format!("command {}: ", json::python_repr_bytes(payload.as_bytes()));
    let reason = reason(&refusal, payload.as_bytes()).replace(&quoted, "...: ");
    assert_eq!((refusal.errno().get(), reason.as_str()), (errno, text));
}

#[test]
fn every_name_is_known_in_any_case() {
    for name in NAMES {
        let unknown = |name: &str| matches!(parse(name, "{}"), Err(Refusal::UnknownCommand(_)));
        assert!(!unknown(name) && !unknown(&name.to_uppercase()), "{name}");
    }
    assert_eq!(accepted("LiSt", "{}").name(), "list");
    assert_eq!(accepted("clear", "{}").name(), "reset");
    refused("FooBar", "{}", 2, "unknown command: 'FooBar'");
    refused("", "{}", 2, "unknown command: ''");
    refused("it's", "{}", 2, "unknown command: \"it's\"");
}

#[test]
fn commands_without_arguments_take_anything() {
    for (name, command) in [
        ("dstats", Command::Dstats),
        ("hello", Command::Hello),
        ("ipython", Command::Ipython),
        ("listen", Command::Listen),
        ("listsockets", Command::ListSockets),
        ("numwatchers", Command::NumWatchers),
    ] {
        for properties in ["{}", "null", "[]", "\"zz\"", "1", "{\"name\": 5}"] {
            assert_eq!(parse(name, properties), Ok(command.clone()));
        }
        assert_eq!((command.name(), command.waiting()), (name, false));
    }
}

#[test]
fn missing_properties_are_named() {
    for (command, key) in [
        ("add", "name"),
        ("decr", "name"),
        ("get", "name"),
        ("incr", "name"),
        ("kill", "name"),
        ("options", "name"),
        ("rm", "name"),
        ("set", "name"),
        ("signal", "name"),
        ("configure", "identifier"),
    ] {
        refused(command, "{}", 3, &format!("message invalid '{key}' is missing"));
    }
    refused("add", r#"{"name": "a"}"#, 3, "message invalid 'cmd' is missing");
    refused("get", r#"{"name": "a"}"#, 3, "message invalid 'keys' is missing");
    refused("set", r#"{"name": "a"}"#, 3, "message invalid 'options' is missing");
    refused("signal", r#"{"name": "a"}"#, 3, "message invalid 'signum' is missing");
}

#[test]
fn a_name_must_be_text() {
    for command in [
        "list",
        "status",
        "stats",
        "numprocesses",
        "options",
        "start",
        "stop",
        "restart",
        "reload",
        "incr",
        "rm",
        "kill",
        "reset",
    ] {
        refused(command, r#"{"name": 1}"#, 5, "...: 'int' object has no attribute 'lower'");
        refused(command, r#"{"name": null}"#, 5, "...: 'NoneType' object has no attribute 'lower'");
        refused(command, r#"{"name": 1.5}"#, 5, "...: 'float' object has no attribute 'lower'");
        refused(command, r#"{"name": []}"#, 5, "...: 'list' object has no attribute 'lower'");
        refused(command, r#"{"name": {}}"#, 5, "...: 'dict' object has no attribute 'lower'");
    }
}

#[test]
fn properties_may_be_no_object() {
    assert_eq!(accepted("list", "[]"), Command::List { name: None });
    assert_eq!(accepted("list", "\"zz\""), Command::List { name: None });
    refused("list", "null", 5, "...: argument of type 'NoneType' is not iterable");
    refused("list", "[\"name\"]", 5, "...: list indices must be integers or slices, not str");
    refused("list", "\"a name\"", 5, "...: string indices must be integers, not 'str'");
    refused("start", "[]", 5, "...: 'list' object has no attribute 'get'");
    refused("start", "[\"name\"]", 5, "...: 'list' object has no attribute 'get'");
    refused("globaloptions", "null", 5, "...: 'NoneType' object has no attribute 'get'");
}

#[test]
fn selections() {
    let all = Selection::default();
    assert_eq!(accepted("start", "{}"), Command::Start(all.clone()));
    // What does not select is not looked at.
    assert_eq!(accepted("stop", r#"{"match": "zorg"}"#), Command::Stop(all));
    let one = Selection { name: Some("Web*".to_owned()), matching: Match::Regex, waiting: true };
    assert_eq!(
        accepted("restart", r#"{"name": "Web*", "match": "regex", "waiting": 1}"#),
        Command::Restart(one)
    );
    refused("stop", r#"{"name": "a", "match": "zorg"}"#, 3, "unknown match method zorg");
    refused("stop", r#"{"name": "a", "match": ""}"#, 3, "unknown match method ");
    refused("stop", r#"{"name": "a", "match": null}"#, 3, "unknown match method None");
}

#[test]
fn waiting_is_truth_as_in_python() {
    for (value, waiting) in [
        ("true", true),
        ("1", true),
        ("\"no\"", true),
        ("[0]", true),
        ("0", false),
        ("\"\"", false),
        ("null", false),
        ("[]", false),
    ] {
        let properties =
            format!(r#"{{"name": "a", "waiting": {value}, "start": true, "cmd": "c", "options": {{}}}}"#);
        for command in [
            "start",
            "stop",
            "restart",
            "reload",
            "rm",
            "incr",
            "decr",
            "kill",
            "quit",
            "reloadconfig",
            "set",
            "add",
        ] {
            assert_eq!(accepted(command, &properties).waiting(), waiting, "{command} {value}");
        }
    }
    assert!(!accepted("add", r#"{"name": "a", "cmd": "c", "waiting": true}"#).waiting());
}

#[test]
fn reload_and_rm() {
    let reload = Reload { name: None, graceful: true, sequential: false, waiting: false };
    assert_eq!(accepted("reload", "{}"), Command::Reload(reload));
    let reload = Reload { name: Some("a".to_owned()), graceful: false, sequential: true, waiting: false };
    assert_eq!(
        accepted("reload", r#"{"name": "a", "graceful": 0, "sequential": 1}"#),
        Command::Reload(reload)
    );
    let rm = Command::Rm { name: "a".to_owned(), nostop: true, waiting: false };
    assert_eq!(accepted("rm", r#"{"name": "a", "nostop": true}"#), rm);
}

#[test]
fn incr_takes_integers_only() {
    let incr = |nb| Command::Incr(Adjust { name: "a".to_owned(), nb, waiting: false });
    assert_eq!(accepted("incr", r#"{"name": "a"}"#), incr(1));
    assert_eq!(accepted("incr", r#"{"name": "a", "nb": -2}"#), incr(-2));
    assert_eq!(accepted("incr", r#"{"name": "a", "nb": true}"#), incr(1));
    for (value, shown) in
        [("\"2\"", "'2'"), ("1.5", "1.5"), ("null", "None"), ("99999999999999999999", "99999999999999999999")]
    {
        refused(
            "decr",
            &format!(r#"{{"name": "a", "nb": {value}}}"#),
            3,
            &format!("'nb' isn't an integer: {shown}"),
        );
    }
}

#[test]
fn get_and_globaloptions() {
    let get = |keys: &[&str]| Command::Get {
        name: "a".to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    assert_eq!(accepted("get", r#"{"name": "a", "keys": ["cmd", "uid"]}"#), get(&["cmd", "uid"]));
    assert_eq!(accepted("get", r#"{"name": "a", "keys": "cm"}"#), get(&["c", "m"]));
    assert_eq!(accepted("get", r#"{"name": "a", "keys": {"cmd": 1}}"#), get(&["cmd"]));
    refused("get", r#"{"name": "a", "keys": [1]}"#, 3, "1 option not found");
    refused("get", r#"{"name": "a", "keys": null}"#, 5, "...: 'NoneType' object is not iterable");
    let all = Command::GlobalOptions { option: None };
    assert_eq!(accepted("globaloptions", "{}"), all);
    assert_eq!(accepted("globaloptions", r#"{"option": "", "keys": ["x"]}"#), all);
    let one = Command::GlobalOptions { option: Some("check_delay".to_owned()) };
    assert_eq!(accepted("globaloptions", r#"{"option": "check_delay"}"#), one);
    refused("globaloptions", r#"{"option": "zorg"}"#, 3, "'zorg' not an existing option");
}

#[test]
fn stats() {
    let query = |properties: &str| match accepted("stats", properties) {
        Command::Stats(query) => query,
        other => panic!("{other:?}"),
    };
    let all = StatsQuery { name: None, process: None, extended: false, tally: false };
    assert_eq!(query(r#"{"extended": true, "process": "x"}"#), all);
    assert_eq!(query(r#"{"tally": true}"#), StatsQuery { tally: true, ..all.clone() });
    for other in [r#"{"tally": 1}"#, r#"["tally"]"#, r#""tally""#] {
        assert_eq!(query(other), all, "{other}");
    }
    assert!(query(r#"{"name": "a", "tally": true}"#).tally);
    let one = query(r#"{"name": "a", "process": "12", "extended": true}"#);
    assert_eq!((one.process, one.extended), (Some((json!("12"), 12)), true));
    refused(
        "stats",
        r#"{"name": "a", "process": "zz"}"#,
        5,
        "...: invalid literal for int() with base 10: 'zz'",
    );
}

#[test]
fn kill() {
    let kill = |properties: &str| match accepted("kill", properties) {
        Command::Kill(kill) => kill,
        other => panic!("{other:?}"),
    };
    let plain =
        Kill { name: "a".to_owned(), pid: None, signal: None, graceful_timeout: None, waiting: false };
    assert_eq!(kill(r#"{"name": "a", "graceful_timeout": null}"#), plain);
    assert_eq!(kill(r#"{"name": "a", "pid": 0}"#).pid, None);
    assert_eq!(kill(r#"{"name": "a", "pid": " 12 "}"#).pid, Some(12));
    assert_eq!(kill(r#"{"name": "a", "signum": "usr1"}"#).signal, Some(Signal(10)));
    // What circusctl sends is text.
    assert_eq!(kill(r#"{"name": "a", "graceful_timeout": "1.5"}"#).graceful_timeout, Some(1.5));
    assert_eq!(kill(r#"{"name": "a", "graceful_timeout": 2}"#).graceful_timeout, Some(2.0));
    refused(
        "kill",
        r#"{"name": "a", "graceful_timeout": "soon"}"#,
        3,
        "'graceful_timeout' isn't a number: 'soon'",
    );
    refused("kill", r#"{"name": "a", "graceful_timeout": NaN}"#, 3, "'graceful_timeout' isn't a number: nan");
    refused("kill", r#"{"name": "a", "signum": "nosuch"}"#, 3, "signal invalid");
    refused(
        "kill",
        r#"{"name": "a", "pid": []}"#,
        5,
        "...: int() argument must be a string, a bytes-like object or a real number, not 'list'",
    );
}

#[test]
fn signal_targets() {
    let target = |properties: &str| match accepted(
        "signal",
        &format!(r#"{{"name": "a", "signum": 0, {properties}}}"#),
    ) {
        Command::Signal(signal) => signal.target,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(r#""x": 1"#), SignalTarget::Processes { pid: None });
    assert_eq!(target(r#""pid": 5"#), SignalTarget::Processes { pid: Some(5) });
    // Text is silently nobody's pid, except for children.
    assert_eq!(target(r#""pid": "5""#), SignalTarget::Processes { pid: Some(0) });
    assert_eq!(target(r#""children": true, "pid": "5""#), SignalTarget::Children { pid: Some(5) });
    assert_eq!(target(r#""recursive": true"#), SignalTarget::Recursive { pid: None });
    assert_eq!(target(r#""recursive": true, "children": true"#), SignalTarget::Children { pid: None });
    assert_eq!(target(r#""pid": 5, "childpid": "6""#), SignalTarget::Child { pid: 5, child: 6 });
    assert_eq!(target(r#""child_pid": 6, "pid": 5"#), SignalTarget::Processes { pid: Some(5) });
    refused(
        "signal",
        r#"{"name": "a", "signum": 0, "childpid": 1}"#,
        5,
        "...: cannot specify childpid without pid",
    );
    refused("signal", r#"{"name": "a", "signum": 0, "childpid": 1, "pid": "5"}"#, 5, "...: '5'");
}

#[test]
fn signal_forms() {
    for (form, number) in [
        ("1", 1),
        ("\"1\"", 1),
        ("\"+1\"", 1),
        ("\" 1 \"", 1),
        ("1.9", 1),
        ("-0.9", 0),
        ("true", 1),
        ("\"HUP\"", 1),
        ("\"sighup\"", 1),
        ("\"SIGRTMIN\"", 34),
        ("\"SIGRTMIN+1\"", 35),
        ("\"rtmin+99\"", 133),
        ("\"HUP junk\"", 1),
        ("\"hup+\"", 1),
        ("\"RTMAX-1\"", 64),
        ("999", 999),
        ("\"-1\"", -1),
        ("99999999999", i32::MAX),
        ("\"rtmin+99999999999999999999\"", i32::MAX),
        ("\"cld\"", 17),
    ] {
        assert_eq!(Signal::parse(&json::parse(form.as_bytes()).unwrap()), Ok(Signal(number)), "{form}");
    }
    for form in [
        "\"\"",
        "\" HUP\"",
        "\"+\"",
        "\"NOSUCH\"",
        "\"SIG\"",
        "\"SIG_DFL\"",
        "\"1.5\"",
        "\"1_\"",
        "\"\u{e9}\"",
    ] {
        let refusal = Signal::parse(&json::parse(form.as_bytes()).unwrap()).unwrap_err();
        assert_eq!((refusal.errno().get(), refusal.to_string().as_str()), (3, "signal invalid"), "{form}");
    }
    refused(
        "signal",
        r#"{"name": "a", "signum": null}"#,
        5,
        "...: int() argument must be a string, a bytes-like object or a real number, not 'NoneType'",
    );
    refused(
        "signal",
        r#"{"name": "a", "signum": Infinity}"#,
        5,
        "...: cannot convert float infinity to integer",
    );
    assert_eq!(
        (Signal(17).name(), Signal::from_name("abrt"), Signal(99).name()),
        (Some("CHLD"), Some(Signal(6)), None)
    );
}

#[track_caller]
fn set_refused(options: &str, text: &str) {
    refused("set", &format!(r#"{{"name": "a", "options": {options}}}"#), 3, text);
}

#[test]
fn options_are_checked_in_circus_words() {
    refused("set", r#"{"name": "a", "options": []}"#, 3, "'options' property should be an object");
    refused(
        "add",
        r#"{"name": "a", "cmd": "c", "options": null}"#,
        3,
        "'options' property should be an object",
    );
    set_refused(r#"{"zorg": 1}"#, "unknown key 'zorg'");
    set_refused(r#"{"priority": 1}"#, "unknown key 'priority'");
    set_refused(r#"{"numprocesses": "1"}"#, "'numprocesses' isn't an integer");
    set_refused(r#"{"stop_signal": "TERM"}"#, "'stop_signal' isn't an integer");
    set_refused(r#"{"graceful_timeout": "1"}"#, "'graceful_timeout' isn't a number");
    set_refused(r#"{"uid": 1.5}"#, "'uid' isn't an integer or string");
    set_refused(r#"{"shell": "yes"}"#, "'shell' isn't a valid boolean");
    set_refused(r#"{"env": []}"#, "'env' isn't a valid object");
    set_refused(r#"{"env": {"A'": 1}}"#, "\"A'\" isn't a string");
    set_refused(r#"{"stdout_stream": 1}"#, "'stdout_stream' isn't a valid object");
    set_refused(r#"{"stderr_stream": {}}"#, "'stderr_stream' must have a 'class' key");
    set_refused(r#"{"rlimit_zorg": 1}"#, "'rlimit_zorg' isn't a valid rlimit setting");
    set_refused(r#"{"rlimit_nofile": "1"}"#, "'1' rlimit value isn't a valid int");
    set_refused(r#"{"hooks": {"zorg": null}}"#, "Unknown hook {'zorg': None}");
    set_refused(r#"{"hooks": "x"}"#, "'x' isn't a valid hook dict");
    // The first wrong one in the message is named.
    set_refused(r#"{"cmd": "c", "max_age": null, "zorg": 1}"#, "'max_age' isn't an integer");
}

#[test]
fn options_that_circus_would_break_on_are_refused() {
    set_refused(r#"{"cmd": 5}"#, "'cmd' isn't a string: 5");
    set_refused(r#"{"args": 5}"#, "'args' isn't a list or string: 5");
    set_refused(r#"{"working_dir": 5}"#, "'working_dir' isn't a string: 5");
    set_refused(r#"{"warmup_delay": NaN}"#, "'warmup_delay' isn't a number: nan");
    set_refused(
        r#"{"numprocesses": 99999999999999999999}"#,
        "'numprocesses' is out of range: 99999999999999999999",
    );
    set_refused(r#"{"hooks": {"before_start": 1}}"#, "hook 'before_start' is 1: send \"module.function\"");
    set_refused(r#"{"hooks.x": 1}"#, "'hooks.x' isn't a string: 1");
    let twice = "...: Arbiter.add_watcher() got multiple values for argument 'cmd'";
    refused("add", r#"{"name": "a", "cmd": "c", "options": {"cmd": "d"}}"#, 5, twice);
    refused("add", r#"{"name": "", "cmd": "c"}"#, 3, "'name' is empty: give the watcher a name");
    let long = format!(r#"{{"name": "{}", "cmd": "c"}}"#, "n".repeat(1025));
    refused("add", &long, 3, "'name' is too long: 1025 bytes, at most 1024 are taken");
    refused("add", r#"{"name": "a", "cmd": 1}"#, 3, "'cmd' isn't a string: 1");
    refused("add", r#"{"name": "a", "cmd": "c", "args": 1}"#, 3, "'args' isn't a list or string: 1");
}

#[test]
fn accepted_options_keep_order_and_lose_ambiguity() {
    let Command::Set(set) = accepted(
        "set",
        r#"{"name": "A", "options": {"max_age": true, "warmup_delay": 1, "singleton": "no", "uid": "web", "rlimit_nofile": null}}"#,
    ) else {
        panic!("not set")
    };
    let expected = [
        ("max_age", json!(1)),
        ("warmup_delay", json!(1)),
        ("singleton", json!(true)),
        ("uid", json!("web")),
        ("rlimit_nofile", Value::Null),
    ];
    assert_eq!(set.options, expected.map(|(key, value)| (key.to_owned(), value)));
    let Command::Add(add) = accepted(
        "add",
        r#"{"name": "A", "cmd": "c", "args": ["x"], "start": 1, "options": {"rlimit_nofile": 5, "hooks": {"before_start": ["m.f", false]}}}"#,
    ) else {
        panic!("not add")
    };
    let expected = Add {
        name: "A".to_owned(),
        cmd: "c".to_owned(),
        args: json!(["x"]),
        options: vec![
            ("rlimit_nofile".to_owned(), json!(5)),
            ("hooks".to_owned(), json!({"before_start": ["m.f", false]})),
        ],
        start: true,
        waiting: false,
    };
    assert_eq!(*add, expected);
}

#[test]
fn the_table_says_what_has_no_effect() {
    let set = |key: &str| options::find(key).unwrap().set;
    for key in
        ["copy_env", "max_retry", "respawn", "singleton", "retry_in", "close_child_stdin", "rlimit_nofile"]
    {
        assert_eq!(set(key), Outcome::Ignored, "{key}");
    }
    for key in ["cmd", "hooks.before_start", "stdout_stream.filename", "env", "max_age"] {
        assert_eq!(set(key), Outcome::Applied, "{key}");
    }
    assert_eq!(options::find("retry_in").unwrap().add, Outcome::Custom);
    assert_eq!(options::find("hooks").unwrap().key, "hooks");
    assert_eq!(options::find("priority"), None);
}

const CONSOLE: &str = r#"{"identifier": 1, "address": "192.168.0.1", "cluster": ["192.168.0.1", "192.168.0.2"], "isMaster": true}"#;

/// The console's message with one key changed or added.
fn configure(key: &str, value: Value) -> Result<Command, Refusal> {
    let mut properties = json::parse(CONSOLE.as_bytes()).unwrap();
    properties[key] = value;
    parse("configure", &properties.to_string())
}

#[test]
fn the_console_of_2015_is_understood() {
    let Command::Configure(message) = accepted("configure", CONSOLE) else { panic!("not configure") };
    assert_eq!((message.identifier, message.address.as_str(), message.is_master), (1, "192.168.0.1", true));
    assert_eq!(message.cluster, ["192.168.0.1", "192.168.0.2"]);
    assert!(message.services.is_none() && !message.fresh && !message.joining && !message.dry_run);
    for (key, value) in [
        ("identifier", json!("1")),
        ("isMaster", json!("True")),
        ("isMaster", Value::Null),
        ("cluster", json!("192.168.0.1, 192.168.0.2")),
    ] {
        assert_eq!(configure(key, value), Ok(Command::Configure(message.clone())), "{key}");
    }
    let Ok(Command::Configure(second)) = configure("identifier", json!(2)) else { panic!("not configure") };
    assert!(second.is_master);
    let Command::Configure(default) =
        accepted("configure", r#"{"identifier": 2, "address": "b", "cluster": ["a", "b"]}"#)
    else {
        panic!()
    };
    assert!(!default.is_master);
}

#[test]
fn configure_takes_our_additions() {
    let Ok(Command::Configure(message)) =
        configure("variables", json!({"heap": "2G", "n": 3, "x": 1.5, "on": true}))
    else {
        panic!()
    };
    let variables = [("heap", "2G"), ("n", "3"), ("x", "1.5"), ("on", "true")];
    assert_eq!(message.variables, variables.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let Ok(Command::Configure(message)) = configure("templates", json!({"cassandra:yaml": "a: $address"}))
    else {
        panic!()
    };
    assert_eq!(message.templates, [("cassandra:yaml".to_owned(), "a: $address".to_owned())]);
    let Ok(Command::Configure(message)) = configure("services", json!(["cassandra"])) else { panic!() };
    assert_eq!(message.services, Some(vec!["cassandra".to_owned()]));
}

#[test]
fn a_wrong_membership_is_refused_with_value_and_remedy() {
    let reason = |key: &str, value: Value| match configure(key, value) {
        Err(Refusal::Message(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let identifier = "send this node's position in the cluster, an integer from 1";
    for (value, shown) in [
        (json!(0), "0"),
        (json!(-1), "-1"),
        (json!("x"), "'x'"),
        (json!(1.5), "1.5"),
        (json!(true), "True"),
        (Value::Null, "None"),
    ] {
        assert_eq!(reason("identifier", value), format!("'identifier' is {shown}: {identifier}"));
    }
    assert_eq!(
        reason("address", json!("10.0.0.1")),
        "'address' 10.0.0.1 is not in 'cluster' (192.168.0.1, 192.168.0.2): add it or correct it"
    );
    assert_eq!(reason("address", json!(5)), "'address' holds 5: send text");
    assert_eq!(reason("cluster", json!([])), "'cluster' is empty: send the addresses of all its nodes");
    assert_eq!(reason("cluster", json!(" ")), "'cluster' is empty: send the addresses of all its nodes");
    assert_eq!(reason("cluster", json!(["a", "b", "a"])), "'cluster' has a twice: send each address once");
    assert_eq!(reason("cluster", json!(["a", ""])), "'cluster' holds an empty entry (''): remove it");
    assert_eq!(reason("cluster", json!("a,,b")), "'cluster' holds an empty entry ('a,,b'): remove it");
    assert_eq!(reason("cluster", json!(["a b"])), "'cluster' holds 'a b': remove the blanks");
    assert_eq!(reason("cluster", json!(["a\nb"])), "'cluster' holds 'a\\nb': remove the blanks");
    assert_eq!(reason("cluster", json!({})), "'cluster' is {}: send a list of texts");
    assert_eq!(reason("isMaster", json!("maybe")), "'isMaster' is 'maybe': send true or false");
    assert_eq!(reason("isMaster", json!(1)), "'isMaster' is 1: send true or false");
    assert_eq!(reason("variables", json!({"a": null})), "'variables' has a = None: send text");
    assert_eq!(
        reason("templates", json!({"yaml": "x"})),
        "'templates' has the key 'yaml': send 'service:label'"
    );
}

#[test]
fn reset() {
    let reset = |properties: &str| match accepted("reset", properties) {
        Command::Reset(reset) => reset,
        other => panic!("{other:?}"),
    };
    let all = reset("{}");
    assert_eq!((all.name, all.matching, all.kind, all.keep), (None, Match::Glob, ResetKind::All, None));
    assert!(!all.dry_run && !all.stop && !all.undo);
    let one = reset(
        r#"{"name": "c*", "match": "simple", "kind": "data", "dry_run": true, "keep": "60", "stop": "true"}"#,
    );
    assert_eq!(
        (one.name.as_deref(), one.matching, one.kind, one.keep),
        (Some("c*"), Match::Simple, ResetKind::Data, Some(60.0))
    );
    assert!(one.dry_run && one.stop);
    refused("reset", r#"{"kind": "logs"}"#, 3, "'kind' is 'logs': send data, log or all");
    refused("reset", r#"{"stop": "no"}"#, 3, "'stop' is 'no': send true or false");
    refused("reset", r#"{"keep": -1}"#, 3, "'keep' is -1: send a number of seconds, 0 or more");
    refused("reset", r#"{"name": "a", "match": "zorg"}"#, 3, "unknown match method zorg");
}

/// Values that commands have reason to look at.
fn interesting() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(json::float),
        "[a-zA-Z0-9_+. ]{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "name",
        "cmd",
        "args",
        "options",
        "keys",
        "option",
        "nb",
        "pid",
        "childpid",
        "signum",
        "graceful_timeout",
        "match",
        "waiting",
        "process",
        "identifier",
        "address",
        "cluster",
        "isMaster",
        "variables",
        "templates",
        "services",
        "kind",
        "keep",
        "stop",
        "start",
        "children",
        "hooks",
        "env",
        "uid",
        "stdout_stream",
        "rlimit_nofile",
        "numprocesses",
        "max_age",
        "before_start",
        "class",
    ]);
    leaf.prop_recursive(4, 40, 10, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..10)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_arguments_do_not_panic(name in prop::sample::select(NAMES.to_vec()), properties in interesting()) {
        let text = String::from_utf8(json::to_vec(&properties)).unwrap();
        match parse(name, &text) {
            Ok(command) => { let _ = (command.name(), command.waiting()); }
            Err(refusal) => prop_assert!(!reason(&refusal, text.as_bytes()).is_empty()),
        }
    }
}

#[test]
fn options_are_read_from_text() {
    for (key, text, value) in [
        ("numprocesses", "3", json!(3)),
        ("stop_signal", "sigint", json!(2)),
        ("stop_signal", "9", json!(9)),
        ("graceful_timeout", "2", json::float(2.0)),
        ("shell", "Yes", json!(true)),
        ("respawn", "0", json!(false)),
        ("uid", "33", json!("33")),
        ("args", "-a b", json!("-a b")),
        ("env", "A=1, B = x=y", json!({"A": "1", "B": "x=y"})),
        ("stdout_stream.max_bytes", "100", json!(100)),
        ("stdout_stream.filename", "100", json!("100")),
        ("hooks", "before_start:m.f,after_stop:m.g", json!({"before_start": "m.f", "after_stop": "m.g"})),
        ("hooks.before_start", "m.f", json!("m.f")),
        ("rlimit_nofile", "512", json!(512)),
    ] {
        assert_eq!(options::from_text(key, text), Ok(value.clone()), "{key}");
        let set = json!({"name": "a", "options": {key: value}});
        assert!(parse("set", &set.to_string()).is_ok(), "{key}");
    }
    let error = |key: &str, text: &str| options::from_text(key, text).unwrap_err().to_string();
    assert_eq!(error("zorg", "1"), "unknown key 'zorg'");
    assert_eq!(error("stdout_stream", "x"), "unknown key 'stdout_stream'");
    assert_eq!(error("max_age", "1.5"), "'max_age' is '1.5': give an integer");
    assert_eq!(error("shell", "maybe"), "'shell' is 'maybe': give true or false");
    assert_eq!(error("warmup_delay", "nan"), "'warmup_delay' is 'nan': give a number");
    assert_eq!(error("stop_signal", "NO"), "'stop_signal' is 'NO': give a signal's name or number");
    assert_eq!(error("env", "A"), "'env' is 'A': give NAME=VALUE, with commas between several");
    assert_eq!(
        error("hooks.zorg", "m.f"),
        "'hooks.zorg' is 'm.f': give the name of a hook that exists after 'hooks.'"
    );
}
