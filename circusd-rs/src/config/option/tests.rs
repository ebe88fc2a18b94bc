//! What the option table promises: values in, values out, refusals in circus' words.

use super::*;
use serde_json::json;

fn watcher() -> WatcherConfig {
    WatcherConfig::new(WatcherName::new("One"), "/srv".to_owned())
}

#[test]
fn options_prints_exactly_circus_fixed_keys() {
    let keys: Vec<String> = show_all(&watcher()).keys().cloned().collect();
    let expected = "args close_child_stderr close_child_stdin close_child_stdout cmd copy_env env executable gid \
                    graceful_timeout max_age max_age_variance max_retry numprocesses on_demand priority respawn \
                    send_hup shell shell_args singleton stderr_stream_conf stdout_stream_conf stop_children \
                    stop_signal uid use_sockets warmup_delay working_dir";
    assert_eq!(keys.join(" "), expected);
}

#[test]
fn numbers_look_as_python_printed_them() {
    let mut config = watcher();
    let shown = |config: &WatcherConfig, key| serde_json::to_string(&show(config, key).unwrap()).unwrap();
    assert_eq!(shown(&config, "graceful_timeout"), "30.0");
    assert_eq!(shown(&config, "warmup_delay"), "0.0");
    assert_eq!(shown(&config, "stdout_stream_conf"), "null");
    config.from_file = true;
    assert_eq!(shown(&config, "warmup_delay"), "0");
    assert_eq!(shown(&config, "stdout_stream_conf"), "{}");
    assert_eq!(shown(&config, "stop_signal"), "15");
    assert_eq!(show(&config, "autostart"), None);
}

#[test]
fn set_stores_and_says_what_follows() {
    let mut config = watcher();
    let mut check = |key: &str, value: Value, expected: Trigger| {
        assert_eq!(set(&mut config, key, &value), Ok(expected), "{key}");
    };
    check("numprocesses", json!(3), Trigger::Manage);
    check("numprocesses", json!(-3), Trigger::Manage);
    check("cmd", json!("sleep 1"), Trigger::Reload);
    check("warmup_delay", json!(1), Trigger::Manage);
    check("uid", json!("nobody"), Trigger::Reload);
    check("env", json!({"A": "1"}), Trigger::Reload);
    check("rlimit_nofile", json!(100), Trigger::Manage);
    check("rlimit_CORE", json!(null), Trigger::Manage);
    check("stdout_stream.filename", json!("/tmp/x"), Trigger::Reload);
    check("stdout_stream.class", json!("WatchedFileStream"), Trigger::Manage);
    check("stdout_stream.time_format", json!("%Y"), Trigger::Manage);
    check("hooks.before_start", json!("a.b,true"), Trigger::Manage);
    assert_eq!(config.numprocesses, 0);
    assert_eq!(config.rlimits, [("core".to_owned(), None), ("nofile".to_owned(), Some(100))].into());
    let stream = config.stdout_stream.unwrap();
    assert_eq!(stream.class.name(), "WatchedFileStream", "the class survives a change of another option");
    assert_eq!(config.hooks["before_start"], family::hook_from("a.b, yes").unwrap());
}

#[test]
fn set_refuses_in_circus_words_and_changes_nothing() {
    let mut config = WatcherConfig { singleton: true, ..watcher() };
    let before = config.clone();
    let mut check = |key: &str, value: Value, expected: &str| {
        assert_eq!(set(&mut config, key, &value).unwrap_err().to_string(), expected, "{key}");
    };
    check("zorg", json!(1), "unknown key 'zorg'");
    check("priority", json!(1), "unknown key 'priority'");
    check("numprocesses", json!(2), "Singleton watcher has a single process");
    check(
        "numprocesses",
        json!(20_000_000),
        "20000000 processes are more than the 10000 that one watcher may have",
    );
    check("stop_signal", json!(65), "65 isn't a signal: expected 0 to 64");
    check("stop_signal", json!(-1), "-1 isn't a signal: expected 0 to 64");
    check("stdout_stream.time_format", json!("%Y"), "stream configuration invalid");
    check("env", json!({"A": 1}), "'A' isn't a string");
    assert_eq!(config, before);
}

#[test]
fn add_builds_a_watcher_with_client_side_nulls() {
    let inherited = Arc::new(Inherited {
        environment: [("HOME".to_owned(), "/h".to_owned())].into(),
        working_dir: "/work".to_owned(),
    });
    let options = vec![("copy_env".to_owned(), json!(true)), ("env".to_owned(), json!({"X": "$HOME"}))];
    let config = add("New", "sleep", &json!(["1"]), &options, &inherited).unwrap();
    assert_eq!(config.working_dir, "/work");
    assert_eq!(show(&config, "env").unwrap(), json!({"HOME": "/h", "X": "$HOME"}));
    assert_eq!(show(&config, "args").unwrap(), json!(["1"]));

    let refused = |options: &[(String, Value)]| {
        add("New", "sleep", &Value::Null, options, &inherited).unwrap_err().to_string()
    };
    let two = [("singleton".to_owned(), json!(true)), ("numprocesses".to_owned(), json!(3))];
    assert_eq!(refused(&two), "Cannot have 3 processes with a singleton  watcher");
    assert_eq!(refused(&[("autostart".to_owned(), json!(true))]), "unknown key 'autostart'");
    assert_eq!(refused(&[("cmd".to_owned(), json!("x"))]), "got multiple values for argument 'cmd'");
}

#[test]
fn text_becomes_the_kind_its_row_wants() {
    assert_eq!(from_text(Kind::Integer, " 1_0 "), Ok(json!(10)));
    assert_eq!(from_text(Kind::Integer, "0.5").unwrap_err(), "\"0.5\" is not a whole number");
    assert_eq!(from_text(Kind::Boolean, "ON"), Ok(json!(true)));
    for (text, number) in [("15", 15), ("term", 15), ("SIGHUP", 1), ("SIGRTMIN+1", 35), ("HUP junk", 1)] {
        assert_eq!(from_text(Kind::Signal, text), Ok(json!(number)), "{text}");
    }
    assert!(from_text(Kind::Signal, "NOSUCH").is_err());
    assert!(from_text(Kind::Number, "nan").is_err());
}

#[test]
fn a_program_as_hook_may_have_commas() {
    let hook = |text| family::hook_from(text).map(|hook| (hook.path, hook.ignore_failure));
    assert_eq!(hook("exec:/bin/x a,b"), Ok(("exec:/bin/x a,b".to_owned(), false)));
    assert_eq!(hook("exec:/bin/x a,b, yes"), Ok(("exec:/bin/x a,b".to_owned(), true)));
    assert_eq!(hook("pkg.f, yes"), Ok(("pkg.f".to_owned(), true)));
    assert_eq!(hook("pkg.f, a, yes"), Err("\"a, yes\" is not a boolean".to_owned()));
}

#[test]
fn options_that_circus_does_not_know_are_there_when_given() {
    let mut config = watcher();
    assert_eq!(show(&config, "backoff"), None);
    let given = [
        ("restart", json!("on-failure"), json!("on-failure")),
        ("expected_exit_codes", json!([0, "term"]), json!("0,SIGTERM")),
        ("success_after", json!(5), json!(5.0)),
        ("backoff", json!("0.5"), json!(0.5)),
        ("backoff_max", json!(60), json!(60.0)),
        ("backoff_jitter", json!(0.25), json!(0.25)),
        ("start_limit", json!("4"), json!(4)),
        ("start_limit_window", json!(30), json!(30.0)),
    ];
    for (key, value, shown) in &given {
        assert_eq!(set(&mut config, key, value), Ok(Trigger::Manage), "{key}");
        assert_eq!(show(&config, key).as_ref(), Some(shown), "{key}");
        assert_eq!(show_all(&config).get(*key), Some(shown), "{key}");
    }
    for (key, _, _) in &given {
        assert_eq!(set(&mut config, key, &Value::Null), Ok(Trigger::Manage), "{key}");
    }
    assert_eq!(config, watcher());
}

#[test]
fn a_bad_policy_is_refused_with_its_value() {
    let mut config = watcher();
    let mut check = |key: &str, value: Value, expected: &str| {
        assert_eq!(set(&mut config, key, &value).unwrap_err().to_string(), expected, "{key}");
    };
    check("restart", json!("maybe"), "\"maybe\" is none of always, on-failure, never");
    check("restart", json!(true), "true isn't a string");
    check("backoff", json!(0), "0 is not between 0.01 and 31536000 seconds");
    check("backoff", json!("soon"), "\"soon\" is not a number");
    check("backoff_max", json!(0.01), "0.01 is not between 0.1 and 31536000 seconds");
    check("backoff_jitter", json!(1.5), "1.5 is not between 0 and 1");
    check("start_limit", json!(-1), "-1 is not between 0 and 1000");
    check("start_limit", json!(2.5), "2.5 isn't an integer");
    check("success_after", json!("-1"), "-1 is not between 0 and 31536000 seconds");
    check(
        "expected_exit_codes",
        json!("0,999"),
        "\"999\" is no exit status (0 to 255), range (10-20) or signal (SIGTERM)",
    );
    assert_eq!(config, watcher());
}
