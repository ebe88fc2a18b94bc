//! The last minutes of processes' figures, kept for whoever asks why one of them died.
//!
//! ```text
//!  warden ──began, died──► history ──every interval──► sampler's thread ──► /proc
//!  who asks why ──of────────►│
//! ```
//!
//! Only processes whose watcher wants it are looked at, and all that are due together with one pass over
//! `/proc`; while there are none, nothing wakes up. What is kept of each process is [`KEPT`] long, and of
//! the dead the last [`EACH`] of a watcher. It refuses to know what the figures mean.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use circus_protocol::number::Pid;
use tokio::runtime::Handle;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use crate::arbiter::id::{Key, WatcherId};
use crate::arbiter::input::Figures;
use crate::host::clock;
use crate::host::sample::Question;
use crate::host::sample::trees::TreeFigures;

/// How far back figures reach.
const KEPT: Duration = Duration::from_secs(300);

/// How many dead processes of one watcher are remembered: as many as have last words.
const EACH: usize = 3;

/// News that may wait: some for each process. If there is no room, that process has no figures.
const NEWS: usize = 65_536;

#[derive(Debug)]
enum News {
    Began { key: Key, watcher: WatcherId, pid: Pid, interval: Duration },
    Died { key: Key },
    Forget { watcher: WatcherId },
    Of { watcher: WatcherId, key: Key, answer: oneshot::Sender<Vec<Figures>> },
}

/// The way to the task.
#[derive(Debug, Clone)]
pub(crate) struct History {
    news: mpsc::Sender<News>,
}

impl History {
    /// Start the task; it ends when all of this was dropped.
    pub(crate) fn start(handle: &Handle, sampler: mpsc::Sender<Question>) -> Self {
        let (news, received) = mpsc::channel(NEWS);
        let task = Task { sampler, begun: clock::monotonic(), tracks: HashMap::new(), dead: HashMap::new() };
        handle.spawn(task.run(received));
        Self { news }
    }

    /// A process runs that is to be looked at so often.
    pub(crate) fn began(&self, key: Key, watcher: WatcherId, pid: Pid, interval: Duration) {
        self.send(News::Began { key, watcher, pid, interval });
    }

    /// It has ended.
    pub(crate) fn died(&self, key: Key) {
        self.send(News::Died { key });
    }

    /// The watcher is no more; nobody will ask.
    pub(crate) fn forget(&self, watcher: WatcherId) {
        self.send(News::Forget { watcher });
    }

    /// The last figures of a process that died; an error when the task is gone.
    pub(crate) fn of(&self, watcher: WatcherId, key: Key) -> oneshot::Receiver<Vec<Figures>> {
        let (answer, found) = oneshot::channel();
        self.send(News::Of { watcher, key, answer });
        found
    }

    fn send(&self, news: News) {
        if let Err(error) = self.news.try_send(news) {
            tracing::error!(%error, "figures of a process are not kept");
        }
    }
}

/// One process that is looked at.
#[derive(Debug)]
struct Track {
    watcher: WatcherId,
    pid: Pid,
    /// When it started, once it was seen.
    start: Option<u64>,
    interval: Duration,
    due: Instant,
    /// Seconds of CPU time, and when they were counted.
    counted: (f64, Instant),
    kept: VecDeque<Figures>,
}

impl Track {
    fn new(watcher: WatcherId, pid: Pid, interval: Duration, now: Instant, due: Instant) -> Self {
        Self { watcher, pid, start: None, interval, due, counted: (0.0, now), kept: VecDeque::new() }
    }

    /// What was seen of it; another of its number is not.
    fn see(&mut self, seen: TreeFigures, now: Instant, wall: f64) {
        if *self.start.get_or_insert(seen.start) != seen.start {
            return;
        }
        let (before, at) = std::mem::replace(&mut self.counted, (seen.cpu, now));
        let elapsed = now.duration_since(at).as_secs_f64();
        // Less than before: one of the tree took its share along when it was orphaned.
        let cpu = if elapsed > 0.0 { (seen.cpu - before).max(0.0) / elapsed * 100.0 } else { 0.0 };
        let cpu = (cpu * 10.0).round() / 10.0;
        self.kept.push_back(Figures { at: wall, cpu, memory: seen.memory, processes: seen.processes });
        let oldest = wall - KEPT.as_secs_f64();
        // Also what lies ahead, should the clock have been set back.
        self.kept.retain(|figures| figures.at >= oldest && figures.at <= wall);
    }
}

struct Task {
    sampler: mpsc::Sender<Question>,
    /// Looks are at whole intervals after this moment, so that those of many are one.
    begun: Instant,
    tracks: HashMap<Key, Track>,
    dead: HashMap<WatcherId, VecDeque<(Key, Vec<Figures>)>>,
}

impl Task {
    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        loop {
            let due = self.tracks.values().map(|track| track.due).min();
            select! {
                // Who asks about the dead must not hear less than was told.
                biased;
                news = news.recv() => match news {
                    Some(news) => self.hear(news),
                    None => return,
                },
                () = sleep_until(due.unwrap_or(self.begun).into()), if due.is_some() => self.look().await,
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Began { key, watcher, pid, interval } => {
                let now = clock::monotonic();
                let track = Track::new(watcher, pid, interval, now, next(self.begun, interval, now));
                self.tracks.insert(key, track);
            }
            News::Died { key } => self.bury(key),
            News::Forget { watcher } => {
                self.dead.remove(&watcher);
            }
            News::Of { watcher, key, answer } => {
                let found = self.dead.get(&watcher).and_then(|dead| dead.iter().find(|(of, _)| *of == key));
                let _asker_left = answer.send(found.map(|(_, figures)| figures.clone()).unwrap_or_default());
            }
        }
    }

    /// Nobody looked at it, or its last minutes become those of a dead one.
    fn bury(&mut self, key: Key) {
        let Some(track) = self.tracks.remove(&key).filter(|track| !track.kept.is_empty()) else { return };
        let dead = self.dead.entry(track.watcher).or_default();
        dead.push_back((key, track.kept.into()));
        if dead.len() > EACH {
            dead.pop_front();
        }
    }

    async fn look(&mut self) {
        let now = clock::monotonic();
        let begun = self.begun;
        let mut due = Vec::new();
        for (key, track) in self.tracks.iter_mut().filter(|(_, track)| track.due <= now) {
            track.due = next(begun, track.interval, now);
            due.push((*key, track.pid));
        }
        let (answer, figures) = oneshot::channel();
        let leaders = due.iter().map(|(_, pid)| *pid).collect();
        // A sampler that is busy has more urgent questions; these come again.
        if self.sampler.try_send(Question::Trees { leaders, answer }).is_err() {
            return;
        }
        let Ok(figures) = figures.await else { return };
        let (now, wall) = (clock::monotonic(), clock::wall());
        for ((key, _), figures) in due.into_iter().zip(figures) {
            if let (Some(track), Some(figures)) = (self.tracks.get_mut(&key), figures) {
                track.see(figures, now, wall);
            }
        }
    }
}

/// The first whole interval that lies ahead.
fn next(begun: Instant, interval: Duration, now: Instant) -> Instant {
    let passed = now.duration_since(begun).as_secs_f64();
    let whole = (passed / interval.as_secs_f64()).floor() + 1.0;
    begun + interval.mul_f64(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(start: u64, cpu: f64, memory: u64) -> TreeFigures {
        TreeFigures { start, cpu, memory, processes: 1 }
    }

    #[test]
    fn the_last_minutes_are_kept_and_no_more() {
        let begun = clock::monotonic();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let (ten, pid) = (Duration::from_secs(10), Pid::new(7).unwrap());
        let mut track = Track::new(WatcherId(1), pid, ten, begun, at(10));
        for round in 1..=100_u64 {
            // Half a processor, and a MiB more each time.
            track.see(seen(5, round as f64 * 5.0, round << 20), at(10 * round), 10.0 * round as f64);
        }
        assert_eq!(track.kept.len(), 31);
        let (first, last) = (track.kept.front().unwrap(), track.kept.back().unwrap());
        assert_eq!((first.at, last.at), (700.0, 1000.0));
        assert_eq!((last.cpu, last.memory), (50.0, 100 << 20));
        // Another process of that number is not it, and less time than before is none.
        track.see(seen(6, 0.0, 1), at(1010), 1010.0);
        assert_eq!(track.kept.len(), 31);
        track.see(seen(5, 1.0, 1), at(1020), 1020.0);
        assert_eq!(track.kept.back().unwrap().cpu, 0.0);
        // The clock was set back by a day.
        track.see(seen(5, 1.0, 1), at(1030), -85_000.0);
        assert_eq!(track.kept.len(), 1);
    }

    #[test]
    fn looks_of_many_are_at_the_same_moment() {
        let begun = clock::monotonic();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let ten = Duration::from_secs(10);
        let due: Vec<Instant> = [0, 1, 5_000, 9_999].map(|millis| next(begun, ten, at(millis))).into();
        assert!(due.iter().all(|due| *due == at(10_000)), "{due:?}");
        assert_eq!(next(begun, ten, at(10_000)), at(20_000));
        assert_eq!(next(begun, Duration::from_millis(1500), at(1600)), at(3000));
    }

    #[tokio::test]
    async fn the_dead_are_remembered_until_their_watcher_is_forgotten() {
        let (sampler, mut questions) = mpsc::channel(4);
        let history = History::start(&Handle::current(), sampler);
        let (watcher, second) = (WatcherId(3), Duration::from_secs(1));
        for number in 1..=5_u8 {
            let key = Key(number.into());
            history.began(key, watcher, Pid::new(number.into()).unwrap(), Duration::from_millis(1));
            let Some(Question::Trees { leaders, answer }) = questions.recv().await else {
                panic!("nobody looks");
            };
            answer.send(leaders.iter().map(|_| Some(seen(9, 0.0, u64::from(number)))).collect()).unwrap();
            // Its figures are there once the next question comes.
            let _next = tokio::time::timeout(60 * second, questions.recv()).await.unwrap();
            history.died(key);
        }
        let memory = async |key| {
            let found = history.of(watcher, Key(key)).await.unwrap();
            found.first().map(|figures| figures.memory)
        };
        assert_eq!((memory(1).await, memory(2).await), (None, None));
        assert_eq!((memory(3).await, memory(5).await), (Some(3), Some(5)));
        history.forget(watcher);
        assert_eq!(memory(5).await, None);
    }
}
