//! Verdicts on made-up deaths; real ones are in `tests/why.rs`.

use super::super::card::tests::card;
use super::*;
use crate::arbiter::input::Usage;

fn judged(end: End, by: By, words: &LastWords) -> (&'static str, String) {
    let verdict = verdict(&card(end, by, 100.0), words, &[], 30.0);
    (verdict.word, verdict.text)
}

fn said(stderr: &str) -> LastWords {
    LastWords { stderr: stderr.to_owned(), ..LastWords::default() }
}

#[test]
fn statuses_mean_what_they_mean_everywhere() {
    for (status, word) in [
        (0, "done"),
        (1, "failed"),
        (78, "failed"),
        (126, "not-executable"),
        (127, "not-found"),
        (137, "child-signalled"),
        (255, "failed"),
    ] {
        assert_eq!(judged(End::Status(status), By::Itself, &said("")).0, word, "{status}");
    }
    let text = judged(End::Status(143), By::Itself, &said("")).1;
    assert_eq!(text, "it ended with status 143: what it ran ended by SIGTERM");
}

#[test]
fn the_output_makes_a_failure_particular() {
    for (line, word) in [
        ("java.net.BindException: Address already in use (Bind failed)", "port-in-use"),
        ("OSError: [Errno 98] Address already in use", "port-in-use"),
        ("Error: listen EADDRINUSE: :::80", "port-in-use"),
        ("x: error while loading shared libraries: libz.so.1: cannot open", "missing-library"),
        ("Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space", "java-out-of-memory"),
        ("write: No space left on device", "disk-full"),
        ("nothing in particular", "failed"),
    ] {
        let words = said(&format!("before\n{line}\nafter\n"));
        assert_eq!(judged(End::Status(1), By::Itself, &words).0, word, "{line}");
        assert_eq!(judged(End::Status(0), By::Itself, &words).0, "done");
    }
    let traced = said("Traceback (most recent call last):\n  File x\nValueError: bad\n");
    let found = verdict(&card(End::Status(1), By::Itself, 1.0), &traced, &[], 30.0);
    assert_eq!((found.word, found.evidence.as_deref()), ("exception", Some("ValueError: bad")));
}

#[test]
fn the_profile_knows_its_codes_better() {
    let meanings = [ExitMeaning { code: 3, meaning: "it could not join".to_owned() }];
    let words = said("Address already in use\n");
    let found = verdict(&card(End::Status(3), By::Itself, 1.0), &words, &meanings, 30.0);
    assert_eq!(found.text, "it ended with status 3: it could not join");
    assert_eq!((found.word, found.evidence.as_deref()), ("port-in-use", Some("Address already in use")));
}

#[test]
fn whose_doing_it_was_comes_first() {
    for (by, word) in [
        (By::Stop, "stopped"),
        (By::Replaced, "replaced"),
        (By::MaxAge, "max-age"),
        (By::Surplus, "surplus"),
        (By::Hook, "hook-refused"),
        (By::Timeout, "killed-after-timeout"),
    ] {
        assert_eq!(judged(End::Signal(9), by, &said("Address already in use")).0, word);
    }
    assert_eq!(judged(End::Unknown, By::Itself, &said("")).0, "unknown");
}

#[test]
fn signals_are_told_apart() {
    for (signal, word) in [
        (11, "crashed"),
        (6, "crashed"),
        (15, "ended-from-outside"),
        (9, "killed-from-outside"),
        (24, "cpu-limit"),
        (25, "file-limit"),
        (13, "pipe"),
        (10, "signalled"),
        (34, "signalled"),
    ] {
        assert_eq!(judged(End::Signal(signal), By::Itself, &said("")).0, word, "{signal}");
    }
    let mut big = card(End::Signal(9), By::Itself, 1.0);
    for (tree, machine, word) in [
        (Some(1), Some(1), "out-of-memory"),
        (Some(0), Some(1), "killed-from-outside"),
        (None, Some(2), "out-of-memory"),
        (None, Some(0), "killed-from-outside"),
        (None, None, "killed-from-outside"),
    ] {
        big.oom = Some(OomKills { tree, group: None, machine });
        assert_eq!(verdict(&big, &said(""), &[], 30.0).word, word, "{tree:?} {machine:?}");
    }
    let limit = Some((64 << 20, "/sys/fs/cgroup/db".to_owned()));
    let group = |kills| Some(MemoryGroup { kills, limit: limit.clone(), peak: Some(63 << 20) });
    let numbers = "(1 in its control group, which used up to 63 MiB; /sys/fs/cgroup/db limits it to 64 MiB)";
    for (tree, group, word, end) in [
        (Some(1), group(1), "out-of-memory", numbers),
        (None, group(1), "out-of-memory", numbers),
        // Others were killed, but not in its group.
        (Some(0), group(0), "killed-from-outside", "SIGKILL"),
        (None, group(0), "killed-from-outside", "SIGKILL"),
    ] {
        big.oom = Some(OomKills { tree, group, machine: Some(3) });
        let told = verdict(&big, &said(""), &[], 30.0);
        assert_eq!(told.word, word, "{:?}", big.oom);
        assert!(told.text.ends_with(end), "{}", told.text);
    }
    let mut dumped = card(End::Signal(11), By::Itself, 1.0);
    dumped.usage = Some(Usage { core: true, ..Usage::default() });
    assert!(verdict(&dumped, &said(""), &[], 30.0).text.ends_with("core dump"));
}

#[test]
fn failing_to_start_names_the_remedy() {
    for (error, directory, program, word) in [
        ("[Errno 2] No such file or directory: 'x'", false, None, "not-found"),
        ("[Errno 2] No such file or directory: '/x'", true, None, "no-directory"),
        (
            "[Errno 2] No such file or directory: 'x'",
            false,
            Some(Program::NoInterpreter("/b".to_owned())),
            "no-interpreter",
        ),
        ("[Errno 13] Permission denied: 'x'", false, Some(Program::NotExecutable), "not-executable"),
        ("[Errno 13] Permission denied: 'x'", false, None, "not-permitted"),
        ("[Errno 8] Exec format error: 'x'", false, None, "not-a-program"),
        ("[Errno 1] Operation not permitted: user 7", false, None, "not-permitted"),
        ("[Errno 11] Resource temporarily unavailable: fork", false, None, "no-room"),
        ("'x' isn't a valid user name", false, None, "no-user"),
        ("unknown rlimit \"x\"", false, None, "bad-limit"),
        ("something else", false, None, "not-started"),
    ] {
        let words = LastWords { program, ..LastWords::default() };
        let end = End::NotStarted { error: error.to_owned(), directory };
        assert_eq!(judged(end, By::Itself, &words).0, word, "{error}");
    }
}
