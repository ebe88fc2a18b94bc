//! What the Tab key offers: commands, their options, watchers, and nodes where nodes are meant.
//!
//! Candidates come from the same definition that parses the line. Asks nobody: what is known of the
//! cluster is handed in.

use clap::Command;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

/// What is known of the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Names of its nodes.
    pub(super) nodes: Vec<String>,
    /// Names of watchers seen so far.
    pub(super) watchers: Vec<String>,
}

/// Options whose values are nodes.
const NODES: [&str; 2] = ["--on", "--not-on"];
/// As many candidates as are offered at once.
const MAX_OFFERED: usize = 200;

/// The line editor's helper.
pub struct Prompter {
    command: Command,
    known: Known,
}

impl Prompter {
    pub(super) fn new(mut command: Command, known: Known) -> Self {
        command.build();
        Self { command, known }
    }

    /// Where the word under the cursor begins, and what it could become.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = line.get(..position).unwrap_or(line);
        let start = before.rfind([' ', '\t']).map_or(0, |at| at + 1);
        let word = before.get(start..).unwrap_or_default();
        let previous: Vec<&str> = before.get(..start).unwrap_or_default().split_whitespace().collect();
        let verb = previous.iter().find_map(|word| self.command.find_subcommand(word));
        // Verbs of a verb: `cluster add`.
        let deed = verb.and_then(|verb| previous.iter().find_map(|word| verb.find_subcommand(word)));
        let verb = deed.or(verb);
        let removes = deed.is_some_and(|deed| deed.get_name() == "remove") && !word.starts_with("--");
        let wants_node = previous.last().is_some_and(|word| NODES.contains(word)) || removes;
        let joined = word.split_once('=').filter(|(option, _)| NODES.contains(option));
        let (start, word) = joined.map_or((start, word), |(option, node)| (start + option.len() + 1, node));
        let offer = match verb {
            _ if wants_node || joined.is_some() => return self.nodes(start, word),
            None => self.verbs(),
            Some(verb) if word.starts_with('-') => options(verb),
            Some(verb) if verb.get_name() == "help" => self.verbs(),
            Some(verb) => self.arguments(verb),
        };
        (start, matching(offer, word))
    }

    fn verbs(&self) -> Vec<String> {
        let shown = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let names = shown.flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()));
        names.map(str::to_owned).collect()
    }

    /// Values that a positional argument can only have, or watchers where names are wanted.
    fn arguments(&self, verb: &Command) -> Vec<String> {
        let values = verb.get_positionals().flat_map(clap::Arg::get_possible_values);
        let mut offer: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        offer.extend(verb.get_subcommands().map(|deed| deed.get_name().to_owned()));
        if verb.get_positionals().any(|arg| ["names", "services"].contains(&arg.get_id().as_str())) {
            offer.extend(self.known.watchers.iter().cloned());
        }
        offer
    }

    /// The part after the last comma.
    fn nodes(&self, start: usize, word: &str) -> (usize, Vec<String>) {
        let last = word.rfind(',').map_or(0, |at| at + 1);
        (start + last, matching(self.known.nodes.clone(), word.get(last..).unwrap_or_default()))
    }
}

fn options(verb: &Command) -> Vec<String> {
    let shown = verb.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect()
}

fn matching(mut offer: Vec<String>, word: &str) -> Vec<String> {
    offer.retain(|candidate| candidate.starts_with(word));
    offer.sort();
    offer.dedup();
    offer.truncate(MAX_OFFERED);
    offer
}

impl Completer for Prompter {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _ctx: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, offer) = self.candidates(line, pos);
        let only = offer.len() == 1;
        let pair = |text: String| Pair {
            replacement: if only { format!("{text} ") } else { text.clone() },
            display: text,
        };
        Ok((start, offer.into_iter().map(pair).collect()))
    }
}

impl Hinter for Prompter {
    type Hint = String;
}

impl Highlighter for Prompter {}
impl Validator for Prompter {}
impl Helper for Prompter {}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(line: &str) -> String {
        let known = Known {
            nodes: vec!["node1".to_owned(), "node2".to_owned()],
            watchers: vec!["neo4j".to_owned(), "titan".to_owned()],
        };
        let (start, offer) = Prompter::new(super::super::command(), known).candidates(line, line.len());
        format!("{start}:{}", offer.join(" "))
    }

    #[test]
    fn offers_what_fits() {
        assert_eq!(offer("sta"), "0:start stats status");
        assert_eq!(offer("start "), "6:neo4j titan");
        assert_eq!(offer("start n"), "6:neo4j");
        assert_eq!(offer("reset d"), "6:data");
        assert_eq!(offer("clear l"), "6:log");
        assert_eq!(offer("reset --d"), "6:--dry-run");
        assert_eq!(offer("stop --on node1,n"), "16:node1 node2");
        assert_eq!(offer("--on=node2"), "5:node2");
        assert_eq!(offer("stop --not-on n"), "14:node1 node2");
        assert_eq!(offer("stop --not-on=node1,n"), "20:node1 node2");
        assert_eq!(offer("cluster "), "8:add detect refresh remove");
        assert_eq!(offer("cluster remove n"), "15:node1 node2");
        assert_eq!(offer("cluster detect --no-m"), "15:--no-multicast");
        assert_eq!(offer("help conf"), "5:configure");
        assert_eq!(offer("xyz"), "0:");
        assert!(!offer("").contains("stand-in") && !offer("").contains("demo"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in ".{0,20}", at in 0_usize..30) {
            let prompter = Prompter::new(super::super::command(), Known::default());
            let _unused = prompter.candidates(&line, at);
        }
    }
}
