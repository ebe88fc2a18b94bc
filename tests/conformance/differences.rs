//! `differences.md` and the scripts must not drift apart.

use std::collections::BTreeSet;

use circus_tests::daemon::workspace;
use circus_tests::script::listed_differences;

#[test]
fn every_tag_is_listed_and_every_row_is_used() {
    let folder = workspace().join("tests/conformance");
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).expect("this folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            used.extend(tags(&text));
        }
    }
    let listed = listed_differences();
    let unlisted: Vec<_> = used.difference(&listed).collect();
    assert!(unlisted.is_empty(), "used by a script, but no row of differences.md: {unlisted:?}");

    let text = std::fs::read_to_string(folder.join("differences.md")).expect("the list");
    let row = |id: &str| text.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap_or_default();
    let idle: Vec<_> = listed.difference(&used).filter(|id| !row(id).contains("(no script: ")).collect();
    assert!(idle.is_empty(), "rows that no script uses and that do not say why (`(no script: …)`): {idle:?}");
}

/// Words that are a `D` and a number, as tags or in a comment that says `Row D1`.
fn tags(source: &str) -> impl Iterator<Item = String> + '_ {
    source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter_map(|word| {
        let number = word.strip_prefix('D')?;
        (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then(|| word.to_owned())
    })
}
