//! Watcher names on a node: which are meant, which are circus' own helpers, how to name several.

use serde_json::{Map, Value};

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

/// Those of `all` that `wanted` names; all but circus' helpers when it names none.
///
/// # Errors
/// The line that says which name there is not.
pub fn select(all: &[Listed], wanted: &[String]) -> Result<Vec<Listed>, String> {
    if wanted.is_empty() {
        return Ok(all.iter().filter(|w| !is_helper(&w.name)).cloned().collect());
    }
    let key = |name: &str| name.to_lowercase();
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|name| !all.iter().any(|w| key(&w.name) == key(name)))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(unknown(all, &missing));
    }
    Ok(all.iter().filter(|w| wanted.iter().any(|name| key(name) == key(&w.name))).cloned().collect())
}

fn unknown(all: &[Listed], missing: &[&str]) -> String {
    let there: Vec<&str> = all.iter().map(|w| w.name.as_str()).filter(|n| !is_oneshot(n)).collect();
    let there =
        if there.is_empty() { "it has none".to_owned() } else { format!("it has {}", there.join(", ")) };
    format!("no watcher named {}; {there}", missing.join(", "))
}

/// A regular expression that matches exactly these names, after both sides were lower-cased.
#[must_use]
pub fn alternation(names: &[String]) -> String {
    let escaped: Vec<String> = names.iter().map(|n| escape(&n.to_lowercase())).collect();
    format!("(?:{})$", escaped.join("|"))
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
        assert_eq!(error, "no watcher named wob; it has Web, circusd-stats, plugin:flapping, br[1]");
    }

    #[test]
    fn several_names_become_one_exact_pattern() {
        assert_eq!(alternation(&["Br[1]".to_owned(), "a.b c".to_owned()]), r"(?:br\[1\]|a\.b c)$");
    }
}
