//! What a node has and runs, and what is said of its services: `{"watchers": {NAME: STATE}, "services":
//! {NAME: sequence}}`.
//!
//! ```text
//!  native  hello ─► status ─► verdict
//!  stock   status ─► verdict       (its services are in the console's own file)
//! ```

use std::sync::Arc;

use circus_protocol::service::Sequence;
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::names::{is_helper, listed};
use crate::cluster::plan::ServicesFile;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused};
use crate::outcome::NodeState;

/// The steps.
#[derive(Debug)]
pub struct Survey {
    services: Option<Arc<ServicesFile>>,
    /// What the node said of its services, once it has.
    told: Option<Value>,
}

impl Survey {
    /// A stock node's services are in the console's own file.
    #[must_use]
    pub fn new(services: Option<Arc<ServicesFile>>) -> Self {
        Self { services, told: None }
    }

    fn described(&self) -> Value {
        let files = self.services.iter().map(|file| &file.services);
        files
            .flat_map(|all| all.services.iter().map(move |one| Sequence::of(one, &all.lists)))
            .map(|sequence| (sequence.service.clone(), sequence.to_json()))
            .collect()
    }
}

impl Procedure for Survey {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        let asked = if self.told.is_some() { "status" } else { "hello" };
        let status = || Next::Send(Request::new("status", json!({})));
        match event {
            Event::Begin | Event::Woken if context.daemon.can("hello") => {
                Next::Send(Request::new("hello", json!({})))
            }
            Event::Begin | Event::Woken => {
                self.told = Some(self.described());
                status()
            }
            Event::Answer(Answer::Error { errno, reason }) => refused(asked, errno, &reason).into(),
            Event::Answer(Answer::Ok(mut reply)) => match self.told.take() {
                None => {
                    self.told = Some(reply.remove("services").unwrap_or_else(|| json!({})));
                    status()
                }
                Some(services) => {
                    let watchers = listed(&reply).into_iter().filter(|watcher| !is_helper(&watcher.name));
                    let watchers: Map<String, Value> =
                        watchers.map(|watcher| (watcher.name, watcher.state.into())).collect();
                    Verdict::with(NodeState::Done, "", json!({"watchers": watchers, "services": services}))
                        .into()
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::node::Daemon;

    fn answer(value: Value) -> Event {
        Event::Answer(Answer::Ok(value.as_object().expect("an object").clone()))
    }

    #[test]
    fn tells_watchers_and_services() {
        let hello = json!({"version": "1", "extensions": ["hello"], "services": {"db": {}}});
        let daemon = Daemon::from_hello(hello.as_object().expect("an object"));
        let states = json!({"statuses": {"db": "active", "plugin:x": "active"}});
        for (daemon, services) in [(&daemon, json!({"db": {}})), (&Daemon::Stock, json!({}))] {
            let context = Context { daemon, now: Duration::ZERO };
            let mut survey = Survey::new(None);
            let mut next = survey.next(&context, Event::Begin);
            if daemon.can("hello") {
                next = survey.next(&context, answer(hello.clone()));
            }
            assert!(matches!(&next, Next::Send(request) if request.command == "status"), "{next:?}");
            let Next::Finish(verdict) = survey.next(&context, answer(states.clone())) else {
                panic!("no end")
            };
            assert_eq!(verdict.data, json!({"watchers": {"db": "active"}, "services": services}));
        }
    }
}
