//! Watcher names on a node: which are meant, which are circus' own helpers, how to name several.

use circus_protocol::service::Membership;
use serde_json::{Map, Value, json};

use crate::cluster::procedure::Verdict;
use crate::inventory::select::{glob, is_glob};
use crate::outcome::NodeState;

/// Prefix of the watchers that the console adds for a moment.
pub const ONESHOT_PREFIX: &str = "circusman-";

/// Watchers that belong to circus itself; addressed only when named.
#[must_use]
pub fn is_helper(name: &str) -> bool {
    let key = name.to_lowercase();
    key == "circusd-stats" || key == "circushttpd" || key.starts_with("plugin:") || is_oneshot(&key)
}

/// A one-shot watcher of some console.
#[must_use]
pub fn is_oneshot(name: &str) -> bool {
    name.to_lowercase().starts_with(ONESHOT_PREFIX)
}

/// A watcher and its state, as `status` told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As configured.
    pub name: String,
    /// `active`, `stopped`, `starting` or `stopping`.
    pub state: String,
}

impl Listed {
    /// Of that name, in a state that does not matter.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), state: String::new() }
    }
}

/// The answer to a `status` without name, in the node's order.
#[must_use]
pub fn listed(reply: &Map<String, Value>) -> Vec<Listed> {
    let statuses = reply.get("statuses").and_then(Value::as_object);
    let pairs = statuses.into_iter().flatten();
    pairs
        .map(|(name, state)| Listed {
            name: name.clone(),
            state: state.as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// Why a node has nothing to be selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unselected {
    /// It was named and there is none; the line says what there is.
    #[error("{0}")]
    Unknown(String),
    /// Only patterns were given and nothing matches them.
    #[error("{0}")]
    NoMatch(String),
}

impl Unselected {
    /// A name that is missing is a refusal; a pattern says which nodes are meant, too.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Unknown(reason) => Verdict::bare(NodeState::Refused, reason),
            Self::NoMatch(reason) => Verdict::bare(NodeState::Skipped, reason),
        }
    }
}

/// Whether this one is meant by a name or pattern; patterns never mean circus' own helpers.
#[must_use]
pub fn is_meant(name: &str, wanted: &str) -> bool {
    let (name_key, wanted_key) = (name.to_lowercase(), wanted.to_lowercase());
    name_key == wanted_key || (is_glob(wanted) && !is_helper(name) && glob(&wanted_key, &name_key))
}

/// Whether any of these is a pattern.
#[must_use]
pub fn any_glob(wanted: &[String]) -> bool {
    wanted.iter().any(|name| is_glob(name))
}

/// Those of `all` that `wanted` names or matches; all but circus' helpers when it names none.
///
/// # Errors
/// Says which name there is not, or that nothing matches.
pub fn select(all: &[Listed], wanted: &[String]) -> Result<Vec<Listed>, Unselected> {
    if wanted.is_empty() {
        return Ok(all.iter().filter(|w| !is_helper(&w.name)).cloned().collect());
    }
    let there = |wanted: &str| all.iter().any(|w| is_meant(&w.name, wanted));
    let missing: Vec<&str> =
        wanted.iter().filter(|name| !is_glob(name) && !there(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(Unselected::Unknown(unknown(all, "no watcher named", &missing)));
    }
    let meant = |w: &&Listed| wanted.iter().any(|name| is_meant(&w.name, name));
    let chosen: Vec<Listed> = all.iter().filter(meant).cloned().collect();
    if chosen.is_empty() {
        let patterns: Vec<&str> = wanted.iter().map(String::as_str).collect();
        return Err(Unselected::NoMatch(unknown(all, "no watcher matches", &patterns)));
    }
    Ok(chosen)
}

fn unknown(all: &[Listed], what: &str, missing: &[&str]) -> String {
    let there: Vec<&str> = all.iter().map(|w| w.name.as_str()).filter(|n| !is_oneshot(n)).collect();
    let there =
        if there.is_empty() { "it has none".to_owned() } else { format!("it has {}", there.join(", ")) };
    format!("{what} {}; {there}", missing.join(", "))
}

/// A regular expression that matches exactly these names, after both sides were lower-cased.
#[must_use]
pub fn alternation(names: &[String]) -> String {
    let escaped: Vec<String> = names.iter().map(|n| escape(&n.to_lowercase())).collect();
    format!("(?:{})$", escaped.join("|"))
}

/// The properties that name exactly these watchers; none of them, when all are meant.
#[must_use]
pub fn named(names: &[String]) -> Map<String, Value> {
    let (name, how) = match names {
        [] => return Map::new(),
        [name] => (json!(name), "simple"),
        several => (json!(alternation(several)), "regex"),
    };
    Map::from_iter([("name".to_owned(), name), ("match".to_owned(), json!(how))])
}

/// The properties that tell a node its place in the cluster.
#[must_use]
pub fn placed(membership: &Membership) -> Map<String, Value> {
    let Membership { identifier, address, cluster, .. } = membership;
    Map::from_iter([
        ("identifier".to_owned(), json!(identifier)),
        ("address".to_owned(), json!(address)),
        ("cluster".to_owned(), json!(cluster)),
    ])
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Listed> {
        let pairs = [
            ("Web", "active"),
            ("circusd-stats", "active"),
            ("plugin:flapping", "active"),
            ("br[1]", "stopped"),
        ];
        pairs.iter().map(|(n, s)| Listed { name: (*n).to_owned(), state: (*s).to_owned() }).collect()
    }

    fn names(list: &[Listed]) -> Vec<&str> {
        list.iter().map(|w| w.name.as_str()).collect()
    }

    #[test]
    fn all_means_not_the_helpers() {
        assert_eq!(names(&select(&all(), &[]).unwrap()), ["Web", "br[1]"]);
    }

    #[test]
    fn a_helper_is_reached_by_name_in_any_case() {
        let chosen = select(&all(), &["CIRCUSD-STATS".to_owned(), "web".to_owned()]).unwrap();
        assert_eq!(names(&chosen), ["Web", "circusd-stats"]);
    }

    #[test]
    fn an_unknown_name_is_told_with_what_there_is() {
        let error = select(&all(), &["wob".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no watcher named wob; it has Web, circusd-stats, plugin:flapping, br[1]"
        );
    }

    #[test]
    fn patterns_match_in_any_case_and_never_the_helpers() {
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            select(&all(), &wanted).map(|list| names(&list).join(" "))
        };
        assert_eq!(chosen(&["w?b"]).as_deref(), Ok("Web"));
        assert_eq!(chosen(&["*"]).as_deref(), Ok("Web br[1]"));
        assert_eq!(chosen(&["x*", "BR*"]).as_deref(), Ok("br[1]"));
        assert_eq!(chosen(&["x*", "plugin:flapping"]).as_deref(), Ok("plugin:flapping"));
        assert!(
            matches!(chosen(&["x*"]), Err(Unselected::NoMatch(reason)) if reason.starts_with("no watcher matches x*; it has Web,"))
        );
        assert!(matches!(chosen(&["x*", "nope"]), Err(Unselected::Unknown(_))));
    }

    #[test]
    fn several_names_become_one_exact_pattern() {
        assert_eq!(alternation(&["Br[1]".to_owned(), "a.b c".to_owned()]), r"(?:br\[1\]|a\.b c)$");
    }
}
