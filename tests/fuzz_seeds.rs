//! The checks of the fuzz targets on their seeds, on every prefix of these, and on long inputs whose
//! cost once grew with the square of their length.
#![expect(clippy::expect_used, reason = "tests")]

#[expect(unreachable_pub, reason = "the fuzz targets' own crate exports them")]
#[path = "fuzz/src/checks.rs"]
mod checks;

use circus_tests::daemon::workspace;

fn each(target: &str, check: fn(&[u8])) {
    let seeds = workspace().join("tests/fuzz/seeds").join(target);
    let mut count = 0;
    for file in std::fs::read_dir(seeds).expect("seeds").flatten() {
        let bytes = std::fs::read(file.path()).expect("a seed is readable");
        check(&bytes);
        for end in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            check(bytes.get(..end).unwrap_or_default());
        }
        count += 1;
    }
    assert!(count > 3, "{count} seeds for {target}");
}

#[test]
fn codec() {
    each("codec", checks::codec::check);
}

#[test]
fn zmtp() {
    each("zmtp", checks::zmtp::check);
}

#[test]
fn ini() {
    each("ini", checks::ini::check);
}

/// The cost of each of these was once the square of its length.
#[test]
fn long_files_cost_what_they_are_long() {
    let braces = format!("[watcher:web]\ncmd = {}\n", "((".repeat(200_000));
    checks::ini::check(braces.as_bytes());
    let dollars = format!("[service:web]\nhome = /{}\n", "$ ".repeat(60_000));
    checks::ini::check(dollars.as_bytes());
    let keys: String = (0..40_000).map(|number| format!("k{number}=\n")).collect();
    checks::ini::check(format!("[DEFAULT]\n{keys}[other]\n{keys}").as_bytes());
}
