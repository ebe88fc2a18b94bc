//! Which nodes of the cluster a command is about: `--on`, `--not-on`, `--group`, `--stock`, `--native`.
//!
//! What the options say is turned into names once, before the command begins; the command sees names.

use std::borrow::Cow;
use std::collections::HashSet;

use clap::Args;

use super::exit::Exit;
use super::output::talk;
use super::progress::{self, Purpose};
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, Verb};
use crate::inventory::fold::counted;
use crate::inventory::select::{SelectError, select};
use crate::inventory::spec;
use crate::outcome::Operation;

/// The options beside `--on`.
#[derive(Debug, Clone, Default, Args)]
pub struct Choice {
    /// Not these nodes of the cluster
    #[arg(
        long,
        value_name = "NODES",
        global = true,
        allow_hyphen_values = true,
        help_heading = "Options of every command"
    )]
    pub not_on: Option<String>,
    /// Only nodes of this group (see `cluster --help`); commas separate several
    #[arg(
        long,
        value_name = "GROUP",
        global = true,
        value_delimiter = ',',
        help_heading = "Options of every command"
    )]
    pub group: Vec<String>,
    /// Only nodes that run stock circusd
    #[arg(long, global = true, conflicts_with = "native", help_heading = "Options of every command")]
    pub stock: bool,
    /// Only nodes that run circusd-rs
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub native: bool,
    /// What they came to.
    #[arg(skip)]
    pub chosen: Option<Vec<String>>,
}

impl Choice {
    fn is_empty(&self) -> bool {
        self.not_on.is_none() && self.group.is_empty() && !self.stock && !self.native
    }

    /// A console line's options over the console's own.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let kind = if self.stock || self.native { self } else { base };
        Self {
            not_on: self.not_on.clone().or_else(|| base.not_on.clone()),
            group: if self.group.is_empty() { base.group.clone() } else { self.group.clone() },
            stock: kind.stock,
            native: kind.native,
            chosen: None,
        }
    }
}

/// The options with the nodes chosen, as far as there is something to choose.
///
/// # Errors
/// They name none, or some that the cluster has not; interrupted.
pub(super) async fn resolved<'a>(
    session: &mut Session,
    global: &'a Global,
    verb: &Verb,
) -> Result<Cow<'a, Global>, Stop> {
    if global.choice.is_empty() || matches!(verb, Verb::Cluster(_)) {
        return Ok(Cow::Borrowed(global));
    }
    let choice = &global.choice;
    let mut names = session.targets(global)?;
    if !choice.group.is_empty() {
        let members: HashSet<String> = in_groups(session, &choice.group)?.into_iter().collect();
        names.retain(|name| members.contains(name));
    }
    if let Some(not_on) = &choice.not_on {
        let gone: HashSet<String> = session.select("--not-on", not_on)?.into_iter().collect();
        names.retain(|name| !gone.contains(name));
    }
    if choice.stock || choice.native {
        names = of_kind(session, global, names).await?;
    }
    if names.is_empty() {
        return Err(Stop::new(
            Exit::NoTarget,
            "the options select no node; `circusman cluster` lists the nodes",
        ));
    }
    let choice = Choice { chosen: Some(names), ..Choice::default() };
    Ok(Cow::Owned(Global { on: None, choice, ..global.clone() }))
}

fn in_groups(session: &Session, wanted: &[String]) -> Result<Vec<String>, Stop> {
    let mut system = session.store.system();
    let groups = spec::group_names(&mut system).map_err(|error| Stop::spec("--group", &error))?;
    if let Some(unknown) = wanted.iter().find(|name| !groups.contains(name)) {
        let there = if groups.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", groups.join(", "))
        };
        let file = session.store.groups().map(|path| format!(" in {}", path.display())).unwrap_or_default();
        return Err(Stop::new(Exit::NoTarget, format!("--group: no group named {unknown:?}{file}; {there}")));
    }
    let text = wanted.iter().map(|name| format!("@{name}")).collect::<Vec<_>>().join(",");
    session.select("--group", &text)
}

/// Asks the nodes what they are; who does not answer is not known to be either.
async fn of_kind(session: &mut Session, global: &Global, names: Vec<String>) -> Result<Vec<String>, Stop> {
    if names.is_empty() {
        return Ok(names);
    }
    let options = Session::run_options(global, READ_TIMEOUT, &names);
    let operation = Operation::Status { names: Vec::new() };
    let outcome = progress::run(&mut session.fleet, &operation, &options, global, Purpose::Look).await;
    if Exit::of(&outcome) == Exit::Interrupted {
        return Err(Stop::new(Exit::Interrupted, "interrupted; nothing was changed"));
    }
    session.learn(&outcome);
    let native = |daemon: &str| daemon.starts_with("circusd-rs");
    let (known, unknown): (Vec<_>, Vec<_>) = outcome.nodes.iter().partition(|row| row.daemon.is_some());
    if !unknown.is_empty() && !global.quiet {
        let unknown: Vec<&str> = unknown.iter().map(|row| row.node.as_str()).collect();
        talk(&format!("note: left out, because they did not say what they run: {}", counted(&unknown)));
    }
    let meant =
        known.into_iter().filter(|row| row.daemon.as_deref().is_some_and(native) == global.choice.native);
    Ok(meant.map(|row| row.node.clone()).collect())
}

impl Session {
    /// The nodes that the value of an option names.
    ///
    /// # Errors
    /// None, or some that the cluster has not.
    pub fn select(&self, option: &str, text: &str) -> Result<Vec<String>, Stop> {
        let mut system = self.store.system();
        select(&self.cluster.inventory, self.cluster.port, text, &mut system).map_err(|error| match &error {
            SelectError::Spec(spec) => Stop::spec(option, spec),
            SelectError::Unknown { .. } | SelectError::Empty { .. } => {
                Stop::new(Exit::NoTarget, format!("{option}: {error}"))
            }
        })
    }
}
