//! From what a node tells about a watcher to the links of its chain: wanted, order, start, process,
//! ready. The first broken one says what to do.

use circus_protocol::json::as_float;
use serde_json::{Map, Value};

use crate::cluster::chain::{Link, broken};

/// So many crashes in a card's window mean that it does not stay up, even while it runs.
const MANY_CRASHES: u64 = 3;
/// Unless the last one is longer ago, in seconds.
const RECENT: f64 = 120.0;

/// The watcher's place, for the remedies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) watcher: &'a str,
    pub(super) node: &'a str,
}

impl Place<'_> {
    /// A command about this watcher on this node.
    pub(super) fn command(&self, verb: &str) -> String {
        format!("circusman {verb} {} --on {}", self.watcher, self.node)
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    map.get(key).and_then(|value| match value {
        Value::Number(number) => as_float(number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// What a circusd-rs tells about a watcher (its answer to `why`), `now` by its own clock.
pub(super) fn native(place: Place<'_>, story: &Map<String, Value>, now: f64) -> Vec<Link> {
    let (cause, reason) = (text(story, "cause"), text(story, "reason"));
    let mut links = Vec::new();
    for step in [wanted, order, start, process] {
        let link = step(place, story, cause, reason, now);
        links.extend(link);
        if broken(&links).is_some() {
            return links;
        }
    }
    links.push(ready(place, story, cause));
    links
}

fn wanted(place: Place<'_>, story: &Map<String, Value>, cause: &str, reason: &str, now: f64) -> Option<Link> {
    let start = || place.command("start");
    // Somebody wanted it up, and was refused.
    if let ("not-started" | "asked", Some(refused)) =
        (cause, story.get("refused_start").and_then(Value::as_object))
    {
        let ago = number(refused, "time").map_or(String::new(), |at| format!(" {} ago", span(now - at)));
        let said = format!("{reason}; a start was refused{ago}: {}", text(refused, "reason"));
        let stop = Place { watcher: text(refused, "by"), ..place }.command("stop");
        return Some(Link::broken("wanted", said, format!("{stop}; then {}", start())));
    }
    Some(match cause {
        "not-started" => Link::broken("wanted", reason, start()),
        "asked" => Link::broken("wanted", format!("it is stopped: {reason}"), start()),
        "no-processes" => {
            let more = format!("circusman call incr name={} --on {}", place.watcher, place.node);
            Link::broken("wanted", reason, format!("{more}, or set numprocesses in its ini"))
        }
        _ => Link::whole("wanted", "it shall run"),
    })
}

fn order(place: Place<'_>, _: &Map<String, Value>, cause: &str, reason: &str, _: f64) -> Option<Link> {
    match cause {
        "conflict" => Some(Link::broken("order", reason, "stop the other one first")),
        "order" => {
            let other = dependency(reason).unwrap_or("the other one");
            let remedy = Place { watcher: other, ..place }.command("why");
            Some(Link::broken("order", reason, remedy))
        }
        _ => None,
    }
}

/// Who is waited for, in the daemon's words.
pub(super) fn dependency(reason: &str) -> Option<&str> {
    let rest = reason.strip_prefix("waits for ").or_else(|| reason.strip_prefix("stops when "))?;
    rest.split([':', ' ']).next().filter(|name| !name.is_empty())
}

fn start(place: Place<'_>, story: &Map<String, Value>, cause: &str, reason: &str, _: f64) -> Option<Link> {
    let crash = story.get("crash").and_then(Value::as_object);
    match cause {
        "retry" | "unstartable" => {
            let why = crash.map(|crash| text(crash, "meaning")).filter(|meaning| !meaning.is_empty());
            let remedy = remedy(place, crash.map(|crash| text(crash, "verdict")).unwrap_or_default());
            Some(Link::broken("start", why.unwrap_or(reason), remedy))
        }
        "broken" => {
            Some(Link::broken("start", reason, "correct its ini, then `circusman call reloadconfig`"))
        }
        "refused" => Some(Link::broken("start", reason, "see what the hook writes into the daemon's log")),
        "hook" => Some(Link::broken("start", reason, "the hook hangs, or takes long; see the daemon's log")),
        "held" | "turn" | "spawning" | "warmup" | "demand" => Some(Link::odd("start", reason, "")),
        _ => None,
    }
}

/// What a crash was, in one line: what it means, and what shows it.
pub(in crate::cluster) fn judged(crash: &Map<String, Value>) -> String {
    let mut said = text(crash, "meaning").to_owned();
    let evidence = text(crash, "evidence");
    if !evidence.is_empty() {
        said += &format!(" (its output says: {evidence})");
    }
    said
}

fn process(
    place: Place<'_>,
    story: &Map<String, Value>,
    cause: &str,
    reason: &str,
    now: f64,
) -> Option<Link> {
    let crash = story.get("crash").and_then(Value::as_object);
    let fallen = |reason: &str| {
        let said = crash.map(judged).filter(|said| !said.is_empty());
        let said = said.map_or(reason.to_owned(), |said| format!("{reason}; {said}"));
        Link::broken("process", said, remedy(place, crash.map(|c| text(c, "verdict")).unwrap_or_default()))
    };
    match cause {
        "backoff" | "start-limit" => Some(fallen(reason)),
        "finished" => {
            let again = format!("{}; or respawn = True in its ini", place.command("start"));
            Some(Link::broken("process", reason, again))
        }
        "ending" => Some(Link::odd("process", reason, "")),
        "running" | "reloading" => {
            let Some(crash) = crash else { return Some(Link::whole("process", reason)) };
            let crashes = crash.get("crashes").and_then(Value::as_u64).unwrap_or_default();
            let ago = number(crash, "died").map(|died| now - died);
            if crashes >= MANY_CRASHES && ago.is_some_and(|ago| ago < RECENT) {
                return Some(fallen(&format!("it does not stay up: {crashes} crashes lately")));
            }
            let ago = ago.map_or(String::new(), |ago| format!(" {} ago", span(ago)));
            Some(Link::odd("process", format!("{reason}; it crashed{ago}: {}", judged(crash)), ""))
        }
        _ => None,
    }
}

fn ready(place: Place<'_>, story: &Map<String, Value>, cause: &str) -> Link {
    let readiness = story.get("ready").and_then(Value::as_object);
    let Some(readiness) = readiness else { return Link::whole("ready", text(story, "state")) };
    let (state, detail) = (text(readiness, "state"), text(readiness, "detail"));
    let said = if detail.is_empty() { state.to_owned() } else { format!("{state}: {detail}") };
    if readiness.get("ready").and_then(Value::as_bool) == Some(true) {
        return Link::whole("ready", said);
    }
    match cause {
        "running" => {
            let remedy = format!("its probe does not succeed; {}", place.command("logs"));
            Link::broken("ready", said, remedy)
        }
        // It changes by itself, or something in front of it is broken.
        _ => Link::odd("ready", said, ""),
    }
}

/// What helps against a death, by the daemon's word for it.
fn remedy(place: Place<'_>, verdict: &str) -> String {
    let what = match verdict {
        "port-in-use" => "find who listens there (`ss -ltnp`) and stop it, or give one of them another port",
        "out-of-memory" | "no-memory" => "give it less to hold, or the machine more memory",
        "java-out-of-memory" => "raise its -Xmx",
        "disk-full" => "make room on the disk",
        "too-many-files" => "raise rlimit_nofile",
        "not-found" | "missing-file" | "missing-library" | "no-interpreter" => {
            "install what is missing, or correct cmd, PATH and working_dir"
        }
        "no-directory" => "make the directory, or correct working_dir",
        "not-executable" | "not-permitted" | "read-only" => "correct owner and permissions, or uid",
        "no-address" => "give it an address of this node: circusman configure",
        "wrong-java" => "install a newer Java, or correct JAVA_HOME",
        "no-user" => "make the user, or correct uid and gid",
        "ended-from-outside" | "killed-from-outside" => "find who sends it signals",
        _ => "",
    };
    let logs = place.command("logs");
    if what.is_empty() {
        format!("{logs} --source stderr")
    } else {
        format!("{what}; then {}", place.command("start"))
    }
}

/// A time for people.
fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        short if short < 120.0 => format!("{short:.0} s"),
        long if long < 7200.0 => format!("{:.0} min", long / 60.0),
        long => format!("{:.1} h", long / 3600.0),
    }
}

/// What stock tells about a watcher: its state, its options, and the figures of its processes.
pub(super) fn stock(
    place: Place<'_>,
    state: &str,
    options: &Map<String, Value>,
    processes: &Map<String, Value>,
) -> Vec<Link> {
    let start = || place.command("start");
    let stays = options.get("numprocesses").and_then(Value::as_i64) != Some(0);
    let alive = processes.values().filter_map(Value::as_object);
    let youngest = alive.filter_map(|figures| number(figures, "age")).reduce(f64::min);
    let wanted = Link::whole("wanted", format!("it is {state}"));
    match (state, youngest) {
        ("stopped", _) => {
            let text = "it is stopped; a stock circusd does not tell whether by a command, by autostart = \
                        False, or because it gave up";
            vec![Link::broken("wanted", text, start())]
        }
        ("active", None) if !stays => {
            let more = format!("circusman call incr name={} --on {}", place.watcher, place.node);
            vec![Link::broken("wanted", "numprocesses is 0", more)]
        }
        ("active", None) => {
            let cmd = text(options, "cmd");
            let said = format!("it is active without a process: {cmd} ends at once, or cannot be started");
            vec![wanted, Link::broken("process", said, "run it by hand on the node, and see circusd's log")]
        }
        ("active", Some(age)) if age < 2.0 => {
            let said =
                format!("its youngest process is {age:.1} s old: just started, or it dies again and again");
            vec![wanted, Link::odd("process", said, "ask again; if it stays young, it does not stay up")]
        }
        ("active", Some(age)) => {
            vec![
                wanted,
                Link::whole(
                    "process",
                    format!("{} running, the youngest for {}", processes.len(), span(age)),
                ),
            ]
        }
        (other, _) => vec![Link::odd("wanted", format!("it is {other}"), "ask again in a moment")],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::chain::State;

    const PLACE: Place<'_> = Place { watcher: "web", node: "n1" };

    fn judged(story: Value) -> (String, String, String) {
        let links = native(PLACE, story.as_object().expect("an object"), 1000.0);
        let first = broken(&links).map(|link| (link.name.to_owned(), link.text.clone(), link.remedy.clone()));
        first.unwrap_or_default()
    }

    #[test]
    fn each_cause_breaks_its_link() {
        for (cause, reason, link, part) in [
            ("asked", "stop wanted it down", "wanted", "circusman start web --on n1"),
            ("not-started", "it was not started yet", "wanted", "start web"),
            ("no-processes", "numprocesses is 0", "wanted", "call incr name=web"),
            ("order", "waits for db:joined, which is up", "order", "circusman why db --on n1"),
            ("conflict", "'web' is in conflict with 'db', which runs", "order", "stop the other"),
            ("broken", "it cannot be started: x", "start", "reloadconfig"),
            ("hook", "the hook before_start has not returned yet", "start", "hangs"),
            ("backoff", "its process died young 2 times in a row", "process", "logs web"),
            ("finished", "its processes are done", "process", "respawn"),
        ] {
            let found = judged(json!({"cause": cause, "reason": reason, "crash": null}));
            assert_eq!(found.0, link, "{cause}: {found:?}");
            assert!(found.2.contains(part), "{cause}: {found:?}");
        }
    }

    #[test]
    fn a_refused_start_names_who_was_in_the_way() {
        let refused =
            json!({"time": 910.0, "by": "db", "reason": "'web' is in conflict with 'db', which runs"});
        let (link, text, remedy) = judged(json!({
            "cause": "not-started", "reason": "it was not started yet", "crash": null, "refused_start": refused,
        }));
        assert_eq!(
            (link.as_str(), text.as_str()),
            (
                "wanted",
                "it was not started yet; a start was refused 90 s ago: 'web' is in conflict with 'db', which runs"
            )
        );
        assert_eq!(remedy, "circusman stop db --on n1; then circusman start web --on n1");
    }

    #[test]
    fn a_crash_says_what_to_do() {
        let crash = json!({"verdict": "port-in-use", "meaning": "it ended with status 1: taken",
                           "evidence": "Address already in use", "died": 990.0, "crashes": 4});
        let (link, text, remedy) =
            judged(json!({"cause": "start-limit", "reason": "too often", "crash": crash}));
        assert_eq!(link, "process");
        assert_eq!(
            text,
            "too often; it ended with status 1: taken (its output says: Address already in use)"
        );
        assert!(remedy.contains("ss -ltnp"), "{remedy}");
        let (link, text, _) = judged(json!({"cause": "running", "reason": "it runs", "crash": crash}));
        assert_eq!((link.as_str(), text.contains("4 crashes")), ("process", true), "{text}");
        let mut old = crash;
        old["died"] = json!(10.0);
        let story = json!({"cause": "running", "reason": "it runs", "crash": old, "ready": {"state": "up", "ready": true}});
        let links = native(PLACE, story.as_object().expect("an object"), 1000.0);
        assert!(broken(&links).is_none() && links.iter().any(|link| link.state == State::Odd), "{links:?}");
    }

    #[test]
    fn a_probe_that_fails_is_the_last_link() {
        let (link, text, _) = judged(json!({"cause": "running", "reason": "it runs", "crash": null,
            "ready": {"state": "starting", "ready": false, "detail": "tcp 1.2.3.4:5 refused"}}));
        assert_eq!((link.as_str(), text.as_str()), ("ready", "starting: tcp 1.2.3.4:5 refused"));
    }

    #[test]
    fn stock_tells_less() {
        let options = json!({"cmd": "x", "numprocesses": 1});
        let options = options.as_object().expect("an object");
        let ask = |state: &str, processes: Value| {
            let processes = processes.as_object().cloned().unwrap_or_default();
            let links = stock(PLACE, state, options, &processes);
            broken(&links).map(|link| link.name)
        };
        assert_eq!(ask("stopped", json!({})), Some("wanted"));
        assert_eq!(ask("active", json!({})), Some("process"));
        assert_eq!(ask("active", json!({"7": {"age": 60.0}})), None);
        assert_eq!(ask("active", json!({"7": "No such process"})), Some("process"));
    }
}
