//! `listsockets`; what it lists is in the file of the sockets.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn none() {
    agree(CALM, |s| {
        s.call("listsockets", json!({}));
        s.call("listsockets", json!({"name": "nope", "waiting": true}));
    });
}
