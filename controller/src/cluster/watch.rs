//! What a node tells about its watchers, applied to what is known of them. Each function returns the
//! changes, in order; what did not change stays the same allocation, so that views share it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::event::{Event, EventKind};
use circus_protocol::name::WatcherName;
use circus_protocol::readiness::ReadyState;
use serde_json::{Map, Value};

use crate::cluster::names::{is_oneshot, listed};
use crate::cluster::view::{Change, ProcessView, ReadyView, Status, WatcherView};

/// A node's watchers, as views hold them.
pub type Watchers = Arc<BTreeMap<Arc<str>, Arc<WatcherView>>>;

/// What events tell that no view needs: which processes were told to end, and which died unreplaced.
#[derive(Debug, Default)]
pub struct Track {
    doomed: BTreeSet<(Arc<str>, i32)>,
    gaps: BTreeMap<Arc<str>, u32>,
}

impl Track {
    /// Events were missed: nothing is known for certain.
    pub fn clear(&mut self) {
        self.doomed.clear();
        self.gaps.clear();
    }
}

fn fresh(status: Status, at: Duration) -> WatcherView {
    WatcherView {
        status,
        numprocesses: None,
        ready: None,
        processes: BTreeMap::new(),
        restarts: 0,
        changed: at,
    }
}

/// The answer to `status`: which watchers there are, and how each stands.
pub fn statuses(watchers: &mut Watchers, reply: &Map<String, Value>, at: Duration) -> Vec<Change> {
    let mut changes = Vec::new();
    let told: BTreeMap<String, Status> = listed(reply)
        .into_iter()
        .filter(|watcher| !is_oneshot(&watcher.name))
        .map(|watcher| (watcher.name, Status::from_word(&watcher.state)))
        .collect();
    let gone: Vec<Arc<str>> = watchers.keys().filter(|name| !told.contains_key(&***name)).cloned().collect();
    for watcher in gone {
        let before = Arc::make_mut(watchers).remove(&watcher);
        changes.push(Change::Status { watcher, from: before.map(|known| known.status), to: None });
    }
    for (name, status) in told {
        changes.extend(status_of(watchers, &name, status, at));
    }
    changes
}

fn status_of(watchers: &mut Watchers, name: &str, status: Status, at: Duration) -> Option<Change> {
    let known = watchers.get_key_value(name).map(|(name, known)| (name.clone(), known.status));
    let (watcher, from) = match known {
        Some((_, before)) if before == status => return None,
        Some((watcher, before)) => (watcher, Some(before)),
        None => (Arc::from(name), None),
    };
    let all = Arc::make_mut(watchers);
    let known = Arc::make_mut(all.entry(watcher.clone()).or_insert_with(|| Arc::new(fresh(status, at))));
    known.status = status;
    known.changed = at;
    if status == Status::Stopped {
        known.processes.clear();
    }
    Some(Change::Status { watcher, from, to: Some(status) })
}

/// The answer to `ready`.
pub fn readiness(watchers: &mut Watchers, reply: &Map<String, Value>, at: Duration) -> Vec<Change> {
    let told = reply.get("watchers").and_then(Value::as_object).into_iter().flatten();
    let mut changes = Vec::new();
    for (name, said) in told {
        let word = said.get("state").and_then(Value::as_str).and_then(ReadyState::from_word);
        let Some(state) = word else { continue };
        let ready = said.get("ready").and_then(Value::as_bool).unwrap_or(false);
        let detail = said.get("detail").and_then(Value::as_str).unwrap_or_default();
        // What is told for the first time is how things are, not a change.
        let known = watchers.get(name.as_str()).is_some_and(|known| known.ready.is_some());
        changes.extend(ready_of(watchers, name, state, ready, detail, at).filter(|_| known));
    }
    changes
}

fn ready_of(
    watchers: &mut Watchers,
    name: &str,
    state: ReadyState,
    ready: bool,
    detail: &str,
    at: Duration,
) -> Option<Change> {
    let (watcher, known) = watchers.get_key_value(name)?;
    let watcher = watcher.clone();
    let from = known.ready.as_ref().map(|known| known.state);
    if known.ready.as_ref().is_some_and(|k| k.state == state && k.ready == ready && &*k.detail == detail) {
        return None;
    }
    let since = known.ready.as_ref().filter(|known| known.state == state).map_or(at, |known| known.since);
    let known = Arc::make_mut(Arc::make_mut(watchers).get_mut(&watcher)?);
    known.ready = Some(ReadyView { state, ready, detail: detail.into(), since });
    if from == Some(state) {
        return None;
    }
    known.changed = at;
    Some(Change::Ready { watcher, from, to: state, detail: detail.into() })
}

/// The answer to `stats` of all watchers: the processes there are, and their figures.
pub fn figures(watchers: &mut Watchers, reply: &Map<String, Value>, at: Duration) {
    for (name, processes) in reply.get("infos").and_then(Value::as_object).into_iter().flatten() {
        let Some(processes) = processes.as_object() else { continue };
        let told: BTreeMap<i32, ProcessView> = processes
            .iter()
            .filter_map(|(pid, figures)| Some((pid.parse().ok()?, process(figures.as_object()?, at))))
            .collect();
        if watchers.get(name.as_str()).is_none_or(|known| known.processes == told) {
            continue;
        }
        if let Some(known) = Arc::make_mut(watchers).get_mut(name.as_str()) {
            Arc::make_mut(known).processes = told;
        }
    }
}

fn process(figures: &Map<String, Value>, at: Duration) -> ProcessView {
    let number = |key: &str| figures.get(key).and_then(Value::as_f64).filter(|number| number.is_finite());
    let age = number("age").and_then(|age| Duration::try_from_secs_f64(age).ok());
    // Either daemon says `N/A` where it knows nothing.
    ProcessView {
        born: age.map(|age| at.saturating_sub(age)),
        cpu: number("cpu"),
        memory: figures.get("mem_info1").and_then(Value::as_str).and_then(memory).map(|bytes| bytes as u64),
    }
}

/// circus' own text of a size, `1.71M` or `512B`, as a number of bytes.
#[must_use]
pub fn memory(text: &str) -> Option<f64> {
    let unit = text.chars().last()?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let power = "BKMGTPEZY".find(unit)?;
    Some(number * 1024_f64.powi(i32::try_from(power).ok()?))
}

/// An event: what changed by it, and whether the whole should be asked for once more, because the
/// event says less than there is to know.
pub fn event(watchers: &mut Watchers, track: &mut Track, event: &Event, at: Duration) -> (Vec<Change>, bool) {
    let Some(watcher) = find(watchers, &event.watcher) else {
        return (Vec::new(), !is_oneshot(&event.watcher));
    };
    let note = |text: String| (vec![Change::Note { watcher: watcher.clone(), text }], false);
    match &event.kind {
        EventKind::Start => (status_of(watchers, &watcher, Status::Active, at).into_iter().collect(), true),
        EventKind::Stop => {
            track.doomed.retain(|(name, _)| *name != watcher);
            track.gaps.remove(&watcher);
            (status_of(watchers, &watcher, Status::Stopped, at).into_iter().collect(), true)
        }
        EventKind::Kill { pid } => {
            track.doomed.insert((watcher, pid.get()));
            (Vec::new(), false)
        }
        EventKind::Spawn { pid } => {
            let again = track.gaps.get_mut(&watcher).is_some_and(|gaps| std::mem::take(gaps) > 0);
            let born = Duration::try_from_secs_f64(event.time).ok().map(|_| at);
            change(watchers, &watcher, at, |known| {
                known.processes.insert(pid.get(), ProcessView { born, ..ProcessView::default() });
                known.restarts += u64::from(again);
            });
            (vec![Change::Spawned { watcher, pid: pid.get(), again }], true)
        }
        EventKind::Reap { pid, exit_code } => {
            let wanted = track.doomed.remove(&(watcher.clone(), pid.get()));
            if !wanted {
                *track.gaps.entry(watcher.clone()).or_default() += 1;
            }
            change(watchers, &watcher, at, |known| {
                known.processes.remove(&pid.get());
            });
            (vec![Change::Died { watcher, pid: pid.get(), code: *exit_code, wanted }], true)
        }
        EventKind::Ready { state, ready, detail } => {
            (ready_of(watchers, &watcher, *state, *ready, detail, at).into_iter().collect(), false)
        }
        EventKind::HookFailure { name, error } => note(format!("hook {name} failed: {error}")),
        EventKind::Waiting { why, .. } => note(format!("its start waits: {why}")),
        EventKind::Output { stream, error: Some(error), .. } => {
            note(format!("what it prints on {stream} cannot be written: {error}"))
        }
        EventKind::Output { stream, error: None, lost_bytes, .. } => {
            note(format!("what it prints on {stream} is written again; {lost_bytes} bytes were lost"))
        }
        EventKind::Add | EventKind::Remove | EventKind::Reload => (Vec::new(), true),
        EventKind::Updated | EventKind::HookSuccess { .. } => (Vec::new(), false),
    }
}

fn change(watchers: &mut Watchers, name: &Arc<str>, at: Duration, act: impl FnOnce(&mut WatcherView)) {
    if let Some(known) = Arc::make_mut(watchers).get_mut(name) {
        let known = Arc::make_mut(known);
        act(known);
        known.changed = at;
    }
}

/// The watcher whose events come under this name, which is another spelling of its own.
fn find(watchers: &Watchers, topic: &str) -> Option<Arc<str>> {
    if let Some((name, _)) = watchers.get_key_value(topic) {
        return Some(name.clone());
    }
    watchers.keys().find(|name| WatcherName::new(name).topic() == topic).cloned()
}

#[cfg(test)]
mod tests {
    use circus_protocol::number::Pid;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn started() -> Watchers {
        let mut watchers = Watchers::default();
        let reply = object(json!({"statuses": {"Two Words": "active", "web": "stopped"}}));
        assert_eq!(statuses(&mut watchers, &reply, Duration::ZERO).len(), 2);
        watchers
    }

    fn lines(changes: Vec<Change>) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    fn told(watchers: &mut Watchers, track: &mut Track, name: &str, kind: EventKind) -> Vec<String> {
        let event = Event { watcher: name.to_owned(), time: 5.0, kind };
        lines(super::event(watchers, track, &event, Duration::from_secs(9)).0)
    }

    #[test]
    fn only_what_changed_is_told_and_copied() {
        let mut watchers = started();
        let before = watchers.clone();
        let same = object(json!({"statuses": {"web": "stopped", "Two Words": "active"}}));
        assert_eq!(statuses(&mut watchers, &same, Duration::from_secs(1)), []);
        assert!(Arc::ptr_eq(&before, &watchers));
        let other = object(json!({"statuses": {"web": "active", "circusman-reset-1-2": "active"}}));
        let changes = statuses(&mut watchers, &other, Duration::from_secs(1));
        assert_eq!(lines(changes), ["Two Words: removed", "web: active (was stopped)"]);
        assert_eq!(watchers.len(), 1);
        assert_eq!(watchers["web"].changed, Duration::from_secs(1));
    }

    #[test]
    fn a_death_and_its_successor_are_a_restart() {
        let (mut watchers, mut track) = (started(), Track::default());
        let pid = |number| Pid::new(number).unwrap();
        let mut tell = |kind| told(&mut watchers, &mut track, "two_words", kind);
        assert_eq!(tell(EventKind::Spawn { pid: pid(7) }), ["Two Words: process 7 started"]);
        assert_eq!(
            tell(EventKind::Reap { pid: pid(7), exit_code: Some(-9) }),
            ["Two Words: process 7 died: SIGKILL"]
        );
        assert_eq!(
            tell(EventKind::Spawn { pid: pid(8) }),
            ["Two Words: process 8 started in place of one that died"]
        );
        // Told to end: no death, and its successor replaces nobody who died.
        assert!(tell(EventKind::Kill { pid: pid(8) }).is_empty());
        assert_eq!(tell(EventKind::Reap { pid: pid(8), exit_code: None }), ["Two Words: process 8 ended"]);
        assert_eq!(tell(EventKind::Spawn { pid: pid(9) }), ["Two Words: process 9 started"]);
        assert_eq!(watchers["Two Words"].restarts, 1);
        assert_eq!(watchers["Two Words"].processes.keys().collect::<Vec<_>>(), [&9]);
    }

    #[test]
    fn figures_and_readiness_are_kept() {
        let mut watchers = started();
        let reply =
            object(json!({"infos": {"Two Words": {"7": {"cpu": 1.5, "age": 3.0, "mem_info1": "2.00M"},
            "x": 1}, "unknown": {"1": {}}}}));
        figures(&mut watchers, &reply, Duration::from_secs(10));
        let born = Some(Duration::from_secs(7));
        let expected = ProcessView { born, cpu: Some(1.5), memory: Some(2 << 20) };
        assert_eq!(watchers["Two Words"].processes, BTreeMap::from([(7, expected)]));
        let up = object(json!({"watchers": {"web": {"state": "up", "ready": true, "detail": ""}}}));
        assert!(readiness(&mut watchers, &up, Duration::ZERO).is_empty());
        assert_eq!(watchers["web"].ready.as_ref().map(|ready| ready.state), Some(ReadyState::Up));
        let joined = object(json!({"watchers": {"web": {"state": "joined", "ready": true, "detail": ""}}}));
        assert_eq!(lines(readiness(&mut watchers, &joined, Duration::ZERO)), ["web: joined (was up)"]);
        readiness(&mut watchers, &up, Duration::ZERO);
        let kind = EventKind::Ready { state: ReadyState::Failed, ready: false, detail: "no port".into() };
        assert_eq!(
            told(&mut watchers, &mut Track::default(), "web", kind),
            ["web: failed (was up): no port"]
        );
    }

    proptest! {
        #[test]
        fn whatever_a_node_says_does_no_harm(text in "[{}\\[\\]\":,a-z0-9.-]{0,60}") {
            let mut watchers = started();
            for key in ["statuses", "watchers", "infos"] {
                let value: Value = serde_json::from_str(&text).unwrap_or(json!({ "web": text }));
                let reply = object(json!({ key: value }));
                let _changes = statuses(&mut watchers, &reply, Duration::ZERO);
                let _changes = readiness(&mut watchers, &reply, Duration::ZERO);
                figures(&mut watchers, &reply, Duration::ZERO);
            }
            let _bytes = memory(&text);
        }
    }
}
