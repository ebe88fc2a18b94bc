//! What the shipped profiles render is read by parsers that are not ours: YAML (where the Python of the
//! tests has a YAML package), XML, and properties, in which no setting may stand twice.
#![expect(clippy::disallowed_methods, reason = "tests")]

use std::path::PathBuf;
use std::process::Command;

use circus_tests::daemon::workspace;

fn python() -> PathBuf {
    let found = std::env::var_os("CIRCUS_TEST_PYTHON")
        .map_or_else(|| workspace().join("target/stock/bin/python"), PathBuf::from);
    assert!(found.exists(), "no python at {}: run tests/setup, or set CIRCUS_TEST_PYTHON", found.display());
    found
}

#[test]
fn rendered_files_are_what_they_claim_to_be() {
    let output = Command::new(python())
        .arg(workspace().join("tests/rendered/read.py"))
        .arg(workspace().join("protocol/tests/golden/profiles"))
        .output()
        .expect("python starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    let read: usize = said.trim().parse().expect("how many files were read");
    assert!(read > 200, "only {read} files were read");
}
