//! Figures about processes: one thread that reads `/proc` when asked.
//!
//! Per-process figures are read from `/proc` directly, and only physical memory comes from the
//! `sysinfo` crate: what circus shows needs one file for each process of the machine and two more for
//! those asked for, in the kernel's own ticks (`tests/host.rs` prints what 500 processes cost). Those two
//! cost most and hardly ever change, so what they said is remembered for a while.
//!
//! CPU percentages are since this thread's previous look at the same process. It refuses to know
//! watchers, worker ids and start times; the arbiter puts those in.

pub mod feed;

pub(crate) mod figures;

mod rest;

pub(crate) mod trees;

use std::collections::HashMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use circus_protocol::number::Pid;
use circus_protocol::stat::ProcessFigures;
use serde_json::{Map, Value};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use tokio::sync::{mpsc, oneshot};

use crate::arbiter::effect::SampleTarget;
use crate::arbiter::id::SampleTag;
use crate::arbiter::input::Input;
use crate::host::clock;
use crate::host::sample::figures::{Machine, Sight};
use crate::host::sample::rest::Resting;
use crate::host::sample::trees::TreeFigures;
use crate::host::tree::{Entry, Snapshot};

/// Questions that may wait: more than there are clients. When it is full the answer is "gone".
const QUESTIONS: usize = 1024;

/// Two looks closer together than this give the same CPU figure: the kernel counts in ticks of 10 ms.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long a process is remembered that nobody asked for.
const FORGET: Duration = Duration::from_secs(600);

/// So many dead processes may be remembered, whoever is alive: looking for them is not free.
const DEAD: usize = 256;

/// How long a process' owner and name are believed, at most; and no longer than it had lived when they
/// were read, because what changes them happens early. Another program is noticed at once.
const BELIEVE: Duration = Duration::from_secs(10);

/// What is wanted of the thread.
#[derive(Debug)]
pub(crate) enum Question {
    /// Figures, which go back under this number.
    Figures { tag: SampleTag, targets: Vec<SampleTarget> },
    /// What each of these leaders uses together with all who descend from it; `None` of the dead.
    Trees { leaders: Vec<Pid>, answer: oneshot::Sender<Vec<Option<TreeFigures>>> },
}

/// Start the thread.
pub(crate) fn start(inputs: mpsc::Sender<Input>) -> io::Result<mpsc::Sender<Question>> {
    let (sender, mut questions) = mpsc::channel::<Question>(QUESTIONS);
    let mut sampler = Sampler::new()?;
    thread::Builder::new().name("sampler".to_owned()).spawn(move || {
        while let Some(question) = questions.blocking_recv() {
            match question {
                Question::Figures { tag, targets } => {
                    let figures = sampler.look(&targets);
                    if inputs.blocking_send(Input::Sampled { tag, figures }).is_err() {
                        return;
                    }
                }
                Question::Trees { leaders, answer } => {
                    let _nobody_waits = answer.send(trees::look(&leaders, &sampler.machine));
                }
            }
        }
    })?;
    Ok(sender)
}

/// What the thread remembers between two looks.
#[derive(Debug)]
pub(crate) struct Sampler {
    machine: Machine,
    seen: HashMap<i32, Seen>,
    known: HashMap<i32, Known>,
    resting: Resting,
    /// So many processes may be remembered before the dead among them are looked for.
    room: usize,
}

/// What was read about one program in one process.
#[derive(Debug)]
struct Known {
    start: u64,
    image: u64,
    until: Instant,
    sight: Sight,
}

#[derive(Debug)]
struct Seen {
    start: u64,
    ticks: u64,
    at: Instant,
    percent: f64,
}

impl Sampler {
    pub(crate) fn new() -> io::Result<Self> {
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(memory).map_err(io::Error::other)?;
        let machine = Machine::new(system.total_memory())?;
        Ok(Self {
            machine,
            seen: HashMap::new(),
            known: HashMap::new(),
            resting: Resting::default(),
            room: DEAD,
        })
    }

    /// One object for each target, `None` for those that are gone.
    pub(crate) fn look(&mut self, targets: &[SampleTarget]) -> Vec<Option<Map<String, Value>>> {
        let only_daemon = targets.iter().all(|target| *target == SampleTarget::Daemon);
        let all = if only_daemon { Snapshot::default() } else { Snapshot::take().unwrap_or_default() };
        let now = clock::monotonic();
        let wall = clock::wall();
        let mut answers = Vec::with_capacity(targets.len());
        for target in targets {
            answers.push(match target {
                SampleTarget::Daemon => Entry::read(std::process::id().cast_signed())
                    .map(|entry| self.figures(&entry, now, wall, Vec::new()).to_map()),
                SampleTarget::Process(pid) => all
                    .get(pid.get())
                    .filter(|entry| entry.state != b'Z' && entry.state != b'X')
                    .map(|entry| {
                        let children = all
                            .children(entry.pid)
                            .map(|child| self.figures(child, now, wall, Vec::new()))
                            .collect();
                        self.figures(entry, now, wall, children).to_map()
                    }),
            });
        }
        self.forget(now);
        answers
    }

    /// The figures of these and of nobody else, children left out: no look at the whole machine.
    pub(crate) fn each(&mut self, pids: &[Pid]) -> Vec<ProcessFigures> {
        let now = clock::monotonic();
        let wall = clock::wall();
        let entries = pids.iter().filter_map(|pid| self.resting.entry(pid.get(), now));
        let living: Vec<Entry> = entries.filter(|entry| entry.state != b'Z' && entry.state != b'X').collect();
        let figures = living.iter().map(|entry| self.figures(entry, now, wall, Vec::new())).collect();
        self.resting.forget(now);
        self.forget(now);
        figures
    }

    fn figures(
        &mut self,
        entry: &Entry,
        now: Instant,
        wall: f64,
        children: Vec<ProcessFigures>,
    ) -> ProcessFigures {
        let cpu = self.percent(entry, now);
        let created = self.machine.created(entry);
        let sight = self.sight(entry, now, wall - created);
        sight.figures(entry, &self.machine, cpu, wall, children)
    }

    /// Who owns it and what it is called, `age` seconds after it began.
    fn sight(&mut self, entry: &Entry, now: Instant, age: f64) -> Sight {
        if let Some(known) = self.known.get(&entry.pid)
            && (known.start, known.image) == (entry.start, entry.image)
            && now < known.until
        {
            return known.sight.clone();
        }
        let sight = Sight::read(entry, &mut self.machine);
        let believe = Duration::try_from_secs_f64(age).unwrap_or_default().min(BELIEVE);
        let known =
            Known { start: entry.start, image: entry.image, until: now + believe, sight: sight.clone() };
        self.known.insert(entry.pid, known);
        sight
    }

    /// Whoever was not asked for in a long time, and now and then whoever is dead: a crash loop leaves
    /// hundreds a second.
    fn forget(&mut self, now: Instant) {
        self.known.retain(|_, known| known.until > now);
        self.seen.retain(|_, seen| now.duration_since(seen.at) < FORGET);
        if self.seen.len() < self.room {
            return;
        }
        self.seen.retain(|pid, seen| Entry::read(*pid).is_some_and(|entry| entry.start == seen.start));
        self.room = 2 * self.seen.len() + DEAD;
        self.seen.shrink_to(self.room);
        self.known.shrink_to(self.room);
    }

    /// Percent of one CPU since the last look, 0 at the first.
    fn percent(&mut self, entry: &Entry, now: Instant) -> f64 {
        let [user, system, ..] = entry.times;
        let ticks = user + system;
        let fresh = Seen { start: entry.start, ticks, at: now, percent: 0.0 };
        let seen = self.seen.entry(entry.pid).or_insert(fresh);
        if seen.start != entry.start {
            *seen = Seen { start: entry.start, ticks, at: now, percent: 0.0 };
        }
        let elapsed = now.duration_since(seen.at);
        if elapsed >= SHORTEST {
            let used = ticks.saturating_sub(seen.ticks) as f64 / self.machine.ticks;
            let percent = figures::rounded(used / elapsed.as_secs_f64() * 100.0, 1);
            *seen = Seen { start: entry.start, ticks, at: now, percent };
        }
        seen.percent
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn our_own_figures_have_circus_keys_in_circus_order() {
        let mut sampler = Sampler::new().unwrap();
        let figures = sampler.look(&[SampleTarget::Daemon]);
        let object = figures[0].as_ref().unwrap();
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        let expected = "mem_info1 mem_info2 cpu mem ctime pid username nice create_time age cmdline children";
        assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
        assert_eq!(object["pid"], std::process::id());
        assert_eq!(object["cpu"].to_string(), "0.0");
        assert!(object["mem"].as_f64().unwrap() > 0.0);
        assert!(object["mem_info1"].as_str().unwrap().ends_with('M'), "{object:?}");
        assert!((0.0..3600.0).contains(&object["age"].as_f64().unwrap()), "{object:?}");
        assert_eq!(object["children"], Value::Array(Vec::new()));
    }

    #[test]
    fn a_busy_process_shows_its_share_of_a_cpu() {
        let mut sampler = Sampler::new().unwrap();
        let mut entry = Entry::read(std::process::id().cast_signed()).unwrap();
        let ticks = sampler.machine.ticks as u64;
        let start = clock::monotonic();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(sampler.percent(&entry, start), 0.0);
        entry.times[0] += ticks;
        entry.times[1] += ticks / 2;
        assert_eq!(sampler.percent(&entry, at(2.0)), 75.0);
        // A second client asking at once sees the same, not nonsense.
        entry.times[0] += 1;
        assert_eq!(sampler.percent(&entry, at(2.001)), 75.0);
        entry.times[0] += 2 * ticks - 1;
        assert_eq!(sampler.percent(&entry, at(3.0)), 200.0);
        // Another process of the same number begins anew.
        entry.start += 1;
        assert_eq!(sampler.percent(&entry, at(4.0)), 0.0);
    }

    #[test]
    fn an_owner_and_a_name_are_believed_for_a_while_and_not_of_another_program() {
        let mut sampler = Sampler::new().unwrap();
        let mut entry = Entry::read(std::process::id().cast_signed()).unwrap();
        assert_ne!(entry.image, 0);
        let start = clock::monotonic();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let real = sampler.sight(&entry, start, 3.0);
        let rename = |sampler: &mut Sampler| {
            let known = sampler.known.get_mut(&entry.pid).unwrap();
            known.sight = Sight::named("old");
            known.sight.clone()
        };
        let old = rename(&mut sampler);
        assert_eq!(sampler.sight(&entry, at(2.9), 5.9), old);
        assert_eq!(sampler.sight(&entry, at(3.1), 6.1), real);
        rename(&mut sampler);
        entry.image += 1;
        assert_eq!(sampler.sight(&entry, at(3.2), 6.2), real);
        // Just started: it may still change its owner.
        entry.start += 1;
        sampler.sight(&entry, at(4.0), 0.0);
        sampler.known.get_mut(&entry.pid).unwrap().sight = Sight::named("old");
        assert_eq!(sampler.sight(&entry, at(4.0), 0.0), real);
    }

    #[test]
    fn who_is_gone_has_no_figures() {
        let mut sampler = Sampler::new().unwrap();
        let nobody = SampleTarget::Process(Pid::new(i32::MAX).unwrap());
        assert_eq!(
            sampler.look(&[nobody, SampleTarget::Daemon]).iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn children_are_shown_without_theirs() {
        let mut sampler = Sampler::new().unwrap();
        let parent = nix::unistd::getppid().as_raw();
        let figures = sampler.look(&[SampleTarget::Process(Pid::new(parent).unwrap())]);
        let children = figures[0].as_ref().unwrap()["children"].as_array().unwrap().clone();
        let pids: BTreeSet<u64> = children.iter().map(|child| child["pid"].as_u64().unwrap()).collect();
        assert!(pids.contains(&u64::from(std::process::id())), "{pids:?}");
        assert!(children.iter().all(|child| child["children"].as_array().unwrap().is_empty()));
    }

    #[test]
    fn the_dead_are_not_remembered() {
        let mut sampler = Sampler::new().unwrap();
        let entry = Entry::read(std::process::id().cast_signed()).unwrap();
        let now = clock::monotonic();
        sampler.percent(&entry, now);
        for number in 0..10 * DEAD {
            // Our number with another start is somebody who lived before us.
            let dead = Entry { start: entry.start + 1, pid: i32::MAX - number.cast_signed() as i32, ..entry };
            sampler.percent(&dead, now);
            sampler.sight(&dead, now, 0.0);
            sampler.forget(now);
            assert!(sampler.seen.len() <= 2 + 2 * DEAD, "{}", sampler.seen.len());
        }
        assert!(sampler.seen.contains_key(&entry.pid) && sampler.known.is_empty());
    }
}
