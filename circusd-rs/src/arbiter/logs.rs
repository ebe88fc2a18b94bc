//! `logs`: which stream or file is meant. Reading is the host's.
//!
//! A client names a stream or a label; where that leads is the configuration's business alone.

use circus_protocol::command::Logs;
use circus_protocol::reply::{Refusal, Reply};
use serde_json::{Map, Value};

use crate::arbiter::command::ok;
use crate::arbiter::deliver::Job;
use crate::arbiter::effect::{Effect, Feed, LogPlace, LogQuestion};
use crate::arbiter::id::{JobId, ReplyTo};
use crate::arbiter::input::LogText;
use crate::arbiter::watcher::Watcher;
use crate::arbiter::{Arbiter, Work};

impl Arbiter {
    pub(super) fn logs(
        &mut self,
        logs: &Logs,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let watcher = self.get(&logs.name)?;
        let place = match logs.source.as_str() {
            "stdout" => stream(watcher, Feed::Stdout)?,
            "stderr" => stream(watcher, Feed::Stderr)?,
            label => self.labelled(watcher, label)?,
        };
        let question = LogQuestion { watcher: watcher.id, place, part: logs.part.clone() };
        let job = self.new_job(Job::Logs { reply, story: None });
        work.out.push(Effect::ReadLog { job, question: Box::new(question) });
        Ok(())
    }

    /// A log file that the service of that name declares.
    fn labelled(&self, watcher: &Watcher, label: &str) -> Result<LogPlace, Refusal> {
        let name = watcher.config.name.original();
        let service = self.services.get(name);
        let logs = service.map(|service| service.logs.as_slice()).unwrap_or_default();
        if let Some((service, log)) = service.zip(logs.iter().find(|log| log.label == label)) {
            let variables = self.services.variables_of(service, self.membership.as_ref());
            return match variables.substitute(&log.path.text) {
                Ok(path) => Ok(LogPlace::File(path)),
                Err(_) => Err(Refusal::Message(format!(
                    "the log '{label}' of '{name}' is at {:?}, which needs a `configure` first",
                    log.path.text
                ))),
            };
        }
        let known: Vec<&str> =
            ["stdout", "stderr"].into_iter().chain(logs.iter().map(|log| log.label.as_str())).collect();
        Err(Refusal::Message(format!("'{name}' has no log '{label}'; it has {}", known.join(", "))))
    }

    pub(super) fn log_read(&mut self, job: JobId, result: Result<Box<LogText>, String>, work: &mut Work) {
        let Some(Job::Logs { reply, story: None }) = self.jobs.remove(&job) else {
            debug_assert!(false, "job {job:?} reads no log");
            return;
        };
        match result {
            Ok(text) => work.reply(reply, answer(*text)),
            Err(problem) => work.refuse(reply, Refusal::Server(problem)),
        }
    }
}

/// Only what goes through our hands can be read again.
fn stream(watcher: &Watcher, feed: Feed) -> Result<LogPlace, Refusal> {
    let config = &watcher.config;
    let (closed, stream) = match feed {
        Feed::Stdout => (config.close_child_stdout, &config.stdout_stream),
        Feed::Stderr => (config.close_child_stderr, &config.stderr_stream),
    };
    let (name, feed_name) = (config.name.original(), feed.name());
    if closed {
        let text = format!("{feed_name} of '{name}' is closed (close_child_{feed_name})");
        return Err(Refusal::Message(text));
    }
    match stream {
        Some(stream) => Ok(LogPlace::Stream(feed, Box::new(stream.clone().named(name)))),
        None => Err(Refusal::Message(format!(
            "{feed_name} of '{name}' is not captured; give it {feed_name}_stream.class = QueueStream, or a file"
        ))),
    }
}

fn answer(text: LogText) -> Reply {
    let mut body = Map::new();
    body.insert("text".to_owned(), text.text.into());
    body.insert("offset".to_owned(), text.offset.into());
    body.insert("next_offset".to_owned(), text.next_offset.into());
    body.insert("eof".to_owned(), text.eof.into());
    body.insert("generation".to_owned(), text.generation.map_or(Value::Null, Value::from));
    ok(Value::Object(body))
}
