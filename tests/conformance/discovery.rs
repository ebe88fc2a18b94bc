//! Multicast discovery. The answer itself is tested beside the responder, on loopback; joining a
//! real group would speak to the network, so here is only what happens when there is none.

use circus_tests::script::agree;
use circus_tests::wait::until;
use serde_json::json;

#[test]
fn no_group_is_a_warning() {
    let ini = "\
[circus]
check_delay = 600
multicast_endpoint = udp://127.0.0.1:12027
[watcher:one]
cmd = sleep 1000
";
    agree(ini, |s| {
        s.call("globaloptions", json!({"option": "multicast_endpoint"}));
        s.call("status", json!({}));
        let log = until("the warning", || Some(s.daemon.log()).filter(|log| log.contains("discovery")));
        s.note("it says", log.to_lowercase().contains("discovery is disabled"));
    });
}
