//! One daemon on two addresses, and what is different from last time.
//!
//! A daemon is told from others by its process id and the moment it was started, in hundredths of a
//! second; to that, on circusd-rs, comes its host's name, on stock what it publishes and how many
//! watchers it has: no command of stock's names its host.

use std::collections::{HashMap, HashSet};

use circus_protocol::endpoint::Endpoint;
use serde_json::{Value, json};

use super::{Daemon, Found, Kind};

/// What is different about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nobody was found there before.
    New,
    /// Nothing.
    Same,
    /// The same kind of daemon, started anew.
    Restarted,
    /// Another daemon, or another version.
    Became {
        /// What it was.
        was: String,
    },
}

/// An address at which there was a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// What it was.
    pub was: String,
}

/// Two clocks of one machine, read twice: this close is the same moment, in hundredths.
const SAME_MOMENT: i64 = 2;

/// Marks every daemon that was found before under another address.
pub fn mark_doubles(found: &mut [Found]) {
    let mut seen: Vec<(usize, String)> = Vec::new();
    for at in 0..found.len() {
        let Some(this) = found.get(at) else { continue };
        let first = seen
            .iter()
            .find(|(other, _)| found.get(*other).is_some_and(|other| is_same(&other.daemon, &this.daemon)));
        let first = first.map(|(_, name)| name.clone());
        match (first, found.get_mut(at)) {
            (None, Some(this)) => {
                this.same_as = None;
                seen.push((at, this.name.clone()));
            }
            (first, Some(this)) => this.same_as = first,
            (_, None) => {}
        }
    }
}

fn is_same(one: &Daemon, other: &Daemon) -> bool {
    let moment = |daemon: &Daemon| daemon.started.map(hundredths);
    let (Some(a), Some(b)) = (moment(one), moment(other)) else { return false };
    one.pid.is_some()
        && one.pid == other.pid
        && (a - b).abs() <= SAME_MOMENT
        && one.kind == other.kind
        && (one.kind != Kind::Stock || (&one.pubsub, one.watchers) == (&other.pubsub, other.watchers))
}

#[expect(clippy::cast_possible_truncation, reason = "a moment in this century, in hundredths")]
fn hundredths(seconds: f64) -> i64 {
    (seconds * 100.0).round() as i64
}

/// What is different at each found address, and who is gone of those that were asked again.
#[must_use]
pub fn since(last: Option<&Value>, found: &[Found], asked: &[Endpoint]) -> (Vec<Change>, Vec<Gone>) {
    let known = last.and_then(|last| last.get("found")).and_then(Value::as_array);
    let known: HashMap<&str, &Value> =
        known.into_iter().flatten().filter_map(|one| Some((one.get("endpoint")?.as_str()?, one))).collect();
    let text = |one: &Value, key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let change = |found: &Found| {
        let Some(was) = known.get(found.endpoint.to_string().as_str()) else { return Change::New };
        let daemon = text(was, "daemon");
        if daemon != found.daemon.kind.describe() {
            return Change::Became { was: daemon };
        }
        let moment = was.get("started").and_then(Value::as_f64).map(hundredths);
        let now = found.daemon.started.map(hundredths);
        let other = was.get("pid").and_then(Value::as_i64) != found.daemon.pid
            || moment.zip(now).is_some_and(|(a, b)| (a - b).abs() > SAME_MOMENT);
        if other { Change::Restarted } else { Change::Same }
    };
    let changes = found.iter().map(change).collect();
    let here: HashSet<String> = found.iter().map(|found| found.endpoint.to_string()).collect();
    let gone = asked
        .iter()
        .map(ToString::to_string)
        .filter(|endpoint| !here.contains(endpoint))
        .filter_map(|endpoint| known.get(endpoint.as_str()))
        .map(|was| Gone { name: text(was, "name"), was: text(was, "daemon") })
        .collect();
    (changes, gone)
}

/// What is to be remembered: what was found now, and what was known of addresses that were not asked.
#[must_use]
pub fn remembered(last: Option<&Value>, found: &[Found], asked: &[Endpoint]) -> Value {
    let asked: HashSet<String> =
        asked.iter().map(ToString::to_string).chain(found.iter().map(|f| f.endpoint.to_string())).collect();
    let kept = last.and_then(|last| last.get("found")).and_then(Value::as_array).into_iter().flatten();
    let kept = kept.filter(|one| {
        one.get("endpoint").and_then(Value::as_str).is_some_and(|endpoint| !asked.contains(endpoint))
    });
    let now = found.iter().map(|found| {
        json!({
            "name": found.name, "endpoint": found.endpoint.to_string(),
            "daemon": found.daemon.kind.describe(), "pid": found.daemon.pid, "started": found.daemon.started,
        })
    });
    json!({"found": kept.cloned().chain(now).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, kind: Kind, pid: i64, started: f64) -> Found {
        let daemon = Daemon { kind, pid: Some(pid), started: Some(started), pubsub: None, watchers: Some(1) };
        let endpoint = format!("tcp://{name}:5555").parse().expect("an endpoint");
        Found { name: name.to_owned(), endpoint, daemon, in_range: true, in_group: false, same_as: None }
    }

    fn native(node: &str) -> Kind {
        Kind::Native { version: "1".to_owned(), node: node.to_owned() }
    }

    #[test]
    fn one_daemon_on_two_addresses_is_one() {
        let mut all = [
            found("a", Kind::Stock, 7, 1000.5),
            found("b", Kind::Stock, 7, 1000.51),
            found("c", Kind::Stock, 7, 1001.5),
            found("d", native("n"), 7, 1000.5),
            found("e", native("n"), 7, 1000.5),
            found("f", native("m"), 7, 1000.5),
            found("g", Kind::Stock, 8, 1000.5),
            found("h", Kind::Stock, 7, 1000.5),
        ];
        all[7].daemon.watchers = Some(2);
        mark_doubles(&mut all);
        let same: Vec<_> = all.iter().map(|found| found.same_as.as_deref().unwrap_or("-")).collect();
        assert_eq!(same.join(" "), "- a - - d - - -");
        all[0].daemon.started = None;
        mark_doubles(&mut all[..2]);
        assert_eq!(all[1].same_as, None, "who does not tell is nobody's double");
    }

    #[test]
    fn changes_are_told_of_what_was_asked() {
        let before = [
            found("a", Kind::Stock, 1, 1.0),
            found("b", Kind::Stock, 2, 2.0),
            found("c", native("n"), 3, 3.0),
        ];
        let last = remembered(None, &before, &[]);
        let now = [
            found("a", native("n"), 1, 1.0),
            found("c", native("n"), 4, 9.0),
            found("d", Kind::Stock, 5, 5.0),
        ];
        let asked: Vec<Endpoint> =
            ["a", "b", "c"].iter().map(|n| format!("tcp://{n}:5555").parse().expect("ok")).collect();
        let (changes, gone) = since(Some(&last), &now, &asked);
        assert_eq!(changes, [Change::Became { was: "circusd".to_owned() }, Change::Restarted, Change::New]);
        assert_eq!(gone, [Gone { name: "b".to_owned(), was: "circusd".to_owned() }]);
        let (changes, gone) = since(Some(&remembered(Some(&last), &now, &asked)), &now, &asked);
        assert_eq!(
            (changes.as_slice(), gone.as_slice()),
            (&[Change::Same, Change::Same, Change::Same][..], &[][..])
        );
        // What was not asked is not forgotten.
        let kept = remembered(Some(&last), &[], &asked[..1]);
        assert_eq!(kept["found"].as_array().map(Vec::len), Some(2), "{kept}");
        // Whatever is in the file.
        for odd in [json!(null), json!([]), json!({"found": [1, {"endpoint": 1}]})] {
            assert_eq!(since(Some(&odd), &now, &asked).0, [Change::New, Change::New, Change::New]);
        }
    }
}
