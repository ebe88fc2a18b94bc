//! `ipython`, which needs a package that is not there.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn has_no_shell() {
    agree(CALM, |s| {
        s.call("ipython", json!({}));
    });
}
