//! `ready`, starts and stops in the order that services declare, and `fresh`, which is a whole clean
//! experiment: stop, configure, reset, ordered start.
//!
//! ```text
//! survey ─► steps (pure: cluster::sequence) ─► one operation after the other ─► ready --wait ─► result
//!                                                └ the first that fails ends it
//! ```
//!
//! The result has a row for each target: that of the last operation, or of the one that failed; a
//! node that was not part of that one is `skipped`.

use std::collections::HashMap;
use std::time::Duration;

use circus_protocol::command::ResetKind;
use serde_json::Value;
use tokio::time::Instant;

use super::change::{self, Confirmed};
use super::exit::Exit;
use super::journal::Writer;
use super::output::{data, talk};
use super::perform::print;
use super::planned::{self, Plan};
use super::progress::{self, First, Interrupts, Purpose};
use super::session::{ACT_TIMEOUT, READ_TIMEOUT, Session, Stop};
use super::survey::Survey;
use super::{FreshArgs, Global, ReadyArgs, preflight, rolling, whole};
use crate::cluster::ready::MANY;
use crate::cluster::sequence::{self, Group, Place, Step};
use crate::fleet::Pulled;
use crate::inventory::fold::{counted, fold};
use crate::outcome::{ConfigureRequest, NodeOutcome, NodeState, Operation, Outcome, ResetRequest};
use crate::render::{self, Detail};

/// Until services are ready: a database that joins its cluster takes minutes, not seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(600);

pub(super) async fn ready(session: &mut Session, global: &Global, args: &ReadyArgs) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let operation = Operation::Ready { names: args.names.clone(), wait: args.wait, crashes: args.crashes };
    let patience = if args.wait { READY_TIMEOUT } else { READ_TIMEOUT };
    let options = Session::run_options(global, patience, &targets);
    let outcome = progress::run(&mut session.fleet, &operation, &options, global, Purpose::Result).await;
    let mut exit = Exit::of(&outcome);
    if args.check && exit == Exit::Done && !render::all_ready(&outcome) {
        exit = Exit::Differs;
    }
    print(session, global, &operation, &outcome, exit);
    Ok(exit)
}

/// `start --ordered`.
pub(super) async fn start(
    session: &mut Session,
    global: &Global,
    names: &[String],
    crashes: u32,
    skip_preflight: bool,
) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let survey = Survey::of(session, global, &targets).await?;
    let mut walk = Walk { crashes, ..Walk::new(session, global, "start", targets) };
    let looked = if skip_preflight { Ok(()) } else { walk.preflight(&survey, names).await };
    let result = match looked {
        Ok(()) => walk.start(&survey, names).await,
        Err(broken) => Err(broken),
    };
    walk.finish(result)
}

/// `stop --ordered`, confirmed already.
pub(super) async fn stop(session: &mut Session, global: &Global, names: &[String]) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let survey = Survey::of(session, global, &targets).await?;
    let mut walk = Walk::new(session, global, "stop", targets);
    let result = walk.stop(&survey, names).await;
    walk.finish(result)
}

/// What either would do, step by step.
pub(super) async fn plan(
    session: &mut Session,
    global: &Global,
    operation: &Operation,
    is_start: bool,
    names: &[String],
) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let (places, early) = rolling::survey(session, global, &targets, names, &mut Interrupts::listen()).await;
    let steps = if is_start { sequence::start(&places, names) } else { sequence::stop(&places, names) };
    let steps = steps.map_err(|reason| Stop::new(Exit::Failed, reason))?;
    let plan = Plan { early, ..Plan::of_steps(steps, &targets) };
    Ok(planned::print(session, global, operation, &plan))
}

pub(super) async fn fresh(session: &mut Session, global: &Global, args: &FreshArgs) -> Result<Exit, Stop> {
    let mut wipe = ResetRequest {
        services: args.names.clone(),
        kind: ResetKind::All,
        dry_run: false,
        stop: true,
        undo: false,
        keep: args.keep.map(|keep| keep.as_secs_f64()),
    };
    let targets = session.targets(global)?;
    if args.dry_run {
        return planned::fresh(session, global, args, wipe, &targets).await;
    }
    let survey = Survey::of_all(session, global).await?;
    whole::refuse_half(&survey, &wipe, &targets)?;
    if !global.yes {
        match change::confirm_reset(session, global, args.confirm.as_deref(), &wipe, &targets).await? {
            Confirmed::Yes | Confirmed::NothingToDo(Exit::Done) => {}
            Confirmed::NothingToDo(exit) => return Ok(exit),
        }
    }
    // They are stopped by then, in order; a node where one is not must say so.
    wipe.stop = false;
    let mut walk = Walk { crashes: args.crashes, ..Walk::new(session, global, "fresh", targets) };
    let result = walk.fresh(&survey, args, wipe).await;
    walk.finish(result)
}

/// What `fresh` writes.
pub(super) fn configuration(args: &FreshArgs) -> ConfigureRequest {
    ConfigureRequest {
        services: args.names.clone(),
        variables: args.variables.clone(),
        fresh: true,
        ..ConfigureRequest::default()
    }
}

/// Several operations that are one to the user.
struct Walk<'a> {
    session: &'a mut Session,
    global: &'a Global,
    /// What the user typed.
    name: &'static str,
    targets: Vec<String>,
    /// How often a process may crash while it is waited for.
    crashes: u32,
    phases: Vec<(&'static str, Duration)>,
    interrupts: Interrupts,
    journal: Writer,
}

/// The operation whose rows are the result, and those rows.
type Last = (Operation, Outcome);

/// Why a walk ends before its end.
enum Broken {
    /// This did not succeed, or did while somebody pressed Ctrl-C.
    Failed(Box<Last>),
    /// By the user, between two operations.
    Interrupted,
    /// It cannot even be planned.
    Stopped(Stop),
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl<'a> Walk<'a> {
    fn new(session: &'a mut Session, global: &'a Global, name: &'static str, targets: Vec<String>) -> Self {
        let journal = Writer::begin(session, name, &targets);
        let interrupts = Interrupts::listen();
        Self { session, global, name, targets, crashes: MANY, phases: Vec::new(), interrupts, journal }
    }

    async fn fresh(&mut self, survey: &Survey, args: &FreshArgs, wipe: ResetRequest) -> Result<Last, Broken> {
        if !args.skip_preflight {
            self.preflight(survey, &args.names).await?;
        }
        let stopped = self.stop(survey, &args.names).await?;
        self.go_on(stopped)?;
        let configure = configuration(args);
        let targets = self.targets.clone();
        for (phase, operation) in
            [("configure", Operation::Configure(configure)), ("reset", Operation::Reset(wipe))]
        {
            let begun = Instant::now();
            let result = self.run(operation, ACT_TIMEOUT, &targets).await;
            self.phases.push((phase, begun.elapsed()));
            self.go_on(result?)?;
        }
        self.start(survey, &args.names).await
    }

    async fn preflight(&mut self, survey: &Survey, names: &[String]) -> Result<(), Broken> {
        let begun = Instant::now();
        let groups = sequence::groups(&self.places(survey)?, names);
        let looked = preflight::look(self.session, self.global, &mut self.interrupts, groups).await;
        self.phases.push(("preflight", begun.elapsed()));
        looked.map_err(Broken::Failed)
    }

    async fn start(&mut self, survey: &Survey, names: &[String]) -> Result<Last, Broken> {
        let places = self.places(survey)?;
        let steps = sequence::start(&places, names).map_err(|reason| Stop::new(Exit::Failed, reason))?;
        self.carry_out("start", steps).await?;
        // Who was ready early may have failed since.
        let targets = self.targets.clone();
        let operation = Operation::Ready { names: names.to_vec(), wait: true, crashes: self.crashes };
        self.run(operation, READY_TIMEOUT, &targets).await
    }

    async fn stop(&mut self, survey: &Survey, names: &[String]) -> Result<Last, Broken> {
        let places = self.places(survey)?;
        let steps = sequence::stop(&places, names).map_err(|reason| Stop::new(Exit::Failed, reason))?;
        self.carry_out("stop", steps).await?;
        let targets = self.targets.clone();
        self.run(Operation::Stop { names: names.to_vec() }, ACT_TIMEOUT, &targets).await
    }

    fn places(&self, survey: &Survey) -> Result<Vec<Place>, Broken> {
        let places = survey.places(&self.session.cluster.inventory, &self.targets);
        places.map_err(|rows| Broken::Failed(Box::new((Operation::Survey, rows))))
    }

    async fn carry_out(&mut self, phase: &'static str, steps: Vec<Step>) -> Result<(), Broken> {
        let begun = Instant::now();
        let mut result = Ok(());
        for step in steps {
            result = self.step(step).await;
            if result.is_err() {
                break;
            }
        }
        self.phases.push((phase, begun.elapsed()));
        result
    }

    async fn step(&mut self, step: Step) -> Result<(), Broken> {
        let (operation, patience, Group { names, nodes }) = match step {
            Step::Pause(time) => return self.pause(time).await,
            Step::Start(group) => (Operation::Start { names: group.names.clone() }, ACT_TIMEOUT, group),
            Step::Stop(group) => (Operation::Stop { names: group.names.clone() }, ACT_TIMEOUT, group),
            Step::Wait(group) => {
                let (names, crashes) = (group.names.clone(), self.crashes);
                (Operation::Ready { names, wait: true, crashes }, READY_TIMEOUT, group)
            }
        };
        let result = self.run(operation, patience, &nodes).await;
        match &result {
            Ok(last) => self.tell(last, &names, Exit::Done),
            Err(Broken::Failed(last)) => self.tell(last, &names, Exit::of(&last.1)),
            Err(Broken::Interrupted | Broken::Stopped(_)) => {}
        }
        self.go_on(result?)
    }

    /// Nothing comes after this if somebody pressed Ctrl-C meanwhile.
    fn go_on(&self, last: Last) -> Result<(), Broken> {
        match self.interrupts.how() {
            Pulled::No => Ok(()),
            Pulled::Gently | Pulled::Hard => Err(Broken::Failed(Box::new(last))),
        }
    }

    async fn pause(&mut self, time: Duration) -> Result<(), Broken> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.interrupts.next() => Err(Broken::Interrupted),
        }
    }

    async fn run(
        &mut self,
        operation: Operation,
        patience: Duration,
        targets: &[String],
    ) -> Result<Last, Broken> {
        let options = Session::run_options(self.global, patience, targets);
        let (fleet, interrupts) = (&mut self.session.fleet, &mut self.interrupts);
        let outcome = progress::watch(
            fleet,
            &operation,
            &options,
            self.global,
            interrupts,
            First::Cancels,
            &mut |_| {},
        )
        .await;
        let done = Exit::of(&outcome) == Exit::Done;
        let last = (operation, outcome);
        if done { Ok(last) } else { Err(Broken::Failed(Box::new(last))) }
    }

    /// A line for each step, for whoever watches.
    fn tell(&self, (operation, outcome): &Last, names: &[String], exit: Exit) {
        if self.global.quiet {
            return;
        }
        let nodes: Vec<&str> = outcome.nodes.iter().map(|row| row.node.as_str()).collect();
        let what = if exit == Exit::Done { "done" } else { "not done" };
        let (verb, time) = (render::json::name(operation), render::units::seconds(outcome.elapsed));
        talk(&render::table::plain(&format!(
            "{verb} {} on {}: {what} in {time}",
            fold(names),
            counted(&nodes)
        )));
    }

    /// Prints the result, one row for each target.
    fn finish(mut self, result: Result<Last, Broken>) -> Result<Exit, Stop> {
        let whole = result.is_ok();
        let (operation, outcome) = match result {
            Ok(last) => last,
            Err(Broken::Failed(last)) => *last,
            Err(Broken::Interrupted) => (Operation::Survey, Outcome::default()),
            Err(Broken::Stopped(stop)) => {
                self.journal.end(stop.exit, self.global);
                return Err(stop);
            }
        };
        let interrupted = !whole && self.interrupts.how() != Pulled::No;
        let outcome = complete(&self.targets, &operation, outcome, interrupted);
        let exit = Exit::of(&outcome);
        outcome.nodes.iter().for_each(|row| self.journal.row(row));
        self.journal.end(exit, self.global);
        self.session.learn(&outcome);
        if !(self.global.json || self.global.ndjson) {
            data(&render::outcome(&operation, &outcome, Detail::Full));
            if self.phases.len() > 1 {
                data(&render::phases(&self.phases));
            }
            return Ok(exit);
        }
        let cluster = &self.session.cluster.name;
        let text = render::json::walk(self.name, &operation, cluster, &outcome, exit.number(), &self.phases);
        data(&if self.global.json { format!("{text:#}\n") } else { format!("{text}\n") });
        Ok(exit)
    }
}

/// A row for each target: those that the last operation was not about are skipped, or cancelled.
pub(super) fn complete(
    targets: &[String],
    operation: &Operation,
    outcome: Outcome,
    interrupted: bool,
) -> Outcome {
    let elapsed = outcome.elapsed;
    let verb = render::json::name(operation);
    // A step that is done is not the whole.
    let cut = |row: NodeOutcome| match row.state {
        NodeState::Done | NodeState::Unchanged if interrupted => {
            NodeOutcome { state: NodeState::Cancelled, reason: format!("interrupted after `{verb}`"), ..row }
        }
        _ => row,
    };
    let mut known: HashMap<String, NodeOutcome> =
        outcome.nodes.into_iter().map(|row| (row.node.clone(), cut(row))).collect();
    let missing = |node: &String| NodeOutcome {
        node: node.clone(),
        state: if interrupted { NodeState::Cancelled } else { NodeState::Skipped },
        reason: if interrupted {
            "interrupted".to_owned()
        } else {
            format!("`{verb}` did not succeed elsewhere; nothing more was done")
        },
        daemon: None,
        data: Value::Null,
        elapsed,
    };
    let nodes = targets.iter().map(|node| known.remove(node).unwrap_or_else(|| missing(node))).collect();
    Outcome { nodes, elapsed }
}
