//! `preflight`: what a start of services would meet, before anybody starts them.
//!
//! Where to look follows from services and watchers; looking is the host's, and what to think of it is
//! said in one place for all nodes ([`circus_protocol::service::preflight`]). It changes nothing and
//! keeps nobody waiting.

use circus_protocol::command::{Preflight, Selection};
use circus_protocol::number::Wid;
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::preflight::{Facts, Look, Process, report};

use crate::arbiter::deliver::Job;
use crate::arbiter::effect::Effect;
use crate::arbiter::id::{JobId, ReplyTo, WatcherId};
use crate::arbiter::readiness::Names;
use crate::arbiter::selection::Chosen;
use crate::arbiter::sockets::Bound;
use crate::arbiter::{Arbiter, Work, spawnspec};
use crate::config::{Config, WatcherConfig};

impl Arbiter {
    pub(super) fn preflight(
        &mut self,
        preflight: &Preflight,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let Preflight { name, matching, .. } = preflight;
        let selection = Selection { name: name.clone(), matching: *matching, waiting: false };
        let ids = match self.choose(&selection)? {
            Chosen::One(id) => vec![id],
            Chosen::Several(ids) => ids,
        };
        let membership = self.place(preflight.member.as_ref())?;
        let known = Names { membership: membership.as_ref(), ..self.names_of_node() };
        // Of a watcher without a service nothing is known that could be looked at.
        let look = |id: &WatcherId| {
            let watcher = self.watchers.get(id)?;
            let service = self.services.get(watcher.config.name.original())?;
            let pids = watcher.pids().map(|pid| pid.get()).collect();
            let process = process(&watcher.config, watcher.id, &self.sockets.bound, pids);
            Some(Look::of(service, &known.variables(service), process))
        };
        let looks: Vec<Look> = ids.iter().filter_map(look).collect();
        let job = self.new_job(Job::Preflight { reply, looks: looks.clone() });
        work.out.push(Effect::Preflight { job, looks });
        Ok(())
    }

    pub(super) fn preflighted(&mut self, job: JobId, facts: &[Facts], work: &mut Work) {
        let Some(Job::Preflight { reply, looks }) = self.jobs.remove(&job) else {
            debug_assert!(false, "job {job:?} is no preflight");
            return;
        };
        work.reply(reply, Reply::Ok(report(&looks, facts)));
    }
}

/// What a start of this file's services would meet, by whoever looks before there is a daemon.
#[must_use]
pub fn looks(config: &Config, hostname: &str) -> Vec<Look> {
    let known = Names { services: &config.services, membership: None, global: &config.circus, hostname };
    let look = |watcher: &WatcherConfig| {
        let service = config.services.get(watcher.name.original())?;
        let process = process(watcher, WatcherId(0), &Bound::default(), Vec::new());
        Some(Look::of(service, &known.variables(service), process))
    };
    config.watchers.iter().filter_map(look).collect()
}

fn process(config: &WatcherConfig, id: WatcherId, sockets: &Bound, pids: Vec<i32>) -> Process {
    // What cannot even be put together is what the start will say.
    let spec = spawnspec::build(config, id, Wid(1), sockets, None, None).ok();
    let program = spec.as_ref().and_then(|spec| spec.argv.first()).cloned();
    Process {
        program: program.unwrap_or_default(),
        uid: config.uid.as_ref().map(ToString::to_string),
        gid: config.gid.as_ref().map(ToString::to_string),
        working_dir: config.working_dir.clone(),
        env: spec.map(|spec| spec.env.clone()).unwrap_or_default(),
        rlimits: config.rlimits.iter().map(|(name, limit)| (name.clone(), *limit)).collect(),
        pids,
    }
}
