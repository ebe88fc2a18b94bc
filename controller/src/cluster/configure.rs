//! `configure` on one node: by its own command, by the old plugin's, or by a one-shot.
//!
//! ```text
//!  circusd-rs:  configure ─► verdict
//!  stock:       configure (old form) ─► verdict
//!                  └ unknown command ─► status ─► one-shot ─► restart of those that want it ─► verdict
//! ```
//!
//! A dry run never sends the old form, because that would write.

use std::collections::VecDeque;
use std::sync::Arc;

use circus_protocol::service::{
    Membership, RenderError, RenderedFile, TemplateText, WhileRunning, plan_configure,
};
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request, UNKNOWN_COMMAND};
use crate::cluster::names::{Listed, listed};
use crate::cluster::node::Daemon;
use crate::cluster::oneshot::{OneShot, Step};
use crate::cluster::plan::ServicesFile;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused, refused_by_rs};
use crate::outcome::{ConfigureRequest, NodeState};

/// The program that writes files on a stock node.
const PROGRAM: &str = include_str!("oneshot/configure.py");

/// Why a stock node cannot be configured, and what to do.
const NO_SERVICES: &str = "a stock circusd without a configure command: name the services with --services FILE \
                           (the sections of a circusd-rs node) and the console renders for it";

/// What `configure` tells a node about its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub identifier: u32,
    /// Its own address.
    pub address: String,
    /// All addresses.
    pub cluster: Vec<String>,
}

impl Place {
    /// The same for the planner. A stock node's host name cannot be known from here, so its address
    /// stands for it.
    #[must_use]
    pub fn membership(&self, request: &ConfigureRequest) -> Membership {
        Membership {
            identifier: self.identifier,
            address: self.address.clone(),
            cluster: self.cluster.clone(),
            is_master: self.identifier == 1,
            hostname: self.address.clone(),
            fresh: request.fresh,
            joining: request.joining,
            variables: request.variables.clone(),
        }
    }
}

/// The steps.
#[derive(Debug)]
pub struct Configure {
    place: Place,
    request: ConfigureRequest,
    services: Option<Arc<ServicesFile>>,
    oneshot: String,
    stage: Stage,
    added: bool,
}

#[derive(Debug)]
enum Stage {
    Begun,
    Native,
    OldForm,
    Listing,
    Shot(OneShot),
    Restarting { queue: VecDeque<Request>, verdict: Verdict },
}

impl Configure {
    /// `oneshot` is the name of the watcher that may be needed.
    #[must_use]
    pub fn new(
        place: Place,
        request: ConfigureRequest,
        services: Option<Arc<ServicesFile>>,
        oneshot: String,
    ) -> Self {
        Self { place, request, services, oneshot, stage: Stage::Begun, added: false }
    }

    fn begin(&mut self, daemon: &Daemon) -> Next {
        match daemon {
            Daemon::Rs { .. } if daemon.can("configure") => {
                self.stage = Stage::Native;
                Next::Send(Request::new("configure", self.native()))
            }
            Daemon::Rs { version, .. } => {
                let text = format!("circusd-rs {version} does not offer configure");
                Verdict::bare(NodeState::Refused, text).into()
            }
            Daemon::Stock if self.request.dry_run => self.list(),
            Daemon::Stock => {
                self.stage = Stage::OldForm;
                Next::Send(Request::new("configure", self.old_form()))
            }
        }
    }

    /// Exactly what the first console sent.
    fn old_form(&self) -> Value {
        let Place { identifier, address, cluster } = &self.place;
        json!({"identifier": identifier, "address": address, "cluster": cluster, "isMaster": *identifier == 1})
    }

    fn native(&self) -> Value {
        let mut properties = self.old_form();
        let Some(map) = properties.as_object_mut() else { return properties };
        let ConfigureRequest { services, variables, fresh, joining, dry_run } = &self.request;
        if !services.is_empty() {
            map.insert("services".to_owned(), json!(services));
        }
        if !variables.is_empty() {
            let variables: Map<String, Value> =
                variables.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
            map.insert("variables".to_owned(), Value::Object(variables));
        }
        for (name, value) in [("fresh", fresh), ("joining", joining), ("dry_run", dry_run)] {
            if *value {
                map.insert(name.to_owned(), json!(true));
            }
        }
        properties
    }

    fn list(&mut self) -> Next {
        if self.services.is_none() {
            return Verdict::bare(NodeState::Refused, NO_SERVICES).into();
        }
        self.stage = Stage::Listing;
        Next::Send(Request::new("status", json!({})))
    }

    /// Renders, and hands the files to a one-shot.
    fn shoot(&mut self, all: &[Listed]) -> Next {
        let Some(file) = &self.services else { return Verdict::bare(NodeState::Refused, NO_SERVICES).into() };
        let files = match rendered(file, &self.place.membership(&self.request), &self.request.services) {
            Ok(files) => files,
            Err(problems) => return Verdict::bare(NodeState::Refused, problems.join("; ")).into(),
        };
        let rows: Vec<Value> = files.iter().map(|f| row(file, f, all)).collect();
        let payload = json!({"files": rows, "dry_run": self.request.dry_run});
        match OneShot::launch(self.oneshot.clone(), PROGRAM, &payload) {
            Ok((shot, next)) => {
                (self.added, self.stage) = (true, Stage::Shot(shot));
                next
            }
            Err(verdict) => verdict.into(),
        }
    }

    fn shot(&mut self, result: &Map<String, Value>) -> Next {
        if let Some(verdict) = failure(result) {
            return verdict.into();
        }
        let verdict = done(result, Some(json!(self.stale(result))));
        let mut queue = VecDeque::new();
        if !self.request.dry_run {
            for name in self.restarts(result) {
                let properties = json!({"name": name, "match": "simple", "waiting": true});
                queue.push_back(Request::new("stop", properties.clone()));
                queue.push_back(Request::new("start", properties));
            }
        }
        self.restart(queue, verdict)
    }

    fn restart(&mut self, mut queue: VecDeque<Request>, verdict: Verdict) -> Next {
        match queue.pop_front() {
            Some(request) => {
                self.stage = Stage::Restarting { queue, verdict };
                Next::Send(request)
            }
            None => verdict.into(),
        }
    }

    /// Running services with changed files, whose sections want a restart then.
    fn restarts(&self, result: &Map<String, Value>) -> Vec<String> {
        self.changed_while_running(result, |rule| rule == WhileRunning::Restart)
    }

    /// Those whose sections leave the restart to the operator.
    fn stale(&self, result: &Map<String, Value>) -> Vec<String> {
        self.changed_while_running(result, |rule| rule != WhileRunning::Restart)
    }

    fn changed_while_running(
        &self,
        result: &Map<String, Value>,
        is_meant: impl Fn(WhileRunning) -> bool,
    ) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for file in result.get("files").and_then(Value::as_array).into_iter().flatten() {
            let name = file.get("service").and_then(Value::as_str).unwrap_or_default();
            let service = self.services.as_ref().and_then(|f| f.services.get(name));
            let wanted = service.is_some_and(|s| is_meant(s.configure_while_running));
            let changed = file.get("changed").and_then(Value::as_bool) == Some(true);
            // One that is stopped must stay so.
            let runs = file.get("running").and_then(Value::as_bool) == Some(true);
            if wanted && changed && runs && !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    fn answered(&mut self, answer: Answer) -> Next {
        match (&mut self.stage, answer) {
            (Stage::Begun, _) => Verdict::bare(NodeState::Failed, "an answer without a question").into(),
            (Stage::Native, Answer::Ok(reply)) => done(&reply, None).into(),
            (Stage::Native, Answer::Error { errno, reason }) => {
                refused_by_rs("configure", errno, &reason).into()
            }
            (Stage::OldForm, Answer::Ok(reply)) => old_form_done(&reply).into(),
            (Stage::OldForm, Answer::Error { errno: UNKNOWN_COMMAND, .. }) => self.list(),
            (Stage::OldForm, Answer::Error { errno, reason }) => refused("configure", errno, &reason).into(),
            (Stage::Listing, Answer::Ok(reply)) => self.shoot(&listed(&reply)),
            (Stage::Listing, Answer::Error { errno, reason }) => refused("status", errno, &reason).into(),
            (Stage::Shot(shot), answer) => match shot.step(Event::Answer(answer)) {
                Step::Go(next) => next,
                Step::Result(result) => self.shot(&result),
            },
            (Stage::Restarting { queue, verdict }, Answer::Ok(_)) => {
                let (queue, verdict) = (std::mem::take(queue), verdict.clone());
                self.restart(queue, verdict)
            }
            (Stage::Restarting { verdict, .. }, Answer::Error { reason, .. }) => {
                let text = format!("files written, but the restart failed: {reason}");
                Verdict::with(NodeState::Failed, text, verdict.data.clone()).into()
            }
        }
    }
}

impl Procedure for Configure {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        match (event, &mut self.stage) {
            (Event::Begin, _) => self.begin(context.daemon),
            (Event::Answer(answer), _) => self.answered(answer),
            (Event::Woken, Stage::Shot(shot)) => match shot.step(Event::Woken) {
                Step::Go(next) => next,
                Step::Result(result) => self.shot(&result),
            },
            (Event::Woken, _) => Verdict::bare(NodeState::Failed, "woken without a pause").into(),
        }
    }

    fn leftover(&self) -> Option<&str> {
        self.added.then_some(self.oneshot.as_str())
    }
}

/// Every file of the wanted services (all when none is named), or everything that is wrong.
fn rendered(
    file: &ServicesFile,
    membership: &Membership,
    wanted: &[String],
) -> Result<Vec<RenderedFile>, Vec<String>> {
    let text = |errors: Vec<RenderError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let wanted = (!wanted.is_empty()).then_some(wanted);
    let paths =
        circus_protocol::service::template_paths(&file.services, membership, wanted, &[]).map_err(text)?;
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for (service, label, path) in paths {
        let origin = path.to_string_lossy().into_owned();
        match file.templates.get(&origin) {
            Some(Ok(text)) => texts.push(TemplateText { service, label, origin, text: text.clone() }),
            Some(Err(reason)) => {
                problems.push(format!("{origin}: the template of {service}:{label}: {reason}"))
            }
            None => problems.push(format!("{origin}: the template of {service}:{label} was not read")),
        }
    }
    if problems.is_empty() {
        plan_configure(&file.services, membership, wanted, &texts).map_err(text)
    } else {
        Err(problems)
    }
}

/// A rendered file for the program on the node.
fn row(services: &ServicesFile, file: &RenderedFile, all: &[Listed]) -> Value {
    let running = is_running(all, &file.service);
    let rule = services.services.get(&file.service).map(|s| s.configure_while_running).unwrap_or_default();
    let policy = if running && rule == WhileRunning::Refuse { "refuse" } else { "allow" };
    let owner = file.owner.as_ref().map(|o| json!([o.user, o.group]));
    json!({
        "service": file.service, "label": file.label, "path": file.path.to_string_lossy(),
        "content": file.content, "mode": file.mode, "owner": owner, "policy": policy, "running": running,
    })
}

/// Whether a service's watcher is anything but stopped.
pub(crate) fn is_running(all: &[Listed], service: &str) -> bool {
    let key = service.to_lowercase();
    all.iter().any(|w| w.name.to_lowercase() == key && w.state != "stopped")
}

/// The verdict of a one-shot that says what is wrong.
pub(crate) fn failure(result: &Map<String, Value>) -> Option<Verdict> {
    let errors = result.get("errors")?.as_array()?;
    let lines: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
    let refused = result.get("refused").and_then(Value::as_bool) == Some(true);
    let state = if refused { NodeState::Refused } else { NodeState::Failed };
    Some(Verdict::bare(state, lines.join("; ")))
}

/// Done or unchanged, by the list of files. `needed` are the services that a stock node has to restart;
/// ours say so themselves.
fn done(reply: &Map<String, Value>, needed: Option<Value>) -> Verdict {
    let mut files = reply.get("files").cloned().unwrap_or_else(|| json!([]));
    let rows = || files.as_array().into_iter().flatten();
    let changed = rows().filter(|f| f.get("changed").and_then(Value::as_bool) == Some(true)).count();
    let reason = if rows().next().is_none() { "no service has files to write" } else { "" };
    let state = if changed > 0 { NodeState::Done } else { NodeState::Unchanged };
    for file in files.as_array_mut().into_iter().flatten() {
        if let Some(file) = file.as_object_mut() {
            file.shift_remove("running");
        }
    }
    let mut data = json!({ "files": files });
    let stale = needed.or_else(|| reply.get("restart_needed").cloned());
    if let (Some(stale), Some(data)) = (stale, data.as_object_mut())
        && stale.as_array().is_some_and(|names| !names.is_empty())
    {
        data.insert("restart_needed".to_owned(), stale);
    }
    Verdict::with(state, reason, data)
}

/// What a plugin of one's own answered; all that is known is that it was done.
fn old_form_done(reply: &Map<String, Value>) -> Verdict {
    let said_no = reply.get("success").and_then(Value::as_bool) == Some(false);
    let data = json!({"files": reply.get("files").cloned().unwrap_or_else(|| json!([]))});
    if said_no {
        return Verdict::with(NodeState::Failed, "its configure command says that it did not succeed", data);
    }
    Verdict::with(NodeState::Done, "by the node's own configure command", data)
}
