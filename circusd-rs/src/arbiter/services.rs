//! `configure` and `reset`: when they may begin, whom they keep from starting, and what is answered.
//!
//! Planning is `protocol::service`'s and writing is the host's; here is only who runs and who waits.
//! While a job is under way the watchers of its services do not start: a start is remembered and
//! follows when the host is done. Jobs that write are done one after the other, so that two
//! memberships never mix in the files of one node; those that only look (`dry_run`) go past them.

use std::collections::VecDeque;

use circus_protocol::command::{Configure, Match, Member, Reset};
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::{ConfigureJob, ConfigureOutcome, Membership, ResetJob, ResetOutcome, Service};

use crate::arbiter::deliver::Job;
use crate::arbiter::effect::Effect;
use crate::arbiter::id::{JobId, ReplyTo, WatcherId};
use crate::arbiter::operation::{Goal, Operation, Shape, Then};
use crate::arbiter::select::Pattern;
use crate::arbiter::watcher::{Wanted, Watcher};
use crate::arbiter::{Arbiter, Ending, Work};

/// A job on services' files.
#[derive(Debug)]
pub(super) struct ServiceJob {
    pub(super) reply: Option<ReplyTo>,
    work: Files,
    /// Watchers that may not start meanwhile.
    held: Vec<WatcherId>,
}

#[derive(Debug)]
enum Files {
    /// The membership to remember; a dry run leaves none.
    Configure(Option<Membership>),
    /// Waits for its services to be down.
    Reset(Option<Box<ResetJob>>),
}

/// How many jobs may wait for the one at work; each may hold the templates that came with it.
const MOST_WAITING: usize = 32;

/// The jobs that write.
#[derive(Debug, Default)]
pub(super) struct Desk {
    at_work: Option<JobId>,
    waiting: VecDeque<(JobId, Effect)>,
}

impl Arbiter {
    pub(super) fn configure(
        &mut self,
        command: &Configure,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        self.refuse_while_ending()?;
        let membership = self.membership(command);
        check(&membership)?;
        let names = self.service_names(|name| match &command.services {
            Some(wanted) => wanted.iter().any(|wanted| wanted.to_lowercase() == name),
            None => true,
        });
        if let Some(unknown) = command.services.iter().flatten().find(|name| !self.is_service(name)) {
            return Err(Refusal::Message(format!("service {unknown} not found")));
        }
        self.refuse_while_crowded()?;
        let running: Vec<String> = names.iter().filter(|name| self.runs(name)).cloned().collect();
        let idle: Vec<String> = names.iter().filter(|name| !self.runs(name)).cloned().collect();
        let held = if command.dry_run { Vec::new() } else { self.hold(&idle, work) };
        let files = Files::Configure((!command.dry_run).then(|| membership.clone()));
        let job = self.new_job(Job::Service(ServiceJob { reply, work: files, held }));
        let wanted = command.services.as_ref().map(|_| names);
        let work_order = ConfigureJob {
            services: std::sync::Arc::clone(&self.services),
            membership,
            wanted,
            templates: command.templates.clone(),
            since: running.iter().filter_map(|name| self.oldest(name)).collect(),
            running,
            dry_run: command.dry_run,
        };
        self.write(job, Effect::Configure { job, work: Box::new(work_order) }, command.dry_run, work);
        Ok(())
    }

    /// Paths may name the node; who asks says which node this is, or `configure` has said it.
    pub(super) fn place(&self, member: Option<&Member>) -> Result<Option<Membership>, Refusal> {
        let Some(member) = member.cloned() else { return Ok(self.membership.clone()) };
        let membership = Membership {
            identifier: member.identifier,
            address: member.address,
            cluster: member.cluster,
            hostname: self.facts.hostname.clone(),
            ..Membership::default()
        };
        check(&membership)?;
        Ok(Some(membership))
    }

    fn membership(&self, command: &Configure) -> Membership {
        Membership {
            identifier: command.identifier,
            address: command.address.clone(),
            cluster: command.cluster.clone(),
            is_master: command.is_master,
            hostname: self.facts.hostname.clone(),
            fresh: command.fresh,
            joining: command.joining,
            variables: command.variables.clone(),
        }
    }

    pub(super) fn configured(
        &mut self,
        job: JobId,
        result: Result<Box<ConfigureOutcome>, Vec<String>>,
        work: &mut Work,
    ) {
        let Some(done) = self.finish_job(job, work) else { return };
        match (result, done.work) {
            (Ok(outcome), Files::Configure(membership)) => {
                self.membership = membership.or(self.membership.take());
                // Once the daemon ends, nothing starts any more.
                let restart = if self.ending == Ending::No { outcome.restart.as_slice() } else { &[] };
                for name in restart {
                    if let Some(id) = self.names.get(&name.to_lowercase()).copied() {
                        self.wish(id, "configure", work, Watcher::wish_restart);
                    }
                }
                work.reply(done.reply, Reply::Ok(outcome.reply()));
            }
            (Ok(_), Files::Reset(_)) => debug_assert!(false, "job {job:?} is a reset"),
            (Err(errors), Files::Configure(_) | Files::Reset(_)) => {
                work.refuse(done.reply, Refusal::Conflict(errors.join("; ")));
            }
        }
    }

    pub(super) fn reset(
        &mut self,
        command: &Reset,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        self.refuse_while_ending()?;
        let names = self.services_named(command.name.as_ref(), command.matching)?;
        self.refuse_while_crowded()?;
        let running: Vec<String> = names.iter().filter(|name| self.runs(name)).cloned().collect();
        if !command.dry_run && !command.stop && !running.is_empty() {
            let names = running.join(", ");
            return Err(Refusal::Conflict(format!(
                "cannot reset while running: {names}; stop it first, or say stop"
            )));
        }
        let order = ResetJob {
            services: std::sync::Arc::clone(&self.services),
            membership: self.place(command.member.as_ref())?,
            wanted: command.name.as_ref().map(|_| names.clone()),
            kind: command.kind,
            dry_run: command.dry_run,
            undo: command.undo,
            keep: command.keep,
            now: work.now.wall,
        };
        let mut goals = Vec::new();
        if !command.dry_run {
            let ids = running.iter().filter_map(|name| self.names.get(&name.to_lowercase()).copied());
            for id in self.ascending(ids.collect()) {
                self.wish_down(id, Wanted::Down, "reset", work);
                goals.push((id, Goal::Down));
            }
        }
        let held = if command.dry_run { Vec::new() } else { self.hold(&names, work) };
        let files = Files::Reset(Some(Box::new(order)));
        let job = self.new_job(Job::Service(ServiceJob { reply, work: files, held }));
        self.claim(Operation::new(None, Shape::Plain, Then::Job(job)), goals, "reset", work);
        Ok(())
    }

    fn services_named(&self, name: Option<&String>, matching: Match) -> Result<Vec<String>, Refusal> {
        let Some(name) = name else { return Ok(self.service_names(|_| true)) };
        let pattern = Pattern::new(name, matching)?;
        let names = self.service_names(|key| pattern.matches(key));
        if names.is_empty() { Err(Refusal::Message(format!("service {name} not found"))) } else { Ok(names) }
    }

    /// Everything a reset waited for is down, or will not be.
    pub(super) fn begin_job(&mut self, job: JobId, problem: Option<Refusal>, work: &mut Work) {
        if let Some(Job::Sockets(_)) = self.jobs.get(&job) {
            return self.begin_sockets(job, work);
        }
        if let Some(refusal) = problem {
            if let Some(done) = self.finish_job(job, work) {
                work.refuse(done.reply, refusal);
            }
            return;
        }
        match self.jobs.get_mut(&job) {
            Some(Job::Service(ServiceJob { work: Files::Reset(order), .. })) => {
                if let Some(order) = order.take() {
                    let dry_run = order.dry_run;
                    self.write(job, Effect::Reset { job, work: order }, dry_run, work);
                }
            }
            Some(
                Job::Service(ServiceJob { work: Files::Configure(_), .. })
                | Job::Deliver { .. }
                | Job::Hook(_)
                | Job::Load(_)
                | Job::Extended(_)
                | Job::Preflight { .. }
                | Job::Logs { .. }
                | Job::Sockets(_),
            )
            | None => {
                debug_assert!(false, "job {job:?} does not wait");
            }
        }
    }

    pub(super) fn reset_done(
        &mut self,
        job: JobId,
        result: Result<Box<ResetOutcome>, Vec<String>>,
        work: &mut Work,
    ) {
        let Some(done) = self.finish_job(job, work) else { return };
        match result {
            Ok(outcome) => work.reply(done.reply, Reply::Ok(outcome.reply())),
            Err(errors) => work.refuse(done.reply, Refusal::Conflict(errors.join("; "))),
        }
    }

    // ---- services and their watchers ----

    fn service_names(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let name = |service: &Service| service.name.clone();
        let services = self.services.services.iter().filter(|service| wanted(&service.name.to_lowercase()));
        services.map(name).collect()
    }

    fn is_service(&self, name: &str) -> bool {
        let key = name.to_lowercase();
        self.services.services.iter().any(|service| service.name.to_lowercase() == key)
    }

    /// Whether the service's watcher has, or may at any moment have, a process.
    fn runs(&self, name: &str) -> bool {
        self.get(name).is_ok_and(|watcher| !watcher.is_stopped() || watcher.wanted == Wanted::Up)
    }

    /// When the oldest process of a service was started.
    fn oldest(&self, name: &str) -> Option<(String, f64)> {
        let started = self.get(name).ok()?.processes.values().map(|process| process.started);
        Some((name.to_owned(), started.reduce(f64::min)?))
    }

    /// Keeps the watchers of these services from starting.
    fn hold(&mut self, names: &[String], work: &mut Work) -> Vec<WatcherId> {
        let ids: Vec<WatcherId> =
            names.iter().filter_map(|name| self.names.get(&name.to_lowercase()).copied()).collect();
        for id in &ids {
            self.with(*id, work, |watcher, _| watcher.holds += 1);
        }
        ids
    }

    fn refuse_while_crowded(&self) -> Result<(), Refusal> {
        if self.desk.waiting.len() < MOST_WAITING {
            return Ok(());
        }
        Err(Refusal::Conflict(format!("{MOST_WAITING} jobs on files are waiting already; try again later")))
    }

    /// Now, or when those before it are done.
    fn write(&mut self, job: JobId, effect: Effect, dry_run: bool, work: &mut Work) {
        if dry_run {
            work.out.push(effect);
        } else if self.desk.at_work.is_some() {
            self.desk.waiting.push_back((job, effect));
        } else {
            self.desk.at_work = Some(job);
            work.out.push(effect);
        }
    }

    fn write_next(&mut self, done: JobId, work: &mut Work) {
        if self.desk.at_work == Some(done) {
            let next = self.desk.waiting.pop_front();
            self.desk.at_work = next.as_ref().map(|(job, _)| *job);
            work.out.extend(next.map(|(_, effect)| effect));
        }
    }

    fn finish_job(&mut self, job: JobId, work: &mut Work) -> Option<ServiceJob> {
        self.write_next(job, work);
        match self.jobs.remove(&job) {
            Some(Job::Service(done)) => {
                for id in &done.held {
                    self.with(*id, work, |watcher, _| watcher.holds = watcher.holds.saturating_sub(1));
                }
                Some(done)
            }
            Some(
                other @ (Job::Deliver { .. }
                | Job::Sockets(_)
                | Job::Hook(_)
                | Job::Load(_)
                | Job::Extended(_)
                | Job::Preflight { .. }
                | Job::Logs { .. }),
            ) => {
                self.jobs.insert(job, other);
                debug_assert!(false, "job {job:?} is no job of services");
                None
            }
            None => {
                debug_assert!(false, "unknown job {job:?}");
                None
            }
        }
    }
}

/// A peer's words end up in paths and files.
fn check(membership: &Membership) -> Result<(), Refusal> {
    membership.check().map_err(|errors| {
        Refusal::Message(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })
}
