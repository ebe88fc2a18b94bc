//! Pids, times and paths become placeholders, so that transcripts of two daemons compare.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Remembers which pid is which.
#[derive(Debug, Default)]
pub struct Normal {
    pids: HashMap<i64, usize>,
    texts: Vec<(String, String)>,
}

impl Normal {
    /// Also replaces `text` by `name` wherever it stands in a string.
    pub fn replace(&mut self, text: &str, name: &str) {
        self.texts.push((text.to_owned(), name.to_owned()));
    }

    fn pid(&mut self, raw: i64) -> Value {
        let next = self.pids.len() + 1;
        Value::String(format!("<pid {}>", self.pids.entry(raw).or_insert(next)))
    }

    /// The same value with everything that differs from run to run named instead.
    pub fn value(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::Number(number) if is_pid(key) && number.as_i64().is_some() => {
                self.pid(number.as_i64().unwrap_or_default())
            }
            Value::Number(number) if is_time(key) => Value::String(if number.is_f64() {
                "<float>".to_owned()
            } else {
                format!("<not a float: {number}>")
            }),
            // Row D3 of differences.md.
            Value::Null | Value::String(_) if key == "tb" => Value::String("<traceback or null>".to_owned()),
            Value::String(_) if matches!(key, "mem_info1" | "mem_info2" | "ctime" | "username") => {
                Value::String(format!("<{key}>"))
            }
            // Pids may be sent as text.
            Value::String(text) if is_pid(key) && text.parse().is_ok_and(|raw: i64| raw > 99) => {
                let raw = text.parse().unwrap_or_default();
                Value::String(format!("text of {}", self.pid(raw)))
            }
            Value::String(text) => {
                let replaced =
                    self.texts.iter().fold(text.clone(), |text, (from, to)| text.replace(from.as_str(), to));
                Value::String(if key == "reason" { self.pids_within(&replaced) } else { replaced })
            }
            // Row D60.
            Value::Object(map) if matches!(key, "env" | "stdout_stream_conf" | "stderr_stream_conf") => {
                let mut sorted: Vec<_> = self.object(map).into_iter().collect();
                sorted.sort_by(|(left, _), (right, _)| left.cmp(right));
                Value::Object(sorted.into_iter().collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(key, item)).collect()),
            Value::Object(map) => Value::Object(self.object(map)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// A reason may name a process, or quote the request that did.
    fn pids_within(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, digits) = rest.split_at(start);
            let (digits, after) =
                digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
            out += before;
            match digits.parse().ok().filter(|raw| *raw > 99).and_then(|raw: i64| self.pids.get(&raw)) {
                Some(number) => out += &format!("<pid {number}>"),
                None => out += digits,
            }
            rest = after;
        }
        out + rest
    }

    fn object(&mut self, map: &Map<String, Value>) -> Map<String, Value> {
        map.iter()
            // Row D2 of differences.md.
            .filter(|(key, _)| key.as_str() != "__name__")
            .map(|(key, value)| {
                // `stats` has objects whose keys are pids.
                let name = match key.parse::<i64>() {
                    Ok(raw) => self.pid(raw).as_str().unwrap_or_default().to_owned(),
                    Err(_) => key.clone(),
                };
                let value = self.value(key, value);
                (name, value)
            })
            .collect()
    }
}

fn is_pid(key: &str) -> bool {
    matches!(
        key,
        "pid"
            | "pids"
            | "process_pid"
            | "childpid"
            | "child_pid"
            | "started"
            | "kept"
            | "stopped"
            | "process"
    )
}

fn is_time(key: &str) -> bool {
    matches!(key, "time" | "started" | "age" | "create_time" | "cpu" | "mem")
}
