//! `--rolling`: a change in batches, each ready before the next.
//!
//! ```text
//! survey ─► batches (pure: cluster::rolling) ─► may it? ─► one move after the other ─► result
//!                └ --dry-run prints them                    └ the first batch that fails is the last
//! ```

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::duration;
use super::confirm::require_yes;
use super::exit::Exit;
use super::journal::Writer;
use super::lifecycle::{self, Said};
use super::ordered::complete;
use super::output::{data, talk};
use super::perform::print;
use super::progress::{self, First, Interrupts};
use super::session::{ACT_TIMEOUT, READ_TIMEOUT, Session, Stop};
use super::survey::place;
use super::{Global, planned, preflight};
use crate::cluster::names::{Listed, Unselected, select};
use crate::cluster::procedure::Verdict;
use crate::cluster::ready::MANY;
use crate::cluster::rolling::{self, Act, Batch, Deed, Level, Manner, Move, Next, Roll, Share};
use crate::cluster::sequence::{Group, Place};
use crate::fleet::Pulled;
use crate::inventory::fold::{counted, fold};
use crate::outcome::{ConfigureRequest, NodeOutcome, Operation, Outcome};
use crate::render;

/// Until a batch is ready: a database that joins its cluster takes minutes, not seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

/// How a change goes through the cluster.
#[derive(Debug, Clone, Default, Args)]
pub struct RollingArgs {
    /// A few nodes at a time, each batch ready before the next; stops at the first that fails
    #[arg(long)]
    pub rolling: bool,
    /// Nodes of a batch: 4, 10%, or growing as 1,5,25% [default: 1]
    #[arg(long, value_name = "N|N%", requires = "rolling")]
    pub batch: Option<Sizes>,
    /// Between two batches
    #[arg(long, value_name = "TIME", requires = "rolling", value_parser = duration)]
    pub pause: Option<Duration>,
    /// What a batch must reach before the next [default: joined]
    #[arg(long, value_name = "LEVEL", requires = "rolling")]
    pub wait: Option<WaitFor>,
    /// Go on until more than so many nodes have failed [default: 0]
    #[arg(long, value_name = "N|N%", requires = "rolling", value_parser = share)]
    pub max_fail: Option<Share>,
    /// Go on whatever fails
    #[arg(long, requires = "rolling", conflicts_with = "max_fail")]
    pub keep_going: bool,
    /// Give up on a service of which a process crashed so many times while it was waited for; 0: never
    /// [default: 5]
    #[arg(long, value_name = "N")]
    pub crashes: Option<u32>,
}

/// `restart` and `reload`.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// How it goes through the cluster.
    #[command(flatten)]
    pub rolling: RollingArgs,
    /// Only print what would be done, to which nodes and in which order
    #[arg(long)]
    pub dry_run: bool,
}

impl ChangeArgs {
    pub(super) fn said(&self, deed: Deed) -> Said<'_> {
        let Self { names, rolling, dry_run } = self;
        Said { deed, names, ordered: false, dry_run: *dry_run, rolling, skip_preflight: false }
    }
}

/// What a batch must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// The services run and answer
    Up,
    /// They have joined their cluster, where that can be told
    Joined,
}

/// The sizes of the batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(pub Vec<Share>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = text.split(',').map(|part| share(part.trim()));
        let sizes: Vec<Share> = sizes.collect::<Result<_, _>>()?;
        match sizes.iter().find(|size| matches!(size, Share::Nodes(0) | Share::Percent(0))) {
            Some(_) => Err("a batch has one node or more".to_owned()),
            None => Ok(Self(sizes)),
        }
    }
}

/// `4` or `10%`.
fn share(text: &str) -> Result<Share, String> {
    let remedy = || "write a number of nodes, 4, or a share of them, 10%".to_owned();
    match text.strip_suffix('%') {
        Some(share) => {
            let share = share.parse().ok().filter(|share| *share <= 100);
            share.map(Share::Percent).ok_or_else(remedy)
        }
        None => text.parse().map(Share::Nodes).map_err(|_| remedy()),
    }
}

impl RollingArgs {
    /// How often a process may crash while it is waited for.
    pub(super) fn crashes(&self) -> u32 {
        self.crashes.unwrap_or(MANY)
    }

    fn manner(&self) -> Manner {
        let max_fail = if self.keep_going { None } else { Some(self.max_fail.unwrap_or(Share::Nodes(0))) };
        Manner {
            sizes: self.batch.as_ref().map_or_else(|| vec![Share::Nodes(1)], |sizes| sizes.0.clone()),
            pause: self.pause.unwrap_or_default(),
            level: match self.wait {
                Some(WaitFor::Up) => Level::Up,
                Some(WaitFor::Joined) | None => Level::Joined,
            },
            max_fail,
        }
    }
}

/// A change, in batches.
pub(super) struct Change<'a> {
    pub(super) deed: Deed,
    pub(super) names: &'a [String],
    pub(super) args: &'a RollingArgs,
    /// What `configure` writes.
    pub(super) request: Option<ConfigureRequest>,
    /// Only the plan.
    pub(super) dry_run: bool,
    /// A start does not look first.
    pub(super) skip_preflight: bool,
}

pub(super) async fn run(session: &mut Session, global: &Global, change: Change<'_>) -> Result<Exit, Stop> {
    if change.deed == Deed::Stop && (change.args.wait.is_some() || change.args.crashes.is_some()) {
        return Err(Stop::usage("stop: nothing becomes ready by it; leave out --wait and --crashes"));
    }
    let manner = change.args.manner();
    let targets = session.targets(global)?;
    let result = change.result();
    let mut interrupts = Interrupts::listen();
    let (places, early) = survey(session, global, &targets, change.names, &mut interrupts).await;
    if interrupts.how() != Pulled::No {
        let mut roll = Roll::new(Vec::new(), manner, targets, early);
        roll.interrupt();
        return Ok(finish(session, global, &result, roll.rows().0));
    }
    let batches = rolling::plan(&places, change.names, change.deed, &manner)
        .map_err(|reason| Stop::new(Exit::Failed, reason))?;
    if change.dry_run {
        return Ok(planned::print(session, global, &result, &planned::Plan { batches, early, targets }));
    }
    // To start something loses nothing.
    if change.deed != Deed::Start {
        consent(global, &result, change.names, &targets, &batches).await?;
    }
    let mut journal = Writer::begin(session, render::json::name(&result), &targets);
    if change.deed == Deed::Start && !change.skip_preflight {
        let looked = preflight::look(session, global, &mut interrupts, started(&batches)).await;
        if let Err((operation, outcome)) = looked.map_err(|broken| *broken) {
            let interrupted = interrupts.how() != Pulled::No;
            let rows = complete(&targets, &operation, outcome, interrupted).nodes;
            rows.iter().for_each(|row| journal.row(row));
            let exit = finish(session, global, &operation, rows);
            journal.end(exit, global);
            return Ok(exit);
        }
    }
    let roll = Roll::new(batches, manner, targets, early.clone());
    let mut rolling = Rolling { session, global, change, roll, journal, interrupts };
    rolling.tell(&result, &early);
    let (exit, outcome) = rolling.run().await;
    print(session, global, &result, &outcome, exit);
    Ok(exit)
}

/// What the batches start, on which nodes: what is to be looked at first. Each node once for each name.
fn started(batches: &[Batch]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for made in batches.iter().flat_map(|batch| &batch.moves) {
        let Move::Do(Act::Start, group) = made else { continue };
        match groups.iter_mut().find(|known| known.names == group.names) {
            Some(known) => known.nodes.extend(group.nodes.iter().cloned()),
            None => groups.push(group.clone()),
        }
    }
    groups
}

/// The rows of a change that did not come to be.
fn finish(session: &mut Session, global: &Global, result: &Operation, nodes: Vec<NodeOutcome>) -> Exit {
    if global.ndjson {
        nodes.iter().for_each(|row| data(&format!("{}\n", render::json::line(result, row))));
    }
    let outcome = Outcome { nodes, elapsed: Duration::ZERO };
    let exit = Exit::of(&outcome);
    print(session, global, result, &outcome, exit);
    exit
}

/// Who has what; and the rows of those that cannot take part.
pub(super) async fn survey(
    session: &mut Session,
    global: &Global,
    targets: &[String],
    names: &[String],
    interrupts: &mut Interrupts,
) -> (Vec<Place>, Vec<NodeOutcome>) {
    let options = Session::run_options(global, READ_TIMEOUT, targets);
    let (fleet, survey) = (&mut session.fleet, Operation::Survey);
    let outcome =
        progress::watch(fleet, &survey, &options, global, interrupts, First::Cancels, &mut |_| {}).await;
    let (mut places, mut early) = (Vec::new(), Vec::new());
    for row in outcome.nodes {
        let index = session.cluster.inventory.nodes.iter().position(|node| node.name == row.node);
        let Some(place) = index.and_then(|index| place(&row, index)) else {
            early.push(row);
            continue;
        };
        let all: Vec<Listed> = place.watchers.iter().map(|name| Listed::named(name)).collect();
        match select(&all, names).err().map(Unselected::verdict) {
            Some(Verdict { state, reason, data }) => early.push(NodeOutcome { state, reason, data, ..row }),
            None => places.push(place),
        }
    }
    (places, early)
}

/// The batches, and a question.
async fn consent(
    global: &Global,
    operation: &Operation,
    names: &[String],
    targets: &[String],
    batches: &[Batch],
) -> Result<(), Stop> {
    if global.yes || targets.len() <= 1 {
        return Ok(());
    }
    let what = if names.is_empty() { "everything".to_owned() } else { names.join(", ") };
    let deed = format!("{} {what} on {}", render::json::name(operation), counted(targets));
    let order: Vec<String> = batches.iter().map(|batch| fold(&batch.nodes)).collect();
    let count = batches.len();
    let question = format!("{deed}, in {count} batches: {}?", render::shortened(&order, "; "));
    require_yes(question, &deed).await
}

impl Change<'_> {
    /// The operation that the result is shown as.
    fn result(&self) -> Operation {
        match self.deed {
            Deed::Configure | Deed::Reconfigure => {
                Operation::Configure(self.request.clone().unwrap_or_default())
            }
            deed @ (Deed::Start | Deed::Stop | Deed::Restart | Deed::Reload) => {
                lifecycle::operation(deed, self.names.to_vec())
            }
        }
    }

    fn operation(&self, act: Act, names: Vec<String>) -> (Operation, Duration) {
        match act {
            Act::Start => (Operation::Start { names }, ACT_TIMEOUT),
            Act::Stop => (Operation::Stop { names }, ACT_TIMEOUT),
            Act::Reload => (Operation::Reload { names }, ACT_TIMEOUT),
            Act::Configure => (Operation::Configure(self.request.clone().unwrap_or_default()), ACT_TIMEOUT),
            Act::Wait => match self.args.wait {
                Some(WaitFor::Up) => (Operation::Up { names, crashes: self.args.crashes() }, READY_TIMEOUT),
                Some(WaitFor::Joined) | None => {
                    let crashes = self.args.crashes();
                    (Operation::Ready { names, wait: true, crashes }, READY_TIMEOUT)
                }
            },
        }
    }
}

struct Rolling<'a> {
    session: &'a mut Session,
    global: &'a Global,
    change: Change<'a>,
    roll: Roll,
    journal: Writer,
    interrupts: Interrupts,
}

impl Rolling<'_> {
    async fn run(mut self) -> (Exit, Outcome) {
        let begun = tokio::time::Instant::now();
        let result = self.change.result();
        loop {
            let ready = match self.roll.advance() {
                Next::Finished => break,
                Next::Pause(time) => {
                    tokio::select! {
                        () = tokio::time::sleep(time) => {}
                        () = self.interrupts.next() => {}
                    }
                    Vec::new()
                }
                Next::Perform { act, group, half_way } => self.perform(act, group, half_way).await,
            };
            self.tell(&result, &ready);
            match self.interrupts.how() {
                Pulled::No => {}
                Pulled::Gently => self.roll.interrupt(),
                Pulled::Hard => self.roll.leave(),
            }
        }
        let (nodes, late) = self.roll.rows();
        self.tell(&result, &late);
        let outcome = Outcome { nodes, elapsed: begun.elapsed() };
        let exit = Exit::of(&outcome);
        self.journal.end(exit, self.global);
        (exit, outcome)
    }

    async fn perform(&mut self, act: Act, group: Group, half_way: bool) -> Vec<NodeOutcome> {
        let (operation, patience) = self.change.operation(act, group.names.clone());
        let options = Session::run_options(self.global, patience, &group.nodes);
        let first = if half_way { First::Counts } else { First::Cancels };
        let (fleet, interrupts) = (&mut self.session.fleet, &mut self.interrupts);
        let outcome =
            progress::watch(fleet, &operation, &options, self.global, interrupts, first, &mut |_| {}).await;
        if !self.global.quiet {
            let (batch, of) = self.roll.place();
            let what = if Exit::of(&outcome) == Exit::Done { "done" } else { "not done" };
            let (nodes, time) = (fold(&group.nodes), render::units::seconds(outcome.elapsed));
            let names = fold(&group.names);
            talk(&render::table::plain(&format!(
                "batch {batch}/{of}: {} {names} on {nodes}: {what} in {time}",
                act.word()
            )));
        }
        self.roll.took(act, &group.names, outcome)
    }

    /// Rows that are final.
    fn tell(&mut self, result: &Operation, rows: &[NodeOutcome]) {
        for row in rows {
            self.journal.row(row);
            if self.global.ndjson {
                data(&format!("{}\n", render::json::line(result, row)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares() {
        let sizes = |text: &str| text.parse::<Sizes>().map(|sizes| sizes.0);
        assert_eq!(sizes("4"), Ok(vec![Share::Nodes(4)]));
        assert_eq!(sizes("1, 5,25%"), Ok(vec![Share::Nodes(1), Share::Nodes(5), Share::Percent(25)]));
        for bad in ["", "0", "0%", "101%", "-1", "1,", "x", "1.5"] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
        assert_eq!((share("0"), share("100%")), (Ok(Share::Nodes(0)), Ok(Share::Percent(100))));
    }

    #[test]
    fn nothing_said_is_one_node_at_a_time_until_joined() {
        assert_eq!(RollingArgs::default().manner(), Manner::default());
        let args = RollingArgs { keep_going: true, wait: Some(WaitFor::Up), ..RollingArgs::default() };
        assert_eq!((args.manner().max_fail, args.manner().level), (None, Level::Up));
    }
}
