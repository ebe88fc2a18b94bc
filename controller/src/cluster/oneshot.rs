//! One-shot watchers: how work is done on a stock node where nothing of ours is installed.
//!
//! ```text
//!  add circusman-… ─► stats (again and again) ─► result or failure ─► rm ─► status ─► gone
//!                        └ argv[0] becomes circusman:RESULT when the work is done
//! ```
//!
//! A stock circusd tells nobody how a process ended or what it printed, but it prints the first word
//! of a process' command line. So the program, when it is done, turns itself into a `sleep` whose
//! name is its result. The sleep ends by itself when the console dies; the watcher, which does not
//! respawn, is then found stopped and removed by the next console ([`Sweep`]).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, MESSAGE_ERROR, Request};
use crate::cluster::names::{ONESHOT_PREFIX, is_oneshot, listed};
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused};
use crate::outcome::NodeState;

/// What a finished one-shot is called.
const RESULT_PREFIX: &str = "circusman:";
/// The pause between two looks. Each costs the daemon about a millisecond.
const LOOK: Duration = Duration::from_millis(30);
/// How long the finished program waits to be read.
const SLEEP: u32 = 60;
/// A finished one-shot of another console that is older is a leftover.
const FINISHED_AGE: f64 = 10.0;
/// So is any other that is older.
const OLDEST_AGE: f64 = 120.0;
/// The kernel takes at most 128 KiB for one string of an environment.
const CHUNK: usize = 96 * 1024;
/// And a quarter of the stack limit, usually 2 MiB, for all of them together.
const MAX_ENVIRONMENT: usize = 1536 * 1024;
/// Longest result: the daemon splits a process' name slowly, in about 1 ms for each KiB.
const MAX_RESULT: usize = 48 * 1024;

/// What every program can use: atomic results, limits, the final `sleep`.
const COMMON: &str = include_str!("oneshot/common.py");

/// Finds the Python that runs the node's circusd and hands over to the program in the environment.
///
/// circus substitutes `$(circus.…)` and `((circus.…))` here, so neither spelling may occur.
const LAUNCH: &str = include_str!("oneshot/launch.sh");

/// One program to run on a stock node.
#[derive(Debug)]
pub struct OneShot {
    name: String,
    request: Request,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Adding,
    Looking,
}

/// What a one-shot wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Go on like this.
    Go(Next),
    /// It is over, with its result.
    Result(Map<String, Value>),
}

impl OneShot {
    /// The program and what it is to work on; `name` must be new.
    ///
    /// # Errors
    /// When it is more than a process' environment can hold.
    pub fn new(name: String, program: &str, payload: &Value) -> Result<Self, String> {
        let mut environment = Map::new();
        chunks(&mut environment, "CIRCUSMAN_PROGRAM", format!("{COMMON}\n{program}").as_bytes());
        chunks(&mut environment, "CIRCUSMAN_PAYLOAD", payload.to_string().as_bytes());
        environment.insert("CIRCUSMAN_LIMIT".to_owned(), json!(MAX_RESULT.to_string()));
        environment.insert("CIRCUSMAN_SLEEP".to_owned(), json!(SLEEP.to_string()));
        let size: usize = environment.values().filter_map(Value::as_str).map(str::len).sum();
        if size > MAX_ENVIRONMENT {
            return Err(format!(
                "{} KiB of files are more than the {} KiB that a stock node takes at once; configure fewer services in one go",
                size / 1024,
                MAX_ENVIRONMENT / 1024
            ));
        }
        let options = json!({
            // The node's own environment is needed to run its own Python.
            "copy_env": true,
            "env": environment,
            "respawn": false,
            "max_retry": 1,
            "singleton": true,
            "numprocesses": 1,
            "graceful_timeout": 0.5,
            "close_child_stdout": true,
            "close_child_stderr": true,
        });
        let properties = json!({
            "name": name, "cmd": "/bin/sh", "args": ["-c", LAUNCH], "options": options,
            "start": true, "waiting": true,
        });
        Ok(Self { name, request: Request::new("add", properties), stage: Stage::Adding })
    }

    /// Its watcher.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds the watcher.
    #[must_use]
    pub fn begin(&mut self) -> Next {
        Next::Send(self.request.clone())
    }

    /// A new one, and what it wants first.
    ///
    /// # Errors
    /// The node's outcome, when its program and payload are more than a stock node takes.
    pub fn launch(name: String, program: &str, payload: &Value) -> Result<(Self, Next), Verdict> {
        let refused = |reason| Verdict::bare(NodeState::Refused, reason);
        let mut shot = Self::new(name, program, payload).map_err(refused)?;
        let next = shot.begin();
        Ok((shot, next))
    }

    fn look(&self) -> Step {
        Step::Go(Next::Send(Request::new("stats", json!({"name": self.name}))))
    }

    /// An answer came or a pause is over.
    pub fn step(&mut self, event: Event) -> Step {
        let answer = match event {
            Event::Begin => return Step::Go(self.begin()),
            Event::Woken => return self.look(),
            Event::Answer(answer) => answer,
        };
        match (self.stage, answer) {
            (Stage::Adding, Answer::Ok(reply)) => {
                if reply.get("started").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                    return fail("the node could not start /bin/sh");
                }
                self.stage = Stage::Looking;
                self.look()
            }
            (Stage::Adding, Answer::Error { errno, reason }) => {
                Step::Go(refused("add", errno, &reason).into())
            }
            (Stage::Looking, Answer::Error { errno: MESSAGE_ERROR, .. }) => {
                fail("the one-shot watcher disappeared")
            }
            // Somebody below it has just died and is not collected: stock cannot tell figures then.
            (Stage::Looking, Answer::Error { .. }) => Step::Go(Next::Pause(LOOK)),
            (Stage::Looking, Answer::Ok(reply)) => match Progress::of(&reply) {
                Progress::Working { .. } => Step::Go(Next::Pause(LOOK)),
                Progress::Gone => fail("the one-shot ended without a result; is there a Python on the node?"),
                Progress::Finished { result, .. } => decode(&result),
            },
        }
    }
}

fn fail(reason: &str) -> Step {
    Step::Go(Verdict::bare(NodeState::Failed, reason).into())
}

fn chunks(environment: &mut Map<String, Value>, prefix: &str, bytes: &[u8]) {
    let text = STANDARD.encode(bytes);
    let mut rest = text.as_str();
    let mut index = 0;
    while !rest.is_empty() {
        // Base64 is ASCII, so every position is a boundary.
        let (chunk, more) = rest.split_at(rest.len().min(CHUNK));
        environment.insert(format!("{prefix}_{index}"), json!(chunk));
        rest = more;
        index += 1;
    }
}

fn decode(result: &str) -> Step {
    let bytes = URL_SAFE_NO_PAD.decode(result.trim_end_matches('='));
    let value = bytes.ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok());
    match value {
        Some(Value::Object(map)) => Step::Result(map),
        _ => fail("the one-shot's result cannot be read"),
    }
}

/// How far the process of a one-shot is, by its figures.
#[derive(Debug, Clone, PartialEq)]
enum Progress {
    Working { age: f64 },
    Finished { result: String, age: f64 },
    Gone,
}

impl Progress {
    fn of(reply: &Map<String, Value>) -> Self {
        let info = reply.get("info").and_then(Value::as_object);
        // A process that has just died is a text instead of an object.
        let Some(figures) = info.and_then(|map| map.values().find_map(Value::as_object)) else {
            return Self::Gone;
        };
        let age = figures.get("age").and_then(Value::as_f64).unwrap_or_default();
        let cmdline = figures.get("cmdline").and_then(Value::as_str).unwrap_or_default();
        match cmdline.strip_prefix(RESULT_PREFIX) {
            Some(result) => Self::Finished { result: result.to_owned(), age },
            // A process that has ended but was not collected yet has no command line and no owner.
            None if figures.get("nice").and_then(Value::as_str) == Some("Zombie") => Self::Gone,
            None => Self::Working { age },
        }
    }
}

/// Removes a one-shot's watcher and sees that it is gone.
#[derive(Debug)]
pub struct Removal {
    name: String,
    removed: bool,
}

impl Removal {
    /// Of this watcher.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, removed: false }
    }

    /// The watcher.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Something happened. The verdict's reason is empty when the watcher is gone.
    pub fn step(&mut self, event: Event) -> Next {
        let remove = || Next::Send(Request::new("rm", json!({"name": self.name, "waiting": true})));
        match event {
            Event::Begin | Event::Woken => {
                self.removed = false;
                remove()
            }
            // Not there: never added, or already removed.
            Event::Answer(Answer::Error { errno: MESSAGE_ERROR, .. }) => {
                Verdict::bare(NodeState::Done, "").into()
            }
            Event::Answer(Answer::Error { reason, .. }) => {
                let text = format!("the watcher {} could not be removed: {reason}", self.name);
                Verdict::bare(NodeState::Failed, text).into()
            }
            Event::Answer(Answer::Ok(_)) if self.removed => Next::Pause(LOOK),
            Event::Answer(Answer::Ok(_)) => {
                self.removed = true;
                Next::Send(Request::new("status", json!({"name": self.name})))
            }
        }
    }
}

/// Finds and removes what crashed consoles left on a node.
#[derive(Debug)]
pub struct Sweep {
    session: String,
    /// Our own, of operations that were abandoned: removed without a look, and without a word.
    debts: Vec<String>,
    suspects: Vec<String>,
    stage: SweepStage,
    removed: Vec<String>,
    state: NodeState,
}

#[derive(Debug)]
enum SweepStage {
    Listing,
    Judging(String),
    Removing(Removal),
}

impl Sweep {
    /// One-shots whose name holds `session` are our own; of these only the `debts` are removed.
    #[must_use]
    pub fn new(session: &str, debts: Vec<String>) -> Self {
        Self {
            session: session.to_owned(),
            debts,
            suspects: Vec::new(),
            stage: SweepStage::Listing,
            removed: Vec::new(),
            state: NodeState::Done,
        }
    }

    fn remove(&mut self, name: String) -> Next {
        let mut removal = Removal::new(name);
        let next = removal.step(Event::Begin);
        self.stage = SweepStage::Removing(removal);
        next
    }

    fn go_on(&mut self) -> Next {
        if let Some(name) = self.debts.pop() {
            return self.remove(name);
        }
        match self.suspects.pop() {
            Some(name) => {
                let request = Request::new("stats", json!({"name": name}));
                self.stage = SweepStage::Judging(name);
                Next::Send(request)
            }
            None if self.removed.is_empty() => Verdict::bare(self.state, "").into(),
            None => {
                let text =
                    format!("removed what an interrupted console left behind: {}", self.removed.join(", "));
                Verdict::bare(self.state, text).into()
            }
        }
    }

    fn judged(&mut self, name: String, reply: &Map<String, Value>) -> Next {
        let leftover = match Progress::of(reply) {
            Progress::Gone => true,
            Progress::Finished { age, .. } => age > FINISHED_AGE,
            Progress::Working { age } => age > OLDEST_AGE,
        };
        if leftover { self.remove(name) } else { self.go_on() }
    }
}

impl Procedure for Sweep {
    fn next(&mut self, _: &Context<'_>, event: Event) -> Next {
        match (&mut self.stage, event) {
            (SweepStage::Listing, Event::Answer(Answer::Ok(reply))) => {
                let ours = format!("-{}-", self.session);
                let names = listed(&reply).into_iter().map(|w| w.name);
                self.suspects = names.filter(|n| is_oneshot(n) && !n.contains(&ours)).collect();
                self.go_on()
            }
            (SweepStage::Judging(name), Event::Answer(Answer::Ok(reply))) => {
                let name = std::mem::take(name);
                self.judged(name, &reply)
            }
            (SweepStage::Listing | SweepStage::Judging(_), Event::Begin | Event::Woken) => {
                Next::Send(Request::new("status", json!({})))
            }
            // Somebody else was faster; or the daemon cannot list, which the operation will find too.
            (SweepStage::Listing | SweepStage::Judging(_), Event::Answer(Answer::Error { .. })) => {
                self.go_on()
            }
            (SweepStage::Removing(removal), event) => match removal.step(event) {
                Next::Finish(verdict) => {
                    let foreign = !removal.name().contains(&format!("-{}-", self.session));
                    if verdict.state != NodeState::Done {
                        self.state = verdict.state;
                    } else if foreign {
                        self.removed.push(removal.name().to_owned());
                    }
                    self.go_on()
                }
                next @ (Next::Send(_) | Next::Probe(_) | Next::Pause(_)) => next,
            },
        }
    }
}

/// The name of a new one-shot.
#[must_use]
pub fn new_name(operation: &str, id: &str) -> String {
    format!("{ONESHOT_PREFIX}{operation}-{id}")
}
