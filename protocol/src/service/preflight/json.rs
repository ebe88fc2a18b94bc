//! The same as JSON: the question for the console's program on a stock node and what it answers, and
//! findings as a daemon tells them.

use serde_json::{Map, Value, json};

use super::{Account, Facts, Finding, Grade, Holder, Look, PathFact, Reached, judge};

/// What was looked at and what is not as it should be, as the reply to `preflight` tells it: `services`,
/// `checks` (how many) and `findings`.
#[must_use]
pub fn report(looks: &[Look], facts: &[Facts]) -> Map<String, Value> {
    let mut findings: Vec<Finding> = Vec::new();
    for finding in looks.iter().zip(facts).flat_map(|(look, facts)| judge(look, facts)) {
        // What is about the node is found for each of its services.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    let services: Vec<&str> = looks.iter().map(|look| look.service.as_str()).collect();
    let mut body = Map::new();
    body.insert("services".to_owned(), json!(services));
    body.insert("checks".to_owned(), json!(looks.iter().map(Look::count).sum::<usize>()));
    body.insert("findings".to_owned(), findings.iter().map(Finding::to_json).collect());
    body
}

impl Look {
    /// For a program that looks.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let process = &self.process;
        let env: Map<String, Value> = process.env.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
        let limits: Vec<&str> = self.limits.iter().map(|limit| limit.resource.as_str()).collect();
        json!({
            "service": self.service, "address": self.address, "ports": self.ports, "limits": limits,
            "java": !self.java.is_empty(), "needed": self.needed, "written": self.written,
            "program": process.program, "uid": process.uid, "gid": process.gid,
            "working_dir": process.working_dir, "env": env, "pids": process.pids,
        })
    }
}

impl Facts {
    /// What such a program found; what it did not say is absent.
    #[must_use]
    pub fn from_json(said: &Map<String, Value>) -> Self {
        let text = |key: &str| said.get(key).and_then(Value::as_str).map(str::to_owned);
        let rows = |key: &str| said.get(key).and_then(Value::as_array).into_iter().flatten();
        let outcome = |key: &str| said.get(key).filter(|value| !value.is_null());
        let error = |value: &Value| value.get("error").and_then(Value::as_str).map(str::to_owned);
        let user = |value: &Value| error(value).map_or_else(|| Ok(account(value)), Err);
        let java = |value: &Value| error(value).map_or_else(|| Ok(word(value, "output")), Err);
        Self {
            user: outcome("user").map(user),
            privileged: said.get("privileged").and_then(Value::as_bool).unwrap_or(false),
            hostname: text("hostname").unwrap_or_default(),
            hostname_error: text("hostname_error"),
            address_error: text("address_error"),
            program_error: text("program_error"),
            limits: rows("limits").map(reached).collect(),
            holders: rows("holders").map(holder).collect(),
            java: outcome("java").map(java),
            paths: rows("paths").map(path).collect(),
        }
    }
}

fn word(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(Value::as_u64)
}

fn small(value: &Value, key: &str) -> Option<u32> {
    number(value, key).and_then(|number| u32::try_from(number).ok())
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn account(value: &Value) -> Account {
    let groups = value.get("groups").and_then(Value::as_array).into_iter().flatten();
    let groups = groups.filter_map(Value::as_u64).filter_map(|group| u32::try_from(group).ok()).collect();
    Account { name: word(value, "name"), uid: small(value, "uid").unwrap_or(u32::MAX), groups }
}

fn reached(value: &Value) -> Reached {
    Reached {
        resource: word(value, "resource"),
        soft: number(value, "soft"),
        hard: number(value, "hard"),
        running: flag(value, "running"),
    }
}

fn holder(value: &Value) -> Holder {
    Holder {
        port: number(value, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        at: word(value, "at"),
        pid: small(value, "pid"),
        command: word(value, "command"),
        user: word(value, "user"),
        own: flag(value, "own"),
    }
}

fn path(value: &Value) -> PathFact {
    let foreign = value.get("foreign").filter(|foreign| !foreign.is_null());
    PathFact {
        path: word(value, "path"),
        found: word(value, "found"),
        is_dir: flag(value, "is_dir"),
        uid: small(value, "uid").unwrap_or(u32::MAX),
        gid: small(value, "gid").unwrap_or(u32::MAX),
        owner: word(value, "owner"),
        mode: small(value, "mode").unwrap_or_default(),
        foreign: foreign.map(|foreign| (word(foreign, "path"), word(foreign, "owner"))),
        error: value.get("error").and_then(Value::as_str).map(str::to_owned),
    }
}

impl Grade {
    /// On the wire and for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    /// For people: what is so on these nodes, and below it what to do.
    #[must_use]
    pub fn lines(&self, nodes: &str) -> [String; 2] {
        let Self { service, check: _, grade, text, remedy } = self;
        let whose = if service.is_empty() { String::new() } else { format!("{service}: ") };
        [format!("{}  {nodes}  {whose}{text}", grade.word()), format!("         {remedy}")]
    }

    /// As a member of `findings` in the reply to `preflight`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { service, check, grade, text, remedy } = self;
        json!({"service": service, "check": check, "grade": grade.word(), "text": text, "remedy": remedy})
    }

    /// From such a member; a grade that is not known is taken for the worst.
    #[must_use]
    pub fn from_json(said: &Value) -> Self {
        let warning = word(said, "grade") == Grade::Warning.word();
        Self {
            service: word(said, "service"),
            check: word(said, "check"),
            grade: if warning { Grade::Warning } else { Grade::Problem },
            text: word(said, "text"),
            remedy: word(said, "remedy"),
        }
    }
}
