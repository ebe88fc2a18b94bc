//! What a key does to what is selected: which operations on which nodes, the words of a person who
//! would type it, and whether it must be asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::Key;
use crate::figures::Node;
use crate::inventory::fold::{counted, fold};
use crate::outcome::Operation;

/// What can be done to watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Up.
    Start,
    /// Down.
    Stop,
    /// Down and up.
    Restart,
    /// New processes.
    Reload,
}

impl Verb {
    /// As typed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }

    fn operation(self, names: Vec<String>) -> Operation {
        match self {
            Self::Start => Operation::Start { names },
            Self::Stop => Operation::Stop { names },
            Self::Restart => Operation::Restart { names },
            Self::Reload => Operation::Reload { names },
        }
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// What.
    pub operation: Operation,
    /// On which nodes.
    pub targets: Vec<String>,
    /// What one would type in a shell.
    pub command: String,
}

/// What a key would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In this order.
    pub deeds: Vec<Deed>,
    /// In words: `stop web on node[01-03] (3)`.
    pub text: String,
    /// Whether somebody must say yes first. A key is pressed by mistake more easily than a command is
    /// typed, so a stop always asks, too.
    pub asks: bool,
}

/// What `verb` would do to these; `None` when they stand for nothing that is there.
#[must_use]
pub fn plan(verb: Verb, chosen: &BTreeSet<Key>, nodes: &[Node], shell: &str) -> Option<Plan> {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    // An empty set of watchers means all of them, so it swallows the others.
    let whole: BTreeSet<&str> = chosen.iter().filter_map(|key| only_node(key)).collect();
    for key in chosen {
        match key {
            Key::Node(_) => {}
            Key::Watcher(node, watcher) | Key::Process(node, watcher, _) => {
                if let Some(node) = nodes.iter().find(|known| known.name == *node) {
                    wanted.entry(&node.name).or_default().insert(watcher.clone());
                }
            }
            Key::Name(name) => {
                for node in nodes {
                    let named = node.watchers.iter().filter(|watcher| watcher.name.to_lowercase() == *name);
                    for watcher in named {
                        wanted.entry(&node.name).or_default().insert(watcher.name.clone());
                    }
                }
            }
        }
    }
    let mut groups: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    // In the cluster's order, as every list of nodes is.
    for node in nodes {
        let names = match wanted.get(node.name.as_str()) {
            _ if whole.contains(node.name.as_str()) => Vec::new(),
            Some(names) => names.iter().cloned().collect(),
            None => continue,
        };
        groups.entry(names).or_default().push(node.name.clone());
    }
    let deeds: Vec<Deed> = groups.iter().map(|(names, targets)| deed(verb, names, targets, shell)).collect();
    let lone =
        matches!(deeds.as_slice(), [deed] if deed.targets.len() == 1) && !groups.contains_key(&Vec::new());
    let texts: Vec<String> = groups.iter().map(|(names, targets)| words(verb, names, targets)).collect();
    (!deeds.is_empty()).then(|| Plan { text: texts.join("; "), asks: verb == Verb::Stop || !lone, deeds })
}

fn only_node(key: &Key) -> Option<&str> {
    match key {
        Key::Node(name) => Some(name),
        Key::Name(_) | Key::Watcher(..) | Key::Process(..) => None,
    }
}

fn deed(verb: Verb, names: &[String], targets: &[String], shell: &str) -> Deed {
    let mut command = format!("{shell} --on {} {}", quoted(&fold(targets)), verb.word());
    for name in names {
        command.push(' ');
        command.push_str(&quoted(name));
    }
    Deed { operation: verb.operation(names.to_vec()), targets: targets.to_vec(), command }
}

fn words(verb: Verb, names: &[String], targets: &[String]) -> String {
    let what = if names.is_empty() { "all watchers".to_owned() } else { names.join(", ") };
    let place = if targets.len() == 1 { fold(targets) } else { counted(targets) };
    format!("{} {what} on {place}", verb.word())
}

/// A word as a shell takes it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@,+=%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::sample;

    fn told(verb: Verb, chosen: &[Key]) -> Option<(Vec<String>, String, bool)> {
        let chosen = chosen.iter().cloned().collect();
        let plan = plan(verb, &chosen, &sample(), "circusman")?;
        Some((plan.deeds.into_iter().map(|deed| deed.command).collect(), plan.text, plan.asks))
    }

    fn watcher(node: &str, name: &str) -> Key {
        Key::Watcher(node.to_owned(), name.to_owned())
    }

    #[test]
    fn one_watcher_of_one_node_is_restarted_without_a_question() {
        let (commands, text, asks) = told(Verb::Restart, &[watcher("node01", "db")]).expect("a plan");
        assert_eq!(commands, ["circusman --on node01 restart db"]);
        assert_eq!((text.as_str(), asks), ("restart db on node01", false));
        assert!(told(Verb::Stop, &[watcher("node01", "db")]).expect("a plan").2);
        assert!(told(Verb::Start, &[Key::Node("node01".into())]).expect("a plan").2, "all of its watchers");
    }

    #[test]
    fn equal_wishes_are_one_command() {
        let (commands, text, asks) =
            told(Verb::Stop, &[watcher("node02", "web"), watcher("node01", "web")]).expect("a plan");
        assert_eq!(commands, ["circusman --on 'node[01-02]' stop web"]);
        assert_eq!((text.as_str(), asks), ("stop web on node[01-02] (2)", true));
        assert_eq!(told(Verb::Stop, &[Key::Name("web".into())]).expect("a plan").0, commands);
    }

    #[test]
    fn unequal_wishes_are_several_commands() {
        let chosen = [
            watcher("node01", "db"),
            watcher("node02", "web"),
            Key::Node("node02".into()),
            watcher("gone", "x"),
        ];
        let (commands, ..) = told(Verb::Reload, &chosen).expect("a plan");
        assert_eq!(commands, ["circusman --on node02 reload", "circusman --on node01 reload db"]);
        assert_eq!(told(Verb::Reload, &[watcher("gone", "x")]), None);
        assert_eq!(told(Verb::Reload, &[]), None);
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("node[01-02].lab"), "'node[01-02].lab'");
        assert_eq!(
            (quoted("it's"), quoted("a.b-c"), quoted("")),
            (r"'it'\''s'".into(), "a.b-c".into(), "''".into())
        );
    }
}
