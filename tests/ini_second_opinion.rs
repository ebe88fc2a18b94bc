//! The `ini` crate reads another dialect, but on simple files all readers must agree: it is asked as
//! an independent second opinion, also about the examples' own files.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on must say so and end")]

use std::collections::BTreeMap;

use circus_protocol::ini::Ini;
use circus_tests::daemon::workspace;
use proptest::prelude::*;

type Plain = BTreeMap<String, BTreeMap<String, String>>;

fn ours(text: &str) -> Plain {
    let ini = Ini::parse(text, "simple.ini").unwrap_or_else(|errors| panic!("{errors:?}"));
    let entries = |section: &circus_protocol::ini::Section| {
        section.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    };
    ini.sections.iter().map(|section| (section.name.clone(), entries(section))).collect()
}

fn theirs(text: &str) -> Plain {
    let map = ini::inistr!(safe cs text).expect("the second reader understands it");
    let value = |(key, value): (String, Option<String>)| (key, value.expect("a value"));
    map.into_iter().map(|(name, entries)| (name, entries.into_iter().map(value).collect())).collect()
}

#[test]
fn agrees_on_the_example() {
    let text = std::fs::read_to_string(workspace().join("examples/configs/simple.ini")).expect("the example");
    assert_eq!(ours(&text), theirs(&text));
}

/// Where the dialects differ, each is what its own documents say; were they equal, one parser would do.
#[test]
fn the_dialects_differ_where_we_say_they_do() {
    let twice = "[a]\nx = 1\nx = 2\n";
    assert_eq!((ours(twice)["a"]["x"].as_str(), theirs(twice)["a"]["x"].as_str()), ("1", "2"));
    let comment = "[a]\nx = a;b\ny = a#b\n";
    assert_eq!((ours(comment)["a"]["x"].as_str(), theirs(comment)["a"]["x"].as_str()), ("a;b", "a"));
    assert_eq!((ours(comment)["a"]["y"].as_str(), theirs(comment)["a"]["y"].as_str()), ("a#b", "a"));
}

proptest! {
    #[test]
    fn agrees_on_simple_files(
        sections in proptest::collection::btree_map(
            "[a-z]{1,8}(:[a-zA-Z0-9_]{1,8}){0,2}",
            proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_.]{0,12}", "[a-zA-Z0-9/$(){}.,*-][a-zA-Z0-9/$(){}., *-]{0,20}", 1..6),
            1..6,
        ),
        spaces in 0..3_usize,
    ) {
        let blank = " ".repeat(spaces);
        let mut text = String::from("# a comment\n; another\n\n");
        for (name, entries) in &sections {
            prop_assume!(entries.keys().all(|key| !key.eq_ignore_ascii_case("rem") && key != "__name__"));
            prop_assume!(!name.eq_ignore_ascii_case("default"));
            text.push_str(&format!("[{name}]\n"));
            for (key, value) in entries {
                text.push_str(&format!("{key}{blank}={blank}{value}\n"));
            }
        }
        prop_assert_eq!(ours(&text), theirs(&text));
    }
}
