//! What a service's probes ask on a stock node, which has none of its own: as far as they can be asked
//! from the console, from here; otherwise by a program on the node.
//!
//! ```text
//!  tcp, http to the node's address        the console
//!  exec, log, loopback only, a password   a one-shot watcher
//!  pid_alive                              the age that `stats` tells
//! ```
//!
//! It asks nobody: it sorts questions and adds up answers.

use circus_protocol::service::{
    Check, Level, Membership, Probe, STDERR, STDOUT, Service, Services, Variables,
};
use serde_json::{Map, Value, json};

/// A question that the console asks itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What.
    pub what: What,
    /// Seconds that an answer may take.
    pub limit: f64,
}

/// One of two kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Does somebody accept connections at `host:port`?
    Tcp(String),
    /// Does an address answer well?
    Http {
        /// What is fetched.
        url: String,
        /// Which statuses are good.
        status: Vec<u16>,
        /// A regular expression for the body.
        body: Option<String>,
    },
}

/// One watcher's probes, and what is known of their answers.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) watcher: String,
    /// The age of its oldest process in seconds; it has none when absent.
    pub(super) age: Option<f64>,
    checks: Vec<Asking>,
    levels: Vec<Level>,
}

/// One check.
#[derive(Debug)]
struct Asking {
    level: Level,
    way: Way,
    /// Yes, or why not; not known yet when absent.
    answer: Option<Result<(), String>>,
}

/// Who asks.
#[derive(Debug)]
enum Way {
    Console(Question),
    Node(Value),
    Age(f64),
    /// It cannot be asked at all, which is the answer.
    Nobody,
}

impl Asked {
    /// The probes of a service; `None` when it has none.
    pub(super) fn of(
        services: &Services,
        service: &Service,
        node: &Membership,
        watcher: &str,
    ) -> Option<Self> {
        if service.probes.is_empty() {
            return None;
        }
        let variables = services.variables_of(service, Some(node));
        let sorted = |probe: &Probe, check: &Check| match sort(check, probe, &variables, node) {
            Ok(way) => Asking { level: probe.level, way, answer: None },
            Err(why) => Asking { level: probe.level, way: Way::Nobody, answer: Some(Err(why)) },
        };
        let checks = service
            .probes
            .iter()
            .flat_map(|probe| probe.checks.iter().map(move |check| sorted(probe, check)));
        let checks = checks.collect();
        let mut levels: Vec<Level> = service.probes.iter().map(|probe| probe.level).collect();
        levels.sort_unstable();
        Some(Self { watcher: watcher.to_owned(), age: None, checks, levels })
    }

    /// Puts in what the ages say.
    pub(super) fn with_age(&mut self, age: Option<f64>) {
        self.age = age;
        for asking in &mut self.checks {
            if let Way::Age(least) = asking.way {
                let answer = match age {
                    Some(age) if age >= least => Ok(()),
                    Some(age) => Err(format!("alive for {} s of {least} s", age.floor())),
                    None => Err("no process".to_owned()),
                };
                asking.answer = Some(answer);
            }
        }
    }

    /// What the console is to ask, in a fixed order.
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        self.checks.iter().filter_map(|asking| match &asking.way {
            Way::Console(question) => Some(question),
            Way::Node(_) | Way::Age(_) | Way::Nobody => None,
        })
    }

    /// The answers to [`Self::questions`], as many as there were.
    pub(super) fn answer(&mut self, answers: &mut impl Iterator<Item = Result<(), String>>) {
        for asking in self.checks.iter_mut().filter(|asking| matches!(asking.way, Way::Console(_))) {
            asking.answer = answers.next();
        }
    }

    /// What a program on the node is to ask. While what the console sees is not good yet, nobody is sent.
    pub(super) fn errands(&self) -> Vec<Value> {
        let open = |asking: &&Asking| matches!(asking.way, Way::Console(_) | Way::Age(_));
        if self.checks.iter().filter(open).any(|asking| !matches!(asking.answer, Some(Ok(())))) {
            return Vec::new();
        }
        let errand = |asking: &Asking| match &asking.way {
            Way::Node(errand) => Some(errand.clone()),
            Way::Console(_) | Way::Age(_) | Way::Nobody => None,
        };
        self.checks.iter().filter_map(errand).collect()
    }

    /// The answers to [`Self::errands`].
    pub(super) fn report(&mut self, answers: &mut impl Iterator<Item = Result<(), String>>) {
        for asking in self.checks.iter_mut().filter(|asking| matches!(asking.way, Way::Node(_))) {
            asking.answer = answers.next();
        }
    }

    /// In the form in which a circusd-rs tells readiness. It is up at least, because it is active; ready
    /// when the highest level of its probes is reached.
    pub(super) fn told(&self) -> Value {
        let problem = |level: Level| {
            self.checks.iter().filter(|asking| asking.level == level).find_map(|asking| {
                match &asking.answer {
                    Some(Ok(())) => None,
                    Some(Err(why)) => Some(format!(": {why}")),
                    None => Some(String::new()),
                }
            })
        };
        // What has no probe for being up is up when it is active.
        let mut reached = (!self.levels.contains(&Level::Up)).then_some(Level::Up);
        for level in &self.levels {
            match problem(*level) {
                None => reached = Some(*level),
                Some(why) => {
                    let state = if reached.is_some() { "up" } else { "starting" };
                    // In the words of a circusd-rs.
                    let level = if *level == Level::Joined { "joined" } else { "up" };
                    let detail = format!("not {level} yet{why}");
                    return json!({"state": state, "ready": false, "detail": detail});
                }
            }
        }
        let state = if reached == Some(Level::Joined) { "joined" } else { "up" };
        json!({"state": state, "ready": true, "detail": ""})
    }
}

/// Who can ask this.
fn sort(check: &Check, probe: &Probe, variables: &Variables, node: &Membership) -> Result<Way, String> {
    let text =
        |text: &str| variables.substitute(text).map_err(|_| format!("{text:?} names an unknown variable"));
    let limit = probe.attempt_timeout;
    Ok(match check {
        Check::PidAlive(seconds) => Way::Age(*seconds),
        Check::Tcp(address) => {
            let address = text(address)?;
            if is_near(host(&address), node) {
                Way::Console(Question { what: What::Tcp(address), limit })
            } else {
                Way::Node(json!({"tcp": address, "limit": limit}))
            }
        }
        Check::Http { url, status, body, login } => {
            let url = text(url)?;
            let authority = url.strip_prefix("http://").and_then(|rest| rest.split(['/', '?']).next());
            match login {
                None if is_near(host(authority.unwrap_or_default()), node) => {
                    let what = What::Http { url, status: status.clone(), body: body.clone() };
                    Way::Console(Question { what, limit })
                }
                login => {
                    let login = match login {
                        Some(login) => json!([login.user, text(&login.password_file)?]),
                        None => Value::Null,
                    };
                    Way::Node(json!({
                        "http": url, "status": status, "body": body, "login": login, "limit": limit,
                    }))
                }
            }
        }
        Check::Exec { command, exit_codes, output } => Way::Node(json!({
            "exec": text(command)?, "exit_codes": exit_codes, "output": output, "limit": limit,
        })),
        Check::Log { file, .. } if file == STDOUT || file == STDERR => {
            return Err(format!("a stock node does not tell where {file} goes; name the log file"));
        }
        Check::Log { file, pattern } => {
            Way::Node(json!({"log": text(file)?, "pattern": pattern, "limit": limit}))
        }
    })
}

fn host(address: &str) -> &str {
    let host =
        address.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether the console can ask there: the loopback of another machine is not ours.
fn is_near(host: &str, node: &Membership) -> bool {
    let is_local = |host: &str| host == "localhost" || host == "::1" || host.starts_with("127.");
    !host.is_empty() && (!is_local(host) || is_local(&node.address))
}

/// What a program on the node has to say to its errands: as many answers, in their order.
pub(super) fn answers(result: &Map<String, Value>) -> impl Iterator<Item = Result<(), String>> {
    let rows = result.get("answers").and_then(Value::as_array).cloned().unwrap_or_default();
    rows.into_iter().map(|row| match row {
        Value::Null => Ok(()),
        Value::String(why) => Err(why),
        other => Err(other.to_string()),
    })
}
