//! `why` and `logs`: one question that only a circusd-rs can answer.
//!
//! Stock keeps neither stories nor output, so there it is refused, with the remedy.

use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused_by_rs};
use crate::outcome::{LogPlace, LogsRequest, NodeState};

/// One question to a node that knows it.
#[derive(Debug)]
pub struct Native {
    request: Request,
}

impl Native {
    /// A watcher's story.
    #[must_use]
    pub fn why(name: &str) -> Self {
        Self { request: Request::new("why", json!({ "name": name })) }
    }

    /// What it printed: the last lines, or from this place on.
    #[must_use]
    pub fn logs(logs: &LogsRequest, place: Option<&LogPlace>) -> Self {
        let mut properties = Map::from_iter([
            ("name".to_owned(), json!(logs.name)),
            ("source".to_owned(), json!(logs.source)),
        ]);
        match place {
            None => {
                properties.insert("lines".to_owned(), json!(logs.lines));
            }
            Some(LogPlace { offset, generation }) => {
                properties.insert("offset".to_owned(), json!(offset));
                properties.extend(generation.iter().map(|word| ("generation".to_owned(), json!(word))));
            }
        }
        Self { request: Request::new("logs", Value::Object(properties)) }
    }
}

impl Procedure for Native {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        let command = self.request.command.as_str();
        match event {
            Event::Begin | Event::Woken if context.daemon.can(command) => Next::Send(self.request.clone()),
            Event::Begin | Event::Woken => {
                let reason = format!("{command} needs circusd-rs; this is {}", context.daemon.describe());
                Verdict::bare(NodeState::Refused, reason).into()
            }
            Event::Answer(Answer::Ok(mut reply)) => {
                for envelope in ["id", "time", "status"] {
                    reply.shift_remove(envelope);
                }
                Verdict::with(NodeState::Done, "", Value::Object(reply)).into()
            }
            Event::Answer(Answer::Error { errno, reason }) => refused_by_rs(command, errno, &reason).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::node::Daemon;

    fn play(mut native: Native, daemon: &Daemon, answer: Answer) -> (Option<Value>, Verdict) {
        let context = Context { daemon, now: Duration::ZERO };
        let asked = match native.next(&context, Event::Begin) {
            Next::Send(request) => request.properties,
            Next::Finish(verdict) => return (None, verdict),
            next @ Next::Pause(_) => panic!("{next:?}"),
        };
        match native.next(&context, Event::Answer(answer)) {
            Next::Finish(verdict) => (Some(asked), verdict),
            next @ (Next::Send(_) | Next::Pause(_)) => panic!("{next:?}"),
        }
    }

    fn answer(value: Value) -> Answer {
        Answer::Ok(value.as_object().expect("an object").clone())
    }

    fn native() -> Daemon {
        let hello = json!({"version": "1", "extensions": ["why", "logs"]});
        Daemon::from_hello(hello.as_object().expect("an object").clone())
    }

    #[test]
    fn a_story_comes_without_its_envelope() {
        let told = json!({"id": "1", "status": "ok", "time": 1.0, "story": "web is active"});
        let (asked, verdict) = play(Native::why("web"), &native(), answer(told));
        assert_eq!(asked, Some(json!({"name": "web"})));
        assert_eq!((verdict.state, verdict.data), (NodeState::Done, json!({"story": "web is active"})));
    }

    #[test]
    fn a_log_is_read_on_where_it_was_left() {
        let logs =
            LogsRequest { name: "web".into(), source: "gc".into(), lines: 7, ..LogsRequest::default() };
        let text = || answer(json!({"status": "ok", "text": "x\n"}));
        let (asked, _) = play(Native::logs(&logs, None), &native(), text());
        assert_eq!(asked, Some(json!({"name": "web", "source": "gc", "lines": 7})));
        let place = LogPlace { offset: 9, generation: Some("5".into()) };
        let (asked, verdict) = play(Native::logs(&logs, Some(&place)), &native(), text());
        assert_eq!(asked, Some(json!({"name": "web", "source": "gc", "offset": 9, "generation": "5"})));
        assert_eq!(verdict.data, json!({"text": "x\n"}));
    }

    #[test]
    fn stock_is_refused_and_so_is_an_unknown_log() {
        let no = || Answer::Error { errno: 3, reason: "'web' has no log 'gc'; it has stdout".into() };
        let (asked, verdict) = play(Native::why("web"), &Daemon::Stock, no());
        assert_eq!((asked, verdict.state), (None, NodeState::Refused));
        assert_eq!(verdict.reason, "why needs circusd-rs; this is circusd");
        let (_, verdict) = play(Native::logs(&LogsRequest::default(), None), &native(), no());
        assert_eq!(
            (verdict.state, verdict.reason.as_str()),
            (NodeState::Refused, "logs: 'web' has no log 'gc'; it has stdout")
        );
    }
}
