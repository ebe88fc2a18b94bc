//! `logs`: which stream or file is meant. Reading is the host's.
//!
//! A client names a stream or a label; where that leads is the configuration's business alone.

use circus_protocol::command::{LogPart, Logs};
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
        if logs.part == LogPart::Sources {
            let sources = self.sources(watcher).into_iter().map(Value::from).collect();
            let body = Map::from_iter([("sources".to_owned(), Value::Array(sources))]);
            work.reply(reply, ok(Value::Object(body)));
            return Ok(());
        }
        let place = match logs.source.as_str() {
            "stdout" => stream(watcher, Feed::Stdout)?,
            "stderr" => stream(watcher, Feed::Stderr)?,
            label => self.labelled(watcher, label)?,
        };
        let question =
            LogQuestion { watcher: watcher.id, place, part: logs.part.clone(), binary: logs.binary };
        let job = self.new_job(Job::Logs { reply, story: None });
        work.out.push(Effect::ReadLog { job, question: Box::new(question) });
        Ok(())
    }

    /// What can be read of a watcher: captured streams, and its service's log files.
    fn sources(&self, watcher: &Watcher) -> Vec<String> {
        let streams = [Feed::Stdout, Feed::Stderr].into_iter().filter(|feed| stream(watcher, *feed).is_ok());
        let service = self.services.get(watcher.config.name.original());
        let labels = service.into_iter().flat_map(|service| &service.logs).map(|log| log.label.clone());
        streams.map(|feed| feed.name().to_owned()).chain(labels).collect()
    }

    /// A log file that the service of that name declares.
    fn labelled(&self, watcher: &Watcher, label: &str) -> Result<LogPlace, Refusal> {
        let name = watcher.config.name.original();
        let service = self.services.get(name);
        let logs = service.map(|service| service.logs.as_slice()).unwrap_or_default();
        if let Some((service, log)) = service.zip(logs.iter().find(|log| log.label == label)) {
            let names = self.names_of_node();
            let path = names.resolve(&names.variables(service), &log.path.text);
            return path
                .map(LogPlace::File)
                .map_err(|why| Refusal::Message(format!("the log '{label}' of '{name}' is at {why}")));
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
    body.insert(if text.binary { "base64" } else { "text" }.to_owned(), text.text.into());
    body.insert("offset".to_owned(), text.offset.into());
    body.insert("next_offset".to_owned(), text.next_offset.into());
    body.insert("eof".to_owned(), text.eof.into());
    body.insert("generation".to_owned(), text.generation.map_or(Value::Null, Value::from));
    body.insert("zone".to_owned(), text.zone.into());
    ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use circus_protocol::command::Command;
    use serde_json::json;

    use super::*;
    use crate::arbiter::input::Input;
    use crate::arbiter::tests::play::{Play, body, described, of};
    use crate::config::Config;

    const PROFILE: &str = "[profile:mine]\nlog.gc = logs/gc-${address}.log\nexit.3 = it could not join its cluster\n\
                           [service:db]\nuse = mine\nhome = /srv/db\n\
                           [service:cas]\nuse = cassandra-4.1\nhome = /opt/cas\n";

    fn node(endpoint: &str) -> Play {
        let mut play = Play::idle(Vec::new());
        let services = Arc::new(described(PROFILE));
        let mut config = Config { watchers: vec![of("db", 1), of("cas", 1)], services, ..Config::default() };
        config.circus.endpoint = endpoint.to_owned();
        play.files = Ok(config);
        play.start_up();
        play
    }

    fn place(play: &mut Play, name: &str, source: &str) -> Option<LogPlace> {
        let part = LogPart::Last { lines: 1 };
        let logs = Logs { name: name.to_owned(), source: source.to_owned(), part, binary: false };
        let effects =
            play.arbiter.step(play.now, Input::Command { command: Command::Logs(logs), reply: None });
        effects.into_iter().find_map(|effect| match effect {
            Effect::ReadLog { question, .. } => Some(question.place),
            other => {
                drop(other);
                None
            }
        })
    }

    #[test]
    fn a_profile_says_where_logs_are() {
        let mut play = node("tcp://127.0.0.9:5555");
        assert_eq!(
            place(&mut play, "db", "gc"),
            Some(LogPlace::File("/srv/db/logs/gc-127.0.0.9.log".to_owned()))
        );
        assert_eq!(place(&mut play, "db", "logs/gc"), None);
        assert_eq!(
            place(&mut play, "cas", "system"),
            Some(LogPlace::File("/opt/cas/logs/system.log".to_owned()))
        );
        let mut nobody = node("tcp://0.0.0.0:5555");
        let service = &nobody.arbiter.services.services[0];
        let watcher = nobody.arbiter.get(&service.name).unwrap();
        let refused = nobody.arbiter.labelled(watcher, "gc").unwrap_err().to_string();
        assert!(refused.contains("gc-${address}.log") && refused.contains("send `configure`"), "{refused}");
        assert_eq!(place(&mut nobody, "db", "gc"), None);
    }

    #[test]
    fn sources_are_told_without_reading_any() {
        let mut play = node("tcp://127.0.0.9:5555");
        let (name, source) = ("db".to_owned(), "stdout".to_owned());
        let logs = Logs { name, source, part: LogPart::Sources, binary: false };
        let asked = play.ask(Command::Logs(logs));
        assert_eq!(body(&play.replies[&asked])["sources"], json!(["gc"]));
    }

    #[test]
    fn a_profile_says_what_codes_mean() {
        let mut play = node("tcp://127.0.0.9:5555");
        play.die(101, 3);
        let asked = play.ask(Command::Why { name: "db".to_owned() });
        let told = body(&play.replies[&asked]);
        assert_eq!(told["crash"]["exit_code"], json!(3));
        let story = told["story"].as_str().unwrap();
        assert!(story.contains("it ended with status 3: it could not join its cluster."), "{story}");
    }
}
