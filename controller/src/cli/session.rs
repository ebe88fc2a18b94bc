//! Which cluster a command is about, and the connections to it: what one command, or all commands of
//! a console, have in common.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::args::Beat;
use super::exit::Exit;
use super::output::{complain, talk};
use super::store::{Remembered, Seen, Store};
use super::{DEFAULT_PARALLEL, DEFAULT_PORT, Global};
use crate::cluster::view::State;
use crate::fleet::{Fleet, Pace, ServicesFile};
use crate::inventory::spec::{self, Parsed, SpecError};
use crate::inventory::{Change, Inventory};
use crate::outcome::{NodeState, Outcome, RunOptions};
use crate::sources::System;
use crate::sources::follow::{Follower, News};

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
    /// For programs: which part of a SPEC is wrong.
    pub place: Option<Box<Value>>,
}

impl Stop {
    /// Ends with this status and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), place: None }
    }

    /// A SPEC is wrong; `what` says which: the option or command it was given to.
    #[must_use]
    pub fn spec(what: &str, error: &SpecError) -> Self {
        let place = error.at.as_ref().map(|at| {
            let origin = at.origin.as_ref();
            Box::new(json!({
                "text": at.line, "column": at.column(), "length": at.length(),
                "file": origin.map(|origin| &origin.path), "line": origin.map(|origin| origin.line),
            }))
        });
        let message = if what.is_empty() { error.to_string() } else { format!("{what}: {error}") };
        Self { exit: Exit::Usage, message, place }
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
    /// What was read and asked to find them.
    pub system: System,
}

impl Cluster {
    /// Understands a SPEC that needs no groups; notes go to stderr.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse(text: &str, port: u16, name: Option<&str>, quiet: bool) -> Result<Self, Stop> {
        Self::resolve(text, port, name, quiet, System::default())
    }

    /// Understands a SPEC; what it names is read and asked, notes go to stderr.
    ///
    /// # Errors
    /// A usage error.
    pub fn resolve(
        text: &str,
        port: u16,
        name: Option<&str>,
        quiet: bool,
        mut system: System,
    ) -> Result<Self, Stop> {
        system.forget();
        let parsed = spec::parse(text, port, &mut system);
        let Parsed { inventory, notes } = parsed.map_err(|error| Stop::spec("", &error))?;
        if !quiet {
            notes.iter().for_each(|note| talk(&format!("note: {note}")));
        }
        let name = name.map_or_else(|| inventory.spec.clone(), str::to_owned);
        Ok(Self { inventory, name, port, system })
    }

    /// What the user calls it, if anything.
    #[must_use]
    pub fn given_name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| *name != self.inventory.spec)
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
    watchers: BTreeSet<String>,
    /// Which nodes answered when they were asked last.
    answering: HashSet<String>,
    /// How many of these were kept for whoever completes words.
    kept: usize,
    /// The command that is being carried out, for the journal.
    pub words: Vec<String>,
    /// The absolute path of the `--services` file.
    pub(super) services: Option<PathBuf>,
    /// The nodes that a resumed operation is about.
    pub(super) only: Option<Vec<String>>,
    /// Tells when the SPEC's sources name other nodes.
    follower: Option<Follower>,
    /// How often nodes are asked once they are followed.
    pub pace: Pace,
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
        let path = global.services.as_ref().and_then(|path| std::path::absolute(path).ok());
        Ok(Self { services: path, ..Self::new(store, cluster, fleet) })
    }

    /// Of a cluster that is known already.
    #[must_use]
    pub fn new(store: Store, cluster: Cluster, fleet: Fleet) -> Self {
        let (watchers, answering) = (BTreeSet::new(), HashSet::new());
        Self {
            store,
            cluster,
            fleet,
            watchers,
            answering,
            kept: 0,
            words: Vec::new(),
            services: None,
            only: None,
            follower: None,
            pace: Pace::default(),
        }
    }

    /// Goes on with another cluster; what is known of nodes that are in both is kept.
    pub fn adopt(&mut self, cluster: Cluster) {
        let change = Change::between(&self.cluster.inventory, &cluster.inventory);
        self.fleet.replace_inventory(cluster.inventory.clone());
        if change.kept == 0 {
            self.watchers.clear();
        }
        self.kept = 0;
        self.cluster = cluster;
        if self.follower.is_some() {
            self.follow();
        }
    }

    /// From now on the SPEC's files, commands and name servers are followed.
    pub fn follow(&mut self) {
        let (inventory, system) = (self.cluster.inventory.clone(), self.cluster.system.clone());
        self.follower = Follower::start(inventory, self.cluster.port, system);
    }

    /// The same, unless they are followed already.
    pub fn follow_sources(&mut self) {
        if self.follower.is_none() {
            self.follow();
        }
    }

    /// Follows the nodes themselves, at the command's own pace if it was given one.
    ///
    /// # Errors
    /// They are followed already, at another pace.
    pub fn follow_nodes(&mut self, beat: &Beat) -> Result<(), Stop> {
        let wanted = beat.heartbeat.map(Pace::of);
        let followed = !self.fleet.handle().view().nodes.is_empty();
        if let Some(pace) = wanted.filter(|pace| *pace != self.pace) {
            if followed {
                let own = self.pace.interval.as_secs_f64();
                return Err(Stop::usage(format!(
                    "--heartbeat: this console follows its nodes with one of {own} s; say it when you start the console"
                )));
            }
            self.pace = pace;
        }
        self.fleet.follow(self.pace);
        Ok(())
    }

    /// Waits until the SPEC's sources have something new for [`Session::catch_up`].
    pub async fn sources_changed(&self) {
        match &self.follower {
            Some(follower) => follower.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Goes on with the nodes that the SPEC's sources name now; what to tell the user about it.
    pub fn catch_up(&mut self) -> Option<String> {
        match self.follower.as_mut()?.take()? {
            News::Failed(reason) => Some(format!("the cluster's nodes stay as they were: {reason}")),
            News::Nodes(inventory) => {
                let change = Change::between(&self.cluster.inventory, &inventory);
                self.fleet.replace_inventory(inventory.clone());
                if self.cluster.given_name().is_none() {
                    self.cluster.name.clone_from(&inventory.spec);
                }
                self.cluster.inventory = inventory;
                Some(format!("the cluster has changed: {change}"))
            }
        }
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
        if self.watchers.len() != self.kept {
            self.kept = self.watchers.len();
            self.keep();
        }
    }

    /// For whoever completes words; what was seen of the same nodes before is still true.
    fn keep(&self) {
        let nodes: Vec<String> = self.cluster.inventory.nodes.iter().map(|node| node.name.clone()).collect();
        let old = self.store.seen();
        let before = if old.nodes == nodes { old.watchers.as_slice() } else { &[] };
        let watchers: BTreeSet<&String> = self.watchers.iter().chain(before).collect();
        let seen = Seen { nodes, watchers: watchers.into_iter().cloned().collect() };
        if seen != old {
            self.store.keep(&seen);
        }
    }

    /// How many nodes of the cluster are up: as far as it is followed, or when they were asked last.
    #[must_use]
    pub fn up(&self) -> usize {
        let view = self.fleet.handle().view();
        let followed: HashSet<&str> =
            view.nodes.iter().filter(|node| node.state == State::Up).map(|node| &*node.name).collect();
        let up = |name: &String| {
            if view.nodes.is_empty() {
                self.answering.contains(name)
            } else {
                followed.contains(name.as_str())
            }
        };
        self.cluster.inventory.nodes.iter().filter(|node| up(&node.name)).count()
    }

    /// Names of the watchers that are known of.
    #[must_use]
    pub fn watchers(&self) -> BTreeSet<String> {
        let view = self.fleet.handle().view();
        let followed = view.nodes.iter().flat_map(|node| node.watchers.keys());
        followed.map(|name| name.to_string()).chain(self.watchers.iter().cloned()).collect()
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
        match (&global.choice.chosen, &global.on) {
            (Some(chosen), _) => Ok(chosen.clone()),
            (None, Some(on)) => self.select("--on", on),
            (None, None) => Ok(self.cluster.inventory.nodes.iter().map(|node| node.name.clone()).collect()),
        }
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

pub(super) fn services(path: Option<&Path>) -> Result<Option<ServicesFile>, Stop> {
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
    let cluster = default_cluster(global)?;
    remember(store, &cluster)?;
    Ok(cluster)
}

/// The default, which may be used once the user has agreed.
///
/// # Errors
/// None: the SPEC is right.
pub fn default_cluster(global: &Global) -> Result<Cluster, Stop> {
    Cluster::parse(DEFAULT_SPEC, global.port.unwrap_or(DEFAULT_PORT), None, global.quiet)
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
    let port = global.port.unwrap_or(known.port);
    Cluster::resolve(&known.spec, port, name, global.quiet, store.system()).map(Some)
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
    let name = cluster.given_name().map(str::to_owned);
    store.save(&Remembered { spec, port: cluster.port, name }).map_err(Stop::usage)?;
    Ok(())
}
