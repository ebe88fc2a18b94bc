//! Jobs of the host that end with an answer, and `signal`, the smallest of them.

use circus_protocol::command::{SignalCommand, SignalTarget};
use circus_protocol::number::{Pid, Signal};
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::preflight::Look;

use crate::arbiter::effect::{Effect, Reach};
use crate::arbiter::extended::Extended;
use crate::arbiter::hook::Point;
use crate::arbiter::id::{JobId, Key, ReplyTo, WatcherId};
use crate::arbiter::load::Held;
use crate::arbiter::operation::{Goal, Operation, Shape, Then};
use crate::arbiter::services::ServiceJob;
use crate::arbiter::sockets::SocketJob;
use crate::arbiter::story::Tale;
use crate::arbiter::{Arbiter, Work};

/// What the host is doing for a client.
#[derive(Debug)]
pub(super) enum Job {
    Deliver {
        reply: Option<ReplyTo>,
    },
    Service(ServiceJob),
    /// A hook of this watcher's is under way.
    Hook(WatcherId),
    /// Hooks that must be there before a command is obeyed.
    Load(Held),
    /// Figures that a hook edits.
    Extended(Box<Extended>),
    Sockets(SocketJob),
    /// Somebody looks at what a start would meet.
    Preflight {
        reply: Option<ReplyTo>,
        looks: Vec<Look>,
    },
    /// A log is being read, or the last words of this watcher's process.
    Logs {
        reply: Option<ReplyTo>,
        story: Option<Tale>,
    },
}

impl Job {
    pub(super) fn reply(&self) -> Option<ReplyTo> {
        match self {
            Self::Deliver { reply }
            | Self::Logs { reply, story: _ }
            | Self::Preflight { reply, looks: _ } => *reply,
            Self::Service(job) => job.reply,
            Self::Hook(_) => None,
            Self::Load(held) => held.reply,
            Self::Extended(extended) => extended.reply(),
            // The operation behind it has its own.
            Self::Sockets(_) => None,
        }
    }
}

/// The kernel's number for a bad argument.
const EINVAL: i32 = 22;

/// Refuses what the kernel would, before anything is begun.
pub(super) fn check(signal: Signal) -> Result<(), Refusal> {
    if signal.exists() {
        return Ok(());
    }
    Err(Refusal::Os { errno: EINVAL, text: "Invalid argument".to_owned() })
}

impl Arbiter {
    pub(super) fn new_job(&mut self, job: Job) -> JobId {
        self.next.job += 1;
        let id = JobId(self.next.job);
        self.jobs.insert(id, job);
        id
    }

    pub(super) fn signal(
        &mut self,
        command: &SignalCommand,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let (wanted, reach) = match command.target {
            SignalTarget::Processes { pid } => (pid, Reach::Process),
            SignalTarget::Children { pid } => (pid, Reach::Children),
            SignalTarget::Recursive { pid } => (pid, Reach::Tree),
            SignalTarget::Child { pid, child } => (Some(pid), Reach::Child(child_pid(child)?)),
        };
        let watcher = self.get(&command.name)?;
        let named = |pid: Pid| wanted.is_none_or(|wanted| wanted == i64::from(pid.get()));
        let living = watcher.processes.values().filter(|process| process.pid().is_some_and(named));
        let keys: Vec<Key> = living.map(|process| process.key).collect();
        match (command.target, wanted) {
            // circus looks the pid up and raises the failing key.
            (SignalTarget::Children { .. }, Some(pid)) if keys.is_empty() => {
                return Err(Refusal::Raised(pid.to_string()));
            }
            (
                SignalTarget::Children { .. }
                | SignalTarget::Processes { .. }
                | SignalTarget::Recursive { .. }
                | SignalTarget::Child { .. },
                _,
            ) => {}
        }
        if keys.is_empty() {
            work.reply(reply, Reply::ok());
            return Ok(());
        }
        if self.signal_with_hooks(command, &keys, reach, reply, work)? {
            return Ok(());
        }
        let job = self.new_job(Job::Deliver { reply });
        work.out.push(Effect::Deliver { job, keys, signal: command.signal, reach });
        Ok(())
    }

    /// What a hook may forbid is sent by the watcher; true if that is so here. Children have no hooks.
    fn signal_with_hooks(
        &mut self,
        command: &SignalCommand,
        keys: &[Key],
        reach: Reach,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<bool, Refusal> {
        let signal = command.signal;
        check(signal)?;
        let watcher = self.get(&command.name)?;
        let Some(pid) = watcher.pids().next() else { return Ok(false) };
        let own = matches!(command.target, SignalTarget::Processes { .. } | SignalTarget::Recursive { .. });
        let points = [Point::BeforeSignal { pid, signal }, Point::AfterSignal { pid, signal }];
        if !own || !points.into_iter().any(|point| watcher.hooked(point)) {
            return Ok(false);
        }
        let id = watcher.id;
        for key in keys {
            self.with(id, work, |watcher, ctx| watcher.send(*key, signal, reach, false, ctx));
        }
        let operation = Operation::new(reply, Shape::Plain, Then::Nothing);
        self.claim(operation, vec![(id, Goal::Told)], "signal", work);
        Ok(true)
    }

    pub(super) fn delivered(&mut self, job: JobId, result: Result<(), Refusal>, work: &mut Work) {
        match self.jobs.remove(&job) {
            Some(Job::Deliver { reply }) => match result {
                Ok(()) => work.reply(reply, Reply::ok()),
                Err(refusal) => work.refuse(reply, refusal),
            },
            Some(
                other @ (Job::Service(_)
                | Job::Sockets(_)
                | Job::Hook(_)
                | Job::Load(_)
                | Job::Extended(_)
                | Job::Preflight { .. }
                | Job::Logs { .. }),
            ) => {
                self.jobs.insert(job, other);
                debug_assert!(false, "job {job:?} is no delivery");
            }
            None => debug_assert!(false, "unknown job {job:?}"),
        }
    }
}

/// A number that cannot be a child's is answered as one that is none.
fn child_pid(child: i64) -> Result<Pid, Refusal> {
    let pid = i32::try_from(child).ok().and_then(Pid::new);
    pid.ok_or_else(|| Refusal::Raised(format!("process no longer exists (pid={child})")))
}
