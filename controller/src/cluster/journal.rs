//! What is kept of an operation: one line when it begins, one for each node that is done with, one when
//! it ends.
//!
//! ```text
//!  {"schema":1,"id":17,"time":…,"user":…,"operation":"restart","words":[…],"targets":[…]}
//!  {"node":"node01","state":"done","reason":"","elapsed":0.2}
//!  {"end":…,"exit":0}
//! ```
//!
//! Text only: which file it is in, and whether whoever writes it is still alive, is known elsewhere. A
//! later line about a node replaces an earlier one; a last line that was cut short is no line.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::outcome::{NodeOutcome, NodeState};

/// The number in `schema`.
pub const SCHEMA: u64 = 1;
/// Characters that are kept of a reason.
const MAX_REASON: usize = 500;

/// The first line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Begun {
    /// Counts operations of this user, from 1.
    pub id: u64,
    /// Unix time in seconds.
    pub time: f64,
    /// Who: `alice@admin1`.
    pub user: String,
    /// What the cluster is called.
    pub cluster: String,
    /// Its SPEC.
    pub spec: String,
    /// The verb.
    pub operation: String,
    /// The command as it was given, options and all, without the program's name.
    pub words: Vec<String>,
    /// The absolute path of the `--services` file, if one was given.
    pub services: Option<String>,
    /// The names of the targeted nodes.
    pub targets: Vec<String>,
}

/// What became of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its state.
    pub state: NodeState,
    /// Why, in one line.
    pub reason: String,
    /// How long it took.
    pub elapsed: Duration,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// Unix time in seconds.
    pub time: f64,
    /// The exit status.
    pub exit: u8,
}

/// Everything that is known of an operation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// How it began.
    pub begun: Begun,
    /// What became of the nodes that are done with.
    pub rows: HashMap<String, Row>,
    /// How it ended, if it did.
    pub ended: Option<Ended>,
    /// Somebody is still at it.
    pub running: bool,
}

impl Begun {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let value = json!({
            "schema": SCHEMA, "id": self.id, "time": self.time, "user": self.user, "cluster": self.cluster,
            "spec": self.spec, "operation": self.operation, "words": self.words, "services": self.services,
            "targets": self.targets,
        });
        format!("{value}\n")
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let text = |key: &str| {
            value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(format!("has no text {key:?}"))
        };
        let list = |key: &str| {
            let list = value.get(key).and_then(Value::as_array).ok_or(format!("has no list {key:?}"))?;
            Ok::<_, String>(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        match value.get("schema").and_then(Value::as_u64) {
            Some(SCHEMA) => {}
            other => return Err(format!("has schema {other:?}, not {SCHEMA}")),
        }
        Ok(Self {
            id: value.get("id").and_then(Value::as_u64).ok_or("has no number \"id\"")?,
            time: value.get("time").and_then(Value::as_f64).ok_or("has no number \"time\"")?,
            user: text("user")?,
            cluster: text("cluster")?,
            spec: text("spec")?,
            operation: text("operation")?,
            words: list("words")?,
            // Older lines have none.
            services: text("services").ok(),
            targets: list("targets")?,
        })
    }
}

/// The line of one node, with its end.
#[must_use]
pub fn row_line(row: &NodeOutcome) -> String {
    let reason: String = row.reason.chars().take(MAX_REASON).collect();
    let value = json!({
        "node": row.node, "state": row.state.word(), "reason": reason, "elapsed": row.elapsed.as_secs_f64(),
    });
    format!("{value}\n")
}

impl Ended {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}\n", json!({"end": self.time, "exit": self.exit}))
    }
}

impl Record {
    /// From the text of its file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, running: bool) -> Result<Self, String> {
        // What was being written when the writer was killed is not there.
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        let mut lines = whole.lines().map(serde_json::from_str::<Value>);
        let first = lines.next().ok_or("is empty")?.map_err(|error| format!("line 1: {error}"))?;
        let begun = Begun::parse(&first).map_err(|reason| format!("line 1 {reason}"))?;
        let mut record = Self { begun, running, ..Self::default() };
        for (line, number) in lines.zip(2_u32..) {
            let line = line.map_err(|error| format!("line {number}: {error}"))?;
            record.take(&line).ok_or_else(|| format!("line {number} is neither a node nor the end"))?;
        }
        Ok(record)
    }

    fn take(&mut self, line: &Value) -> Option<()> {
        if let Some(time) = line.get("end").and_then(Value::as_f64) {
            let exit = line.get("exit").and_then(Value::as_u64).and_then(|exit| u8::try_from(exit).ok())?;
            self.ended = Some(Ended { time, exit });
            return Some(());
        }
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        let elapsed = line.get("elapsed").and_then(Value::as_f64)?;
        let row = Row {
            state: NodeState::from_word(text("state")?)?,
            reason: text("reason")?.to_owned(),
            elapsed: Duration::try_from_secs_f64(elapsed).ok()?,
        };
        self.rows.insert(text("node")?.to_owned(), row);
        Some(())
    }

    /// Neither ended nor under way: whoever did it was killed.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.ended.is_none() && !self.running
    }

    /// The nodes that said no, failed, did not answer in time or were not reached, in order.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        self.targets_where(|row| row.is_some_and(|row| row.state.is_failure()))
    }

    /// The nodes on which it is not done, in order. Nobody waits for those that are absent.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let done =
            |row: &Row| matches!(row.state, NodeState::Done | NodeState::Unchanged | NodeState::Absent);
        self.targets_where(|row| !row.is_some_and(done))
    }

    fn targets_where(&self, meant: impl Fn(Option<&Row>) -> bool) -> Vec<String> {
        let targets = self.begun.targets.iter();
        targets.filter(|node| meant(self.rows.get(*node))).cloned().collect()
    }

    /// A row for each target, in order: those that were never done with are `cancelled`.
    #[must_use]
    pub fn outcomes(&self) -> Vec<NodeOutcome> {
        let missing = if self.running { "under way" } else { "the operation was interrupted before its end" };
        let row = |node: &String| {
            let known = self.rows.get(node).cloned();
            let row = known.unwrap_or_else(|| Row {
                state: NodeState::Cancelled,
                reason: missing.to_owned(),
                elapsed: Duration::ZERO,
            });
            let (daemon, data) = (None, Value::Null);
            NodeOutcome {
                node: node.clone(),
                state: row.state,
                reason: row.reason,
                daemon,
                data,
                elapsed: row.elapsed,
            }
        };
        self.begun.targets.iter().map(row).collect()
    }

    /// How long it took, if it ended.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        let ended = self.ended?;
        Some(Duration::try_from_secs_f64(ended.time - self.begun.time).unwrap_or_default())
    }

    /// `done`, `failed`, `interrupted` or `running`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match &self.ended {
            None if self.running => "running",
            None => "interrupted",
            Some(Ended { exit: 130, .. }) => "interrupted",
            Some(Ended { exit: 0, .. }) => "done",
            Some(_) => "failed",
        }
    }

    /// For programs; `nodes` only in full.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let begun = &self.begun;
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("id", begun.id.into());
        put("time", begun.time.into());
        put("user", begun.user.clone().into());
        put("cluster", begun.cluster.clone().into());
        put("spec", begun.spec.clone().into());
        put("operation", begun.operation.clone().into());
        put("words", begun.words.clone().into());
        put("services", begun.services.clone().into());
        put("outcome", self.outcome().into());
        put("exit", self.ended.map_or(Value::Null, |ended| ended.exit.into()));
        put(
            "elapsed",
            self.elapsed().map_or(Value::Null, |time| json!((time.as_secs_f64() * 1e3).round() / 1e3)),
        );
        put("targets", begun.targets.clone().into());
        put("left", self.left().into());
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Begun {
        Begun {
            id: 17,
            time: 1_795_344_258.5,
            user: "alice@admin1".to_owned(),
            cluster: "lab".to_owned(),
            spec: "node[1-3]".to_owned(),
            operation: "restart".to_owned(),
            words: ["restart", "neo4j", "--rolling"].map(str::to_owned).to_vec(),
            services: Some("/srv/lab/services.ini".to_owned()),
            targets: ["node1", "node2", "node3"].map(str::to_owned).to_vec(),
        }
    }

    fn row(node: &str, state: NodeState) -> NodeOutcome {
        let (reason, elapsed) = (format!("{}é", "x".repeat(600)), Duration::from_millis(250));
        NodeOutcome { node: node.to_owned(), state, reason, daemon: None, data: Value::Null, elapsed }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut text = begun().line();
        text.push_str(&row_line(&row("node1", NodeState::Failed)));
        text.push_str(&row_line(&row("node2", NodeState::TimedOut)));
        text.push_str(&row_line(&row("node1", NodeState::Done)));
        let half = Record::parse(&text, false).expect("half of it");
        assert_eq!(
            (half.begun.clone(), half.outcome(), half.is_interrupted()),
            (begun(), "interrupted", true)
        );
        assert_eq!(half.left(), ["node2", "node3"]);
        assert_eq!(half.failed(), ["node2"]);
        assert_eq!(half.rows["node1"].reason.len(), MAX_REASON);
        assert_eq!(Record::parse(&text, true).expect("still running").outcome(), "running");
        let states: Vec<NodeState> = half.outcomes().iter().map(|row| row.state).collect();
        assert_eq!(states, [NodeState::Done, NodeState::TimedOut, NodeState::Cancelled]);
        text.push_str(&Ended { time: 1_795_344_260.0, exit: 5 }.line());
        let whole = Record::parse(&text, false).expect("all of it");
        assert_eq!((whole.outcome(), whole.elapsed()), ("failed", Some(Duration::from_millis(1500))));
    }

    #[test]
    fn what_older_consoles_wrote_is_read() {
        let text = begun().line().replace(r#""services":"/srv/lab/services.ini","#, "");
        assert!(!text.contains("services"), "{text}");
        let record = Record::parse(&text, false).expect("an older line");
        assert_eq!(record.begun, Begun { services: None, ..begun() });
    }

    #[test]
    fn a_line_that_was_cut_short_is_no_line() {
        let text = begun().line() + &row_line(&row("node1", NodeState::Done));
        for end in begun().line().len()..text.len() {
            let cut = text.get(..end).map(|cut| Record::parse(cut, false).expect("cut short"));
            assert!(cut.is_none_or(|record| record.rows.is_empty()), "{end}");
        }
        for wrong in ["", "{}", "{}\n", "x\n", "{\"schema\": 2}\n"] {
            assert!(Record::parse(wrong, false).is_err(), "{wrong}");
        }
        assert!(Record::parse(&(begun().line() + "{}\n"), false).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*", tail in "(\\{\"(node|end|state|exit)\": ?(1|\"done\"|-1e99)\\}\n)*") {
            let _unused = (Record::parse(&text, false), Record::parse(&(begun().line() + &tail), true));
        }
    }
}
