//! What changes in the cluster: a line for a person, an object for a program.

use serde_json::{Map, Value, json};

use super::table::plain;
use super::units;
use crate::cluster::view::{Change, News};

/// `2026-11-29T12:00:00Z node1: web: process 4711 died: SIGSEGV`.
#[must_use]
pub fn line(news: &News) -> String {
    plain(&format!("{} {news}", units::date(news.at.as_secs_f64())))
}

/// The same without the day, for a screen.
#[must_use]
pub fn short(news: &News) -> String {
    let date = units::date(news.at.as_secs_f64());
    let time = date.split_once('T').map_or(date.as_str(), |(_, time)| time.trim_end_matches('Z'));
    plain(&format!("{time} {news}"))
}

/// As `listen --ndjson` prints it.
#[must_use]
pub fn json(news: &News) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("time", json!(news.at.as_secs_f64()));
    put("node", json!(&*news.node));
    if let Some(watcher) = news.change.watcher() {
        put("watcher", json!(watcher));
    }
    match &news.change {
        Change::Up { daemon } => {
            put("change", json!("up"));
            put("daemon", json!(daemon.to_string()));
        }
        Change::Down { why } => {
            put("change", json!("down"));
            put("why", json!(&**why));
        }
        Change::Status { from, to, .. } => {
            put("change", json!("status"));
            put("from", json!(from.map(|status| status.word())));
            put("to", json!(to.map(|status| status.word())));
        }
        Change::Spawned { pid, again, .. } => {
            put("change", json!("spawned"));
            put("pid", json!(pid));
            put("again", json!(again));
        }
        Change::Died { pid, code, wanted, .. } => {
            put("change", json!("died"));
            put("pid", json!(pid));
            put("exit_code", json!(code));
            put("wanted", json!(wanted));
        }
        Change::Ready { from, to, detail, .. } => {
            put("change", json!("ready"));
            put("from", json!(from.map(|state| state.word())));
            put("to", json!(to.word()));
            put("detail", json!(&**detail));
        }
        Change::Note { text, .. } => {
            put("change", json!("note"));
            put("text", json!(text));
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_as_a_line_and_as_an_object() {
        let change = Change::Died { watcher: "web".into(), pid: 7, code: Some(-9), wanted: false };
        let news = News { at: Duration::from_secs(1_795_344_258), node: "n\u{1b}1".into(), change };
        assert_eq!(line(&news), "2026-11-22T10:44:18Z n 1: web: process 7 died: SIGKILL");
        assert_eq!(short(&news), "10:44:18 n 1: web: process 7 died: SIGKILL");
        let expected = json!({"time": 1_795_344_258.0, "node": "n\u{1b}1", "watcher": "web", "change": "died",
            "pid": 7, "exit_code": -9, "wanted": false});
        assert_eq!(json(&news), expected);
    }
}
