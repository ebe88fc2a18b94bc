//! Probes: each question under way is a task of its own, which ends in time whatever is asked.
//!
//! ```text
//!  Runner ──Probe──► Probes ──► one task ─┬─ tcp, http ── a connection
//!                      │                  ├─ exec ─────── a program of the warden's
//!                      │                  └─ log ──────── the watcher's book, a task of its own
//!                      └─ prepare: what comes before a start, then Spawn
//! ```
//!
//! A task that is cancelled or late is dropped, and with it its connection; a program it started is
//! killed with its whole group. Tasks share nothing but two counts of places, so that no more than so
//! many run at once; who gets no place in time says so. It refuses to know what an answer means.

pub(super) mod exec;
mod log;
mod prepare;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::service::Login;
use circus_protocol::service::preflight::Look;
use circus_protocol::transport::http;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::arbiter::effect::SpawnSpec;
use crate::arbiter::id::{JobId, Key, WatcherId};
use crate::arbiter::input::Input;
use crate::arbiter::question::{ProbeCall, Question};
use crate::host::preflight;
use crate::host::warden::Order;
use exec::Program;
use log::Book;

/// Connections at once, over all watchers.
const CONNECTIONS: usize = 256;

/// Programs at once: they may be whole Java machines.
const PROGRAMS: usize = 8;

/// How much of an answer's body is looked at.
const MOST_BODY: usize = 256 * 1024;

/// The longest reason; the rest of what somebody said is of no help.
const MOST_REASON: usize = 300;

/// How long what comes before a start may take; a disk that does not answer shall not keep it.
const PREPARATION: Duration = Duration::from_secs(5);

/// The host's end of all probes.
#[derive(Debug)]
pub(crate) struct Probes {
    inputs: mpsc::Sender<Input>,
    orders: mpsc::WeakSender<Order>,
    handle: Handle,
    /// The question under way of each watcher, and what ends it.
    asked: HashMap<WatcherId, (u64, AbortHandle)>,
    /// Where each watcher's log files were at its start.
    books: HashMap<WatcherId, Book>,
    places: Places,
    programs: u64,
}

/// How many may run at once.
#[derive(Debug, Clone)]
struct Places {
    connections: Arc<Semaphore>,
    programs: Arc<Semaphore>,
}

impl Probes {
    /// Nothing runs until the first question.
    pub(crate) fn new(inputs: mpsc::Sender<Input>, orders: &mpsc::Sender<Order>, handle: Handle) -> Self {
        let places = Places {
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            programs: Arc::new(Semaphore::new(PROGRAMS)),
        };
        let (asked, books, orders) = (HashMap::new(), HashMap::new(), orders.downgrade());
        Self { inputs, orders, handle, asked, books, places, programs: 0 }
    }

    /// Begins to ask; `Probed` follows unless it is cancelled.
    pub(crate) fn ask(&mut self, watcher: WatcherId, attempt: u64, call: ProbeCall) {
        let asks = |question: &Question| matches!(question, Question::Exec { .. });
        let key = self.programs;
        self.programs += u64::try_from(call.questions.iter().filter(|q| asks(q)).count()).unwrap_or(0);
        let round = Round {
            book: self.book(watcher),
            orders: self.orders.clone(),
            places: self.places.clone(),
            next: key,
        };
        let inputs = self.inputs.clone();
        let task = self.handle.spawn(async move {
            let limit = call.limit;
            let result = match timeout(limit, round.all(&call)).await {
                Ok(result) => result.map_err(|reason| shortened(&reason)),
                Err(_late) => Err(format!("no answer within {} s", limit.as_secs_f64())),
            };
            let _the_loop_left = inputs.send(Input::Probed { watcher, attempt, result }).await;
        });
        // One that is still under way was cancelled before, or its answer is on the way.
        self.asked.insert(watcher, (attempt, task.abort_handle()));
    }

    /// Ends a question; what was started for it is killed.
    pub(crate) fn cancel(&mut self, watcher: WatcherId, attempt: u64) {
        if let Some((_, task)) = self.asked.get(&watcher).filter(|(asked, _)| *asked == attempt) {
            task.abort();
            self.asked.remove(&watcher);
        }
    }

    /// Looks at what a start would meet, one service after the other; `Preflighted` follows.
    pub(crate) fn examine(&mut self, job: JobId, looks: Vec<Look>) {
        let (inputs, orders, places) = (self.inputs.clone(), self.orders.clone(), self.places.clone());
        let first = self.programs;
        self.programs += u64::try_from(looks.len()).unwrap_or(0);
        self.handle.spawn(async move {
            let mut facts = Vec::new();
            for (look, number) in looks.into_iter().zip(first + 1..) {
                let _place = place(&places.programs).await;
                facts.push(preflight::look(look, Program { number, orders: orders.clone() }).await);
            }
            let _the_loop_left = inputs.send(Input::Preflighted { job, facts }).await;
        });
    }

    /// Does what comes before a start, then starts.
    pub(crate) fn prepare(&mut self, key: Key, spec: Arc<SpawnSpec>) {
        let (book, orders, inputs) = (self.book(spec.watcher_id), self.orders.clone(), self.inputs.clone());
        self.handle.spawn(async move {
            if let Some(preparation) = spec.preparation.clone()
                && timeout(PREPARATION, prepare::prepare(&spec.watcher, preparation, &book)).await.is_err()
            {
                tracing::warn!("{}: what comes before its start takes too long; starting it", spec.watcher);
            }
            let ordered = crate::host::hook::order(&orders, Order::Spawn { key, spec }).await;
            if let Err(error) = ordered {
                let _the_loop_left = inputs.send(Input::SpawnFailed { key, error, transient: false }).await;
            }
        });
    }

    fn book(&mut self, watcher: WatcherId) -> Book {
        self.books.entry(watcher).or_insert_with(|| Book::open(&self.handle)).clone()
    }
}

/// One question's tools.
struct Round {
    book: Book,
    orders: mpsc::WeakSender<Order>,
    places: Places,
    /// The number of its next program.
    next: u64,
}

impl Round {
    async fn all(mut self, call: &ProbeCall) -> Result<(), String> {
        for question in &call.questions {
            self.one(question, call).await?;
        }
        Ok(())
    }

    async fn one(&mut self, question: &Question, call: &ProbeCall) -> Result<(), String> {
        match question {
            Question::Tcp(address) => {
                let _place = place(&self.places.connections).await?;
                match TcpStream::connect(address.as_str()).await {
                    Ok(_stream) => Ok(()),
                    Err(error) => Err(format!("tcp {address}: {error}")),
                }
            }
            Question::Http { url, status, body, login } => {
                let _place = place(&self.places.connections).await?;
                let reason = |reason: String| format!("http {url}: {reason}");
                fetch(url, status, body.as_deref(), login.as_ref()).await.map_err(reason)
            }
            Question::Exec { argv, exit_codes, output } => {
                let _place = place(&self.places.programs).await?;
                self.next += 1;
                let program = Program { number: self.next, orders: self.orders.clone() };
                let said = program.run(argv.clone(), call).await;
                let shown = argv.first().map(String::as_str).unwrap_or_default();
                said.and_then(|end| end.judge(exit_codes, output.as_deref()))
                    .map_err(|reason| format!("exec {shown}: {reason}"))
            }
            Question::Log { file, pattern } => {
                let reason = |reason: String| format!("log {}: {reason}", file.display());
                self.book.search(file.clone(), pattern.clone()).await.map_err(reason)
            }
        }
    }
}

/// A place, which is given back when it is dropped. Waiting for one is within the question's limit.
async fn place(places: &Arc<Semaphore>) -> Result<tokio::sync::SemaphorePermit<'_>, String> {
    places.acquire().await.map_err(|_| "the daemon ends".to_owned())
}

async fn fetch(url: &str, good: &[u16], wanted: Option<&str>, login: Option<&Login>) -> Result<(), String> {
    let authorization = match login {
        Some(login) => Some(authorization(login.clone()).await?),
        None => None,
    };
    let answer = http::fetch(url, authorization.as_deref(), MOST_BODY).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if !good.contains(&answer.status) {
        return Err(format!("status {}", answer.status));
    }
    let Some(pattern) = wanted else { return Ok(()) };
    let body = String::from_utf8_lossy(&answer.body);
    if matches(pattern, body.trim())? { Ok(()) } else { Err(format!("the body is {:?}", first_line(&body))) }
}

async fn authorization(login: Login) -> Result<String, String> {
    let path = login.password_file.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text = read.map_err(|error| error.to_string())?;
    let text = text.map_err(|error| format!("password_file {}: {error}", login.password_file))?;
    let password = text.lines().next().unwrap_or_default();
    Ok(http::basic(&login.user, password))
}

/// Whether a text of several lines matches; the file's reader has tried the pattern.
fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let regex = regex_lite::RegexBuilder::new(pattern).multi_line(true).build();
    Ok(regex.map_err(|error| format!("{pattern:?}: {error}"))?.is_match(text))
}

fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    shortened(line)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_REASON) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
