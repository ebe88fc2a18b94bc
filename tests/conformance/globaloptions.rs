//! `globaloptions`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn all_and_one() {
    agree(CALM, |s| {
        s.call("globaloptions", json!({}));
        for option in ["check_delay", "endpoint", "pubsub_endpoint", "stats_endpoint", "multicast_endpoint"] {
            s.call("globaloptions", json!({"option": option}));
        }
        for option in [
            json!("zorg"),
            json!("ENDPOINT"),
            json!(""),
            json!(null),
            json!(5),
            json!(["endpoint"]),
            json!({}),
        ] {
            s.call("globaloptions", json!({"option": option}));
        }
        s.call("globaloptions", json!({"keys": ["endpoint"]}));
    });
}
