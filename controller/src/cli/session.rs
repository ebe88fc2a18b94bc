//! Which cluster a command is about, and the connections to it: what one command, or all commands of
//! a console, have in common.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::output::{complain, talk};
use super::store::{Remembered, Store};
use super::{ClusterArgs, DEFAULT_PARALLEL, DEFAULT_PORT, Global};
use crate::fleet::{Fleet, ServicesFile};
use crate::inventory::select::{SelectError, select};
use crate::inventory::spec::{self, Parsed};
use crate::inventory::{Inventory, fold};
use crate::outcome::{NodeState, Outcome, RunOptions};

/// Used only after the user has agreed to it once.
pub const DEFAULT_SPEC: &str = "192.168.0.1-192.168.0.32";
/// Time for each node to answer a question.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for each node to carry out a wish; databases stop slowly.
pub const ACT_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a command ends early: its exit status, and what to tell.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Stop {
    /// The exit status.
    pub exit: Exit,
    /// What happened, and the remedy.
    pub message: String,
}

impl Stop {
    /// Ends with this status and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A usage or configuration error.
    pub fn usage(message: impl ToString) -> Self {
        Self::new(Exit::Usage, message.to_string())
    }
}

/// A cluster, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its nodes.
    pub inventory: Inventory,
    /// What it is called: the user's name for it, or its SPEC.
    pub name: String,
    /// The port of nodes named without one.
    pub port: u16,
}

impl Cluster {
    /// Understands a SPEC; files are read from disk, notes go to stderr.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse(text: &str, port: u16, name: Option<&str>, quiet: bool) -> Result<Self, Stop> {
        let Parsed { inventory, notes } =
            spec::parse(text, port, &mut |path| std::fs::read_to_string(path)).map_err(Stop::usage)?;
        if !quiet {
            notes.iter().for_each(|note| talk(&format!("note: {note}")));
        }
        let name = name.map_or_else(|| inventory.spec.clone(), str::to_owned);
        Ok(Self { inventory, name, port })
    }
}

/// What the commands of one run share.
#[derive(Debug)]
pub struct Session {
    /// What is remembered between runs.
    pub store: Store,
    /// The cluster.
    pub cluster: Cluster,
    /// Its nodes' connections.
    pub fleet: Fleet,
    /// Names of watchers seen so far.
    pub watchers: BTreeSet<String>,
    /// Which nodes answered when they were asked last.
    answering: HashSet<String>,
    /// The command that is being carried out, for the journal.
    pub words: Vec<String>,
    /// The nodes that a resumed operation is about.
    pub(super) only: Option<Vec<String>>,
}

impl Session {
    /// Resolves the cluster and the services file; contacts nobody.
    ///
    /// # Errors
    /// No cluster is defined, or what defines it is wrong.
    pub async fn open(global: &Global, store: Store) -> Result<Self, Stop> {
        let cluster = resolve(global, &store).await?;
        let services = services(global.services.as_deref())?;
        let fleet = Fleet::new(cluster.inventory.clone(), services);
        Ok(Self::new(store, cluster, fleet))
    }

    /// Of a cluster that is known already.
    #[must_use]
    pub fn new(store: Store, cluster: Cluster, fleet: Fleet) -> Self {
        let (watchers, answering) = (BTreeSet::new(), HashSet::new());
        Self { store, cluster, fleet, watchers, answering, words: Vec::new(), only: None }
    }

    /// Goes on with another cluster.
    pub fn adopt(&mut self, cluster: Cluster) {
        self.fleet.replace_inventory(cluster.inventory.clone());
        self.watchers.clear();
        self.cluster = cluster;
    }

    /// Remembers what a result says about the cluster.
    pub fn learn(&mut self, outcome: &Outcome) {
        for row in &outcome.nodes {
            let states = crate::render::watchers_of(row).into_iter().flat_map(|states| states.keys());
            self.watchers.extend(states.cloned());
            match row.state {
                NodeState::Done | NodeState::Unchanged | NodeState::Refused | NodeState::Failed => {
                    self.answering.insert(row.node.clone());
                }
                NodeState::Absent | NodeState::Unreachable | NodeState::TimedOut => {
                    self.answering.remove(&row.node);
                }
                NodeState::Skipped | NodeState::Cancelled => {}
            }
        }
    }

    /// How many nodes of the cluster answered when they were asked last.
    #[must_use]
    pub fn up(&self) -> usize {
        self.cluster.inventory.nodes.iter().filter(|node| self.answering.contains(&node.name)).count()
    }

    /// The targeted nodes.
    ///
    /// # Errors
    /// `--on` names none, or some that the cluster has not; nobody failed.
    pub fn targets(&self, global: &Global) -> Result<Vec<String>, Stop> {
        super::journal::narrowed(self, global.failed, self.named(global)?)
    }

    /// Those that the options name.
    fn named(&self, global: &Global) -> Result<Vec<String>, Stop> {
        let Some(on) = &global.on else {
            return Ok(self.cluster.inventory.nodes.iter().map(|node| node.name.clone()).collect());
        };
        select(&self.cluster.inventory, on, &mut |path| std::fs::read_to_string(path)).map_err(|error| {
            match error {
                SelectError::Spec(_) => Stop::usage(format!("--on: {error}")),
                SelectError::Unknown { .. } | SelectError::Empty { .. } => {
                    Stop::new(Exit::NoTarget, format!("--on: {error}"))
                }
            }
        })
    }

    /// How to run an operation whose default patience is `timeout`.
    #[must_use]
    pub fn run_options(global: &Global, timeout: Duration, targets: &[String]) -> RunOptions {
        RunOptions {
            timeout: global.timeout.unwrap_or(timeout),
            parallel: global.parallel.unwrap_or(DEFAULT_PARALLEL),
            targets: Some(targets.to_vec()),
        }
    }
}

fn services(path: Option<&Path>) -> Result<Option<ServicesFile>, Stop> {
    let load = |path| ServicesFile::load(path).map_err(|errors| Stop::usage(errors.join("\n")));
    path.map(load).transpose()
}

/// `--cluster`, or what is remembered, or the default once the user agreed to it.
async fn resolve(global: &Global, store: &Store) -> Result<Cluster, Stop> {
    if let Some(cluster) = known(global, store, None)? {
        return Ok(cluster);
    }
    let question = format!("No cluster is defined yet. Use {DEFAULT_SPEC}? [y/N] ");
    if !super::output::can_ask() || !super::confirm::yes(question).await? {
        return Err(undefined());
    }
    let cluster = Cluster::parse(DEFAULT_SPEC, global.port.unwrap_or(DEFAULT_PORT), None, global.quiet)?;
    remember(store, &cluster)?;
    Ok(cluster)
}

/// `--cluster`, or what is remembered; `name` replaces the name it had.
///
/// # Errors
/// The SPEC or the memory is wrong.
pub fn known(global: &Global, store: &Store, name: Option<&str>) -> Result<Option<Cluster>, Stop> {
    let remembered = match store.load() {
        Ok(remembered) => remembered,
        // A damaged memory does not matter to somebody who says which cluster is meant.
        Err(error) if global.cluster.is_some() => {
            complain(&error.to_string());
            None
        }
        Err(error) => return Err(Stop::usage(error)),
    };
    let known = match &global.cluster {
        Some(spec) => {
            let same = remembered.filter(|known| known.spec == *spec);
            let known_name = same.and_then(|known| known.name);
            Remembered { spec: spec.clone(), port: DEFAULT_PORT, name: known_name }
        }
        None => match remembered {
            Some(known) => known,
            None => return Ok(None),
        },
    };
    let name = name.or(known.name.as_deref());
    Cluster::parse(&known.spec, global.port.unwrap_or(known.port), name, global.quiet).map(Some)
}

/// No cluster, and nobody to ask.
#[must_use]
pub fn undefined() -> Stop {
    let remedy = "define one with `circusman cluster SPEC`, or pass --cluster SPEC";
    Stop::usage(format!("no cluster is defined; {remedy} (for example --cluster {DEFAULT_SPEC})"))
}

/// Keeps the cluster for the next run.
///
/// # Errors
/// It cannot be written.
pub fn remember(store: &Store, cluster: &Cluster) -> Result<(), Stop> {
    let spec = cluster.inventory.spec.clone();
    let name = Some(cluster.name.clone()).filter(|name| *name != spec);
    store.save(&Remembered { spec, port: cluster.port, name }).map_err(Stop::usage)?;
    Ok(())
}

/// The cluster that `cluster ...` defines; `None`: it only shows.
///
/// # Errors
/// A usage error.
pub fn defined(args: &ClusterArgs, global: &Global) -> Result<Option<Cluster>, Stop> {
    let Some(first) = &args.first else {
        return Ok(None);
    };
    let port = global.port.unwrap_or(DEFAULT_PORT);
    let (spec, port) = match &args.second {
        Some(second) => two_words(first, second)?,
        None if Path::new(first).is_file() => (file_spec(first)?, port),
        None => (first.clone(), port),
    };
    let spec = absolute_files(&spec)?;
    Cluster::parse(&spec, port, args.name.as_deref(), global.quiet).map(Some)
}

/// `NETWORK NUMNODES` or `FILE PORT`.
fn two_words(first: &str, second: &str) -> Result<(String, u16), Stop> {
    let Some(network) = network(first) else {
        let port = second.parse().ok().filter(|port| *port > 0);
        let port =
            port.ok_or_else(|| Stop::usage(format!("cluster: {second:?} is not a port from 1 to 65535")))?;
        return Ok((file_spec(first)?, port));
    };
    let count = second.parse::<u8>().ok().filter(|count| (1..=254).contains(count));
    let count = count.ok_or_else(|| {
        Stop::usage(format!(
            "cluster: {second:?} is not a number of nodes from 1 to 254; larger clusters: {first}.0/20"
        ))
    })?;
    let spec = if count == 1 { format!("{network}.1") } else { format!("{network}.1-{network}.{count}") };
    Ok((spec, DEFAULT_PORT))
}

/// `192.168.0`, also written `192.168.0.` or `192.168.0.0` → `192.168.0`.
fn network(text: &str) -> Option<String> {
    let text = text.strip_suffix(".0").filter(|rest| rest.split('.').count() == 3).unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    let octets: Vec<u8> = text.split('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
    (octets.len() == 3).then(|| octets.iter().map(u8::to_string).collect::<Vec<_>>().join("."))
}

fn file_spec(path: &str) -> Result<String, Stop> {
    let path = path.strip_prefix('@').unwrap_or(path);
    if path.contains(|letter: char| letter == ',' || letter.is_whitespace()) {
        return Err(Stop::usage(format!(
            "cluster: a node list's path has neither commas nor blanks: {path:?}"
        )));
    }
    if !Path::new(path).is_file() {
        let remedy = "write NETWORK NUMNODES (192.168.0 32), FILE [PORT] or SPEC";
        return Err(Stop::usage(format!(
            "cluster: {path:?} is neither a network of three numbers nor a file; {remedy}"
        )));
    }
    Ok(format!("@{path}"))
}

/// What is remembered must not depend on the directory it was said in.
fn absolute_files(spec: &str) -> Result<String, Stop> {
    let mut out = String::new();
    for part in spec.split_inclusive(|letter: char| letter == ',' || letter.is_whitespace()) {
        let (word, separator) = match part.chars().next_back() {
            Some(last) if last == ',' || last.is_whitespace() => part.split_at(part.len() - last.len_utf8()),
            _ => (part, ""),
        };
        let (sign, body) = word.strip_prefix('-').map_or(("", word), |body| ("-", body));
        match body.strip_prefix('@').filter(|path| !path.is_empty()) {
            Some(path) => {
                let path = std::path::absolute(path).map_err(Stop::usage)?;
                out.push_str(&format!("{sign}@{}", path.display()));
            }
            None => out.push_str(word),
        }
        out.push_str(separator);
    }
    Ok(out)
}

/// The cluster as text.
#[must_use]
pub fn describe(cluster: &Cluster) -> String {
    let names: Vec<&str> = cluster.inventory.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut table = crate::render::table::Table::default();
    table.row(vec!["cluster".to_owned(), cluster.name.clone()]);
    if cluster.name != cluster.inventory.spec {
        table.row(vec!["spec".to_owned(), cluster.inventory.spec.clone()]);
    }
    table.row(vec!["nodes".to_owned(), fold::counted(&names)]);
    table.row(vec!["port".to_owned(), cluster.port.to_string()]);
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_old_forms() {
        assert_eq!(two_words("192.168.0", "3").expect("a network").0, "192.168.0.1-192.168.0.3");
        assert_eq!(two_words("10.1.2.", "1").expect("a network").0, "10.1.2.1");
        assert_eq!(two_words("10.1.2.0", "254").expect("a network").0, "10.1.2.1-10.1.2.254");
        for (first, second) in
            [("192.168.0", "0"), ("192.168.0", "255"), ("192.168.0", "x"), ("no-file", "3"), ("no-file", "x")]
        {
            let stop = two_words(first, second).expect_err("is wrong");
            assert_eq!(stop.exit, Exit::Usage, "{stop}");
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("text");
        assert_eq!(two_words(path, "6000").expect("a file"), (format!("@{path}"), 6000));
    }

    #[test]
    fn files_become_absolute() {
        let here = std::env::current_dir().expect("a directory");
        let spec = absolute_files("a, @nodes,-@/abs b").expect("works");
        assert_eq!(spec, format!("a, @{}/nodes,-@/abs b", here.display()));
    }
}
