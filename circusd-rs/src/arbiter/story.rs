//! `why`: a watcher's story, from how it stands and how its processes ended.
//!
//! The host is asked for the last words of the process that crashed last, and what is wrong with a
//! program that could not be started; then the story is told in one piece. It decides nothing and
//! changes nothing.

pub(super) mod card;
mod series;
mod verdict;

use circus_protocol::event::EventKind;
use circus_protocol::json::float;
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::ExitMeaning;
use serde_json::{Map, Value, json};

use crate::arbiter::command::ok;
use crate::arbiter::deliver::Job;
use crate::arbiter::effect::{Effect, Feed, Recollection};
use crate::arbiter::id::{JobId, Key, ReplyTo, WatcherId};
use crate::arbiter::input::{LastWords, StreamState, StreamTrouble};
use crate::arbiter::standing::{Reason, Standing};
use crate::arbiter::watcher::{RefusedStart, Watcher};
use crate::arbiter::{Arbiter, Work, spawnspec};
use card::{Card, End, WINDOW};
use verdict::{Verdict, signal_name, verdict};

/// How many of the last lines the text quotes; the rest is in the structured part.
const QUOTED: usize = 5;

/// How often the host is asked again because another process died meanwhile: who dies faster than this has
/// no last words.
const AGAIN: u8 = 3;

/// A story for which the host was asked what it remembers of this process.
#[derive(Debug)]
pub(super) struct Tale {
    watcher: WatcherId,
    key: Option<Key>,
    again: u8,
}

impl Arbiter {
    pub(super) fn why(&mut self, name: &str, reply: Option<ReplyTo>, work: &mut Work) -> Result<(), Refusal> {
        let id = self.get(name)?.id;
        self.remember(id, reply, AGAIN, work);
        Ok(())
    }

    /// Asks the host what it remembers; if another process dies meanwhile, so many times again.
    fn remember(&mut self, id: WatcherId, reply: Option<ReplyTo>, again: u8, work: &mut Work) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        let last = watcher.cards.last();
        let key = last.map(|card| card.key);
        let program = last.filter(|card| matches!(card.end, End::NotStarted { .. })).and_then(|card| {
            spawnspec::build(&watcher.config, id, card.wid, &self.sockets.bound, None, None).ok()
        });
        let job = self.new_job(Job::Logs { reply, story: Some(Tale { watcher: id, key, again }) });
        work.out.push(Effect::Recall { job, question: Box::new(Recollection { watcher: id, key, program }) });
    }

    /// A stream's state has changed.
    pub(super) fn output(&mut self, id: WatcherId, state: StreamState, work: &mut Work) {
        // It may have been removed while that was under way.
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        let place = match state.feed() {
            Feed::Stdout => &mut watcher.record.stdout,
            Feed::Stderr => &mut watcher.record.stderr,
        };
        let stream = state.feed().name().to_owned();
        let kind = match state {
            StreamState::Works { lost_bytes, lost_lines, .. } => {
                // Nobody was told that it did not.
                let Some(trouble) = place.take() else { return };
                EventKind::Output { stream, error: None, waits: trouble.waits, lost_bytes, lost_lines }
            }
            StreamState::Fails(trouble) => {
                let StreamTrouble { error, waits, lost_bytes, lost_lines, .. } = trouble.clone();
                *place = Some(Box::new(trouble));
                EventKind::Output { stream, error: Some(error), waits, lost_bytes, lost_lines }
            }
        };
        self.publish(id, kind, work);
    }

    pub(super) fn recalled(
        &mut self,
        job: JobId,
        words: &LastWords,
        troubles: &[StreamTrouble],
        work: &mut Work,
    ) {
        let Some(Job::Logs { reply, story: Some(Tale { watcher: id, key, again }) }) = self.jobs.remove(&job)
        else {
            debug_assert!(false, "job {job:?} recalls nothing");
            return;
        };
        let Some(watcher) = self.watchers.get(&id) else {
            return work.refuse(reply, Refusal::Conflict("the watcher was removed meanwhile".to_owned()));
        };
        let service = self.services.get(watcher.config.name.original());
        let meanings = service.map(|service| service.exit_meanings.as_slice()).unwrap_or_default();
        // Another may have died since; these are not its words.
        let is_the_last = watcher.cards.last().map(|card| card.key) == key;
        if !is_the_last && again > 0 {
            return self.remember(id, reply, again - 1, work);
        }
        let silent = LastWords::default();
        let words = if is_the_last { words } else { &silent };
        let story = Story {
            watcher,
            standing: watcher.standing(work.now),
            words,
            troubles,
            meanings,
            now: work.now.wall,
        };
        work.reply(reply, story.tell());
    }
}

/// Everything that is told.
struct Story<'a> {
    watcher: &'a Watcher,
    standing: Standing,
    words: &'a LastWords,
    troubles: &'a [StreamTrouble],
    meanings: &'a [ExitMeaning],
    now: f64,
}

impl Story<'_> {
    fn tell(&self) -> Reply {
        let (standing, silent) = (&self.standing, LastWords::default());
        let cards = &self.watcher.cards;
        let crash = cards.last().map(|card| (card, self.judge(card, self.words)));
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put("name", self.watcher.config.name.original().into());
        put("state", standing.state.into());
        put("since", standing.since.map_or(Value::Null, float));
        put("cause", standing.reason.word().into());
        put("reason", standing.reason.to_string().into());
        put("waiting_for", standing.reason.waiting_for().map_or(Value::Null, Value::from));
        put("until", standing.until.map_or(Value::Null, float));
        put("refused_start", self.watcher.record.refused.as_ref().map_or(Value::Null, refused));
        put("ready", self.watcher.readiness.told().to_json());
        put(
            "outputs",
            self.troubles.iter().map(|trouble| (trouble.feed.name().to_owned(), told(trouble))).collect(),
        );
        put("story", self.text(crash.as_ref()).into());
        put(
            "crash",
            crash.map_or(Value::Null, |(card, verdict)| {
                let mut told = figures(card, &verdict);
                told.insert("stdout".to_owned(), self.words.stdout.as_str().into());
                told.insert("stderr".to_owned(), self.words.stderr.as_str().into());
                told.insert("figures".to_owned(), series::told(&self.words.figures));
                Value::Object(told)
            }),
        );
        let brief = |card: &Card| Value::Object(figures(card, &self.judge(card, &silent)));
        put("crashes", cards.crashes().map(brief).collect());
        put("ended", cards.commanded().map_or(Value::Null, brief));
        ok(Value::Object(body))
    }

    fn judge(&self, card: &Card, words: &LastWords) -> Verdict {
        verdict(card, words, self.meanings, self.watcher.config.graceful_timeout)
    }

    fn text(&self, crash: Option<&(&Card, Verdict)>) -> String {
        let Standing { state, since, reason, until } = &self.standing;
        let name = self.watcher.config.name.original();
        let since = since.map_or(String::new(), |since| format!(" for {}", span(self.now - since)));
        let mut text = format!("{name} is {state}{since}: {reason}.");
        if let Some(until) = until {
            text += &format!(" That changes by itself in {}.", span(until - self.now));
        }
        // What the reason says already need not be said twice.
        if let Some(RefusedStart { at, text: why, .. }) = &self.watcher.record.refused
            && !text.contains(why.as_str())
        {
            text += &format!(" A start was refused {} ago: {why}.", span(self.now - at));
        }
        for trouble in self.troubles {
            text += &format!("\n{}", self.trouble(trouble));
        }
        match (crash, self.watcher.cards.commanded()) {
            (Some((card, verdict)), _) => text += &self.crash(card, verdict),
            (None, Some(card)) if *reason != Reason::Running => {
                let verdict = self.judge(card, &LastWords::default());
                text += &format!(
                    "\nIts last process ended {} ago: {}.",
                    span(self.now - card.died),
                    verdict.text
                );
            }
            (None, Some(_) | None) => text += " None of its processes crashed.",
        }
        text
    }

    fn trouble(&self, trouble: &StreamTrouble) -> String {
        let StreamTrouble { feed, error, since, waits, lost_bytes, lost_lines } = trouble;
        let (feed, since) = (feed.name(), span(self.now - since));
        let meanwhile = match (waits, lost_bytes) {
            (true, _) => "who prints waits".to_owned(),
            (false, 0) => "nothing was lost yet".to_owned(),
            (false, bytes) => format!("{bytes} bytes were lost ({lost_lines} line ends)"),
        };
        format!("Its {feed} cannot be written for {since}: {error}; {meanwhile}.")
    }

    fn crash(&self, card: &Card, verdict: &Verdict) -> String {
        let ago = span(self.now - card.died);
        let who = card.pid.map_or(String::new(), |pid| format!(" of process {pid}"));
        let mut text = format!("\nThe last crash{who} was {ago} ago: {}.", verdict.text);
        if card.pid.is_some() {
            text += &format!(" It had lived {}.", span(card.age.as_secs_f64()));
        }
        if card.crashes > 1 {
            text += &format!(" That made {} crashes in {}.", card.crashes, span(WINDOW));
        }
        // Crashes alone are said already.
        if card.restarts + 1 > card.crashes {
            let times =
                if card.restarts == 1 { "once".to_owned() } else { format!("{} times", card.restarts) };
            text += &format!(" Its place had been filled again {times} in the {} before.", span(WINDOW));
        }
        if let Some(usage) = card.usage {
            let most = if usage.max_rss_exact { "up to" } else { "less than" };
            let (memory, cpu) = (usage.max_rss.div_ceil(1024 * 1024), usage.cpu.as_secs_f64());
            text += &format!(" It used {most} {memory} MiB of memory and {cpu:.2} s of CPU.");
        }
        text += &series::sentence(&self.words.figures, card.died);
        match &verdict.evidence {
            Some(line) => text += &format!("\nIts output says: {line}"),
            None => text += &quoted(self.words),
        }
        text
    }
}

fn refused(start: &RefusedStart) -> Value {
    json!({"time": float(start.at), "by": start.by, "reason": start.text})
}

fn told(trouble: &StreamTrouble) -> Value {
    json!({
        "error": trouble.error,
        "since": float(trouble.since),
        "waits": trouble.waits,
        "lost_bytes": trouble.lost_bytes,
        "lost_lines": trouble.lost_lines,
    })
}

/// The last lines, of stderr if there is any.
fn quoted(words: &LastWords) -> String {
    let said = if words.stderr.trim().is_empty() { &words.stdout } else { &words.stderr };
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(QUOTED)..).unwrap_or_default();
    if last.is_empty() {
        return String::new();
    }
    let lines: String = last.iter().map(|line| format!("\n  {line}")).collect();
    format!("\nIts last words:{lines}")
}

fn figures(card: &Card, verdict: &Verdict) -> Map<String, Value> {
    let (status, signal) = match &card.end {
        End::Status(status) => (Some(*status), None),
        End::Signal(signal) => (None, Some(signal_name(*signal))),
        End::Unknown | End::NotStarted { .. } => (None, None),
    };
    let (usage, oom) = (card.usage, card.oom.as_ref());
    let told = json!({
        "verdict": verdict.word,
        "meaning": verdict.text,
        "evidence": verdict.evidence,
        "exit_code": status,
        "signal": signal,
        "core": usage.map(|usage| usage.core),
        "pid": card.pid.map(|pid| pid.get()),
        "wid": card.wid.0,
        "started": float(card.started),
        "died": float(card.died),
        "age": float(card.age.as_secs_f64()),
        "max_rss": usage.map(|usage| usage.max_rss),
        "max_rss_exact": usage.map(|usage| usage.max_rss_exact),
        "cpu": usage.map(|usage| usage.cpu.as_secs_f64()),
        "oom_kills": oom.map(|oom| json!({"tree": oom.tree, "machine": oom.machine})),
        "memory_group": oom.and_then(|oom| oom.group.as_ref()).map(|group| json!({
            "kills": group.kills,
            "limit": group.limit.as_ref().map(|(bytes, _)| bytes),
            "limited_by": group.limit.as_ref().map(|(_, folder)| folder),
            "peak": group.peak,
        })),
        "crashes": card.crashes,
        "restarts": card.restarts,
        "window": WINDOW,
    });
    match told {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// A time for people.
fn span(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.max(0.0) as u64 } else { 0 };
    match whole {
        0..=1 => format!("{:.1} s", seconds.max(0.0)),
        2..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole / 60),
        7200..=172_799 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} days", whole / 86_400),
    }
}
