//! Python's side of hooks: one long-lived interpreter, started when the first hook needs it.
//!
//! ```text
//!  Question ──► manager ──► interpreter ──line──► python3 ──line──► interpreter ──► Answer
//!                   │            │ a call took too long, or the process ended
//!                   └── another ◄┘ the old one gets no further calls, and ends with its last
//! ```
//!
//! An interpreter in which a call hangs cannot be trusted with more, but others may be at work in it:
//! it takes no new calls, and is killed when those have ended. It refuses to know what a hook is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use circus_protocol::number::Signal;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use crate::arbiter::effect::Reach;
use crate::arbiter::id::Key;
use crate::arbiter::input::Input;
use crate::host::clock;
use crate::host::hook::{order, spec};
use crate::host::warden::{NEWS, Order};

/// What runs in the interpreter.
const SCRIPT: &str = include_str!("runner.py");

/// Names the interpreter; otherwise it is looked up in PATH.
const PYTHON: &str = "CIRCUSD_RS_PYTHON";

/// Calls that may wait for the interpreter; a watcher has one at a time.
const CALLS: usize = 4096;

/// The longest line from the interpreter.
const LINE: u64 = 4 << 20;

/// Said to those whose interpreter ended under them.
pub(super) const ENDED: &str = "the Python process of the hooks ended before it answered";

/// Something for Python to do.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) request: Map<String, Value>,
    pub(crate) limit: Duration,
    pub(crate) answer: oneshot::Sender<Result<Answer, String>>,
}

/// What it said.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) truth: bool,
    pub(crate) stats: Option<Map<String, Value>>,
}

/// Start the manager; it has no process yet.
pub(crate) fn start(orders: mpsc::WeakSender<Order>, handle: &Handle) -> mpsc::Sender<Question> {
    let (sender, questions) = mpsc::channel(CALLS);
    handle.spawn(manage(questions, orders));
    sender
}

async fn manage(mut questions: mpsc::Receiver<Question>, orders: mpsc::WeakSender<Order>) {
    let mut current: Option<mpsc::Sender<Question>> = None;
    let mut count: u64 = 0;
    while let Some(mut question) = questions.recv().await {
        if let Some(interpreter) = &current {
            match interpreter.try_send(question) {
                Ok(()) => continue,
                Err(mpsc::error::TrySendError::Full(refused)) => {
                    let _nobody_waits = refused.answer.send(Err("too many Python hooks wait".to_owned()));
                    continue;
                }
                Err(mpsc::error::TrySendError::Closed(refused)) => question = refused,
            }
        }
        count += 1;
        // The even ones of the far end.
        match Interpreter::start(Key(u64::MAX - 2 * count - 1), orders.clone()).await {
            Ok(interpreter) => {
                let (sender, receiver) = mpsc::channel(CALLS);
                let _there_is_room = sender.try_send(question);
                tokio::spawn(interpreter.run(receiver));
                current = Some(sender);
            }
            Err(error) => {
                let _nobody_waits = question.answer.send(Err(error));
            }
        }
    }
}

/// One call under way.
struct Call {
    late: Instant,
    limit: Duration,
    answer: oneshot::Sender<Result<Answer, String>>,
}

/// One process, and who waits for it.
struct Interpreter {
    key: Key,
    orders: mpsc::WeakSender<Order>,
    news: mpsc::Receiver<Input>,
    to: mpsc::Sender<Vec<u8>>,
    from: mpsc::Receiver<Vec<u8>>,
    calls: BTreeMap<u64, Call>,
    last: u64,
}

impl Interpreter {
    async fn start(key: Key, orders: mpsc::WeakSender<Order>) -> Result<Self, String> {
        let pipes = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| format!("pipe: {errno}"));
        let ((stdin, to), (from, stdout)) = (pipes()?, pipes()?);
        let (news_sender, news) = mpsc::channel(NEWS);
        let env: Vec<(String, String)> = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        let python = env.iter().find(|(name, value)| name == PYTHON && !value.is_empty());
        let python = python.map_or_else(|| "python3".to_owned(), |(_, path)| path.clone());
        let argv = vec![python, "-u".to_owned(), "-c".to_owned(), SCRIPT.to_owned()];
        let order = Order::Aid {
            key,
            spec: spec(argv, env, "/".to_owned()),
            pipes: [Some(stdin), Some(stdout), None],
            news: news_sender,
        };
        self::order(&orders, order).await?;
        let system = |error: io::Error| error.to_string();
        let to = writer(to).map_err(system)?;
        let from = reader(from).map_err(system)?;
        Ok(Self { key, orders, news, to, from, calls: BTreeMap::new(), last: 0 })
    }

    async fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        let mut open = true;
        let reason = loop {
            if !open && self.calls.is_empty() {
                break ENDED.to_owned();
            }
            let late = self.calls.values().map(|call| call.late).min();
            select! {
                question = questions.recv(), if open => match question {
                    Some(question) => self.ask(question),
                    None => open = false,
                },
                line = self.from.recv() => match line {
                    Some(line) => self.answer(&line),
                    None => break self.epitaph().await,
                },
                () = sleep_until(late.unwrap_or_else(clock::monotonic).into()), if late.is_some() => {
                    self.expire();
                    questions.close();
                }
            }
        };
        questions.close();
        let kill = Order::Signal { key: self.key, signal: Signal::KILL, reach: Reach::Tree };
        let _the_daemon_ends = order(&self.orders, kill).await;
        while let Some(question) = questions.recv().await {
            let _nobody_waits = question.answer.send(Err(reason.clone()));
        }
        for call in std::mem::take(&mut self.calls).into_values() {
            let _nobody_waits = call.answer.send(Err(reason.clone()));
        }
    }

    fn ask(&mut self, question: Question) {
        let Question { mut request, limit, answer } = question;
        self.last += 1;
        request.insert("id".to_owned(), Value::from(self.last));
        let line = format!("{}\n", Value::Object(request));
        if self.to.try_send(line.into_bytes()).is_err() {
            let _nobody_waits = answer.send(Err("the Python process of the hooks takes no calls".to_owned()));
            return;
        }
        let late = clock::monotonic() + limit;
        self.calls.insert(self.last, Call { late, limit, answer });
    }

    fn answer(&mut self, line: &[u8]) {
        let told: Value = serde_json::from_slice(line).unwrap_or_default();
        let call = told.get("id").and_then(Value::as_u64).and_then(|id| self.calls.remove(&id));
        let Some(Call { answer, .. }) = call else { return };
        let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
        let result = match text("error") {
            Some(error) => {
                let traceback = text("traceback").unwrap_or_default();
                tracing::warn!("{}", traceback.trim_end());
                Err(error)
            }
            None => {
                let truth = told.get("truth").and_then(Value::as_bool).unwrap_or_default();
                Ok(Answer { truth, stats: told.get("stats").and_then(Value::as_object).cloned() })
            }
        };
        let _nobody_waits = answer.send(result);
    }

    fn expire(&mut self) {
        let now = clock::monotonic();
        let late: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.late <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(Call { limit, answer, .. }) = self.calls.remove(&id) {
                let _nobody_waits = answer.send(Err(format!("took longer than {} s", limit.as_secs_f64())));
            }
        }
    }

    /// Why nothing comes from it any more.
    async fn epitaph(&mut self) -> String {
        while let Some(news) = self.news.recv().await {
            match news {
                Input::SpawnFailed { error, .. } => {
                    return format!(
                        "a Python hook needs Python, which cannot be started: {error}; install python3, \
                         name an interpreter in {PYTHON}, or use a program (exec:/path)"
                    );
                }
                Input::Exited { exit_code, .. } => {
                    let code = exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                    return format!("{ENDED} (exit code {code})");
                }
                _runs => {}
            }
        }
        ENDED.to_owned()
    }
}

fn writer(pipe: OwnedFd) -> io::Result<mpsc::Sender<Vec<u8>>> {
    let mut pipe = pipe::Sender::from_owned_fd(pipe)?;
    let (sender, mut lines) = mpsc::channel::<Vec<u8>>(CALLS);
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if pipe.write_all(&line).await.is_err() {
                return;
            }
        }
    });
    Ok(sender)
}

fn reader(pipe: OwnedFd) -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let mut pipe = BufReader::new(pipe::Receiver::from_owned_fd(pipe)?);
    let (sender, lines) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let mut line = Vec::new();
            let read = (&mut pipe).take(LINE).read_until(b'\n', &mut line).await;
            let whole = read.is_ok() && line.last() == Some(&b'\n');
            if !whole || sender.send(line).await.is_err() {
                return;
            }
        }
    });
    Ok(lines)
}
