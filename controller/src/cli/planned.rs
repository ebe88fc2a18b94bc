//! `--dry-run` of what starts and stops: the plan instead of the deed.

use serde_json::{Map, Value};

use super::exit::Exit;
use super::output::data;
use super::perform::asked;
use super::progress::Interrupts;
use super::session::{ACT_TIMEOUT, READ_TIMEOUT, Session, Stop};
use super::{FreshArgs, Global, ordered, perform, rolling};
use crate::cluster::preview::preview;
use crate::cluster::rolling::{Act, Batch, Deed, Move};
use crate::cluster::sequence::{self, Step};
use crate::outcome::{ConfigureRequest, NodeOutcome, NodeState, Operation, Outcome, ResetRequest};
use crate::render::{self, Detail};

/// What would be done.
pub(super) struct Plan {
    /// One after the other.
    pub(super) batches: Vec<Batch>,
    /// The rows of nodes that cannot take part.
    pub(super) early: Vec<NodeOutcome>,
    /// All of them.
    pub(super) targets: Vec<String>,
}

impl Plan {
    /// Steps over the whole cluster, each a batch of its own.
    pub(super) fn of_steps(steps: Vec<Step>, targets: &[String]) -> Self {
        let batch = |act, group: sequence::Group| Batch {
            nodes: group.nodes.clone(),
            moves: vec![Move::Do(act, group)],
        };
        let batches = steps.into_iter().map(|step| match step {
            Step::Start(group) => batch(Act::Start, group),
            Step::Stop(group) => batch(Act::Stop, group),
            Step::Wait(group) => batch(Act::Wait, group),
            Step::Pause(time) => Batch { nodes: Vec::new(), moves: vec![Move::Pause(time)] },
        });
        Self { batches: batches.collect(), early: Vec::new(), targets: targets.to_vec() }
    }

    /// A row for each target: in which batches it is.
    fn rows(&self) -> Vec<NodeOutcome> {
        let row = |node: &String| {
            if let Some(early) = self.early.iter().find(|row| row.node == *node) {
                return early.clone();
            }
            let mine = self.batches.iter().zip(1_usize..).filter(|(batch, _)| batch.nodes.contains(node));
            let numbers: Vec<String> = mine.map(|(_, number)| number.to_string()).collect();
            let (state, reason) = if numbers.is_empty() {
                (NodeState::Unchanged, "nothing to do".to_owned())
            } else {
                (NodeState::Done, format!("would be in {}", numbers.join(", ")))
            };
            let (node, daemon, data) = (node.clone(), None, Value::Null);
            NodeOutcome { node, state, reason, daemon, data, elapsed: std::time::Duration::ZERO }
        };
        self.targets.iter().map(row).collect()
    }
}

/// Prints a plan.
pub(super) fn print(session: &Session, global: &Global, operation: &Operation, plan: &Plan) -> Exit {
    let outcome = Outcome { nodes: plan.rows(), elapsed: std::time::Duration::ZERO };
    let exit = Exit::of(&outcome);
    if !(global.json || global.ndjson) {
        data(&render::plan::batches(&plan.batches));
        data(&render::plan::rest(&outcome));
        return exit;
    }
    if global.ndjson {
        outcome.nodes.iter().for_each(|row| data(&format!("{}\n", render::json::line(operation, row))));
    }
    let mut map = render::json::summary(operation, &session.cluster.name, &outcome, exit.number());
    map.insert("dry_run".to_owned(), true.into());
    map.insert("batches".to_owned(), render::plan::json(&plan.batches));
    if global.json {
        map.insert("nodes".to_owned(), outcome.nodes.iter().map(render::json::node).collect());
    }
    show(global, map);
    exit
}

/// The last line, or the document.
fn show(global: &Global, map: Map<String, Value>) {
    let text = Value::Object(map);
    data(&if global.json { format!("{text:#}\n") } else { format!("{text}\n") });
}

/// The steps of a `fresh`, what it would write and what would go.
pub(super) async fn fresh(
    session: &mut Session,
    global: &Global,
    args: &FreshArgs,
    wipe: ResetRequest,
    targets: &[String],
) -> Result<Exit, Stop> {
    let names = &args.names;
    let (places, _) = rolling::survey(session, global, targets, names, &mut Interrupts::listen()).await;
    let wrong = |reason| Stop::new(Exit::Failed, reason);
    let [stop, start] = [sequence::stop(&places, names), sequence::start(&places, names)];
    let plans = [stop, start].map(|steps| Ok(Plan::of_steps(steps.map_err(wrong)?, targets)));
    let [stop, start] = plans;
    let (stop, start): (Plan, Plan) = (stop?, start?);
    let request = ConfigureRequest { dry_run: true, ..ordered::configuration(args) };
    let write = Operation::Configure(request);
    let wipe = Operation::Reset(ResetRequest { dry_run: true, ..wipe });
    let written = asked(session, global, &write, ACT_TIMEOUT, targets).await?;
    let wiped = asked(session, global, &wipe, ACT_TIMEOUT, targets).await?;
    let all = Outcome {
        nodes: [&*written.nodes, &*wiped.nodes].concat(),
        elapsed: written.elapsed + wiped.elapsed,
    };
    let exit = Exit::of(&all);
    if !(global.json || global.ndjson) {
        data(&format!("stop\n{}", render::plan::batches(&stop.batches)));
        data(&format!("configure\n{}", render::outcome(&write, &written, Detail::Full)));
        data(&format!("reset\n{}", render::outcome(&wipe, &wiped, Detail::Full)));
        data(&format!("start\n{}", render::plan::batches(&start.batches)));
        return Ok(exit);
    }
    let rows = |outcome: &Outcome| outcome.nodes.iter().map(render::json::node).collect::<Value>();
    let mut map = render::json::summary(&wipe, &session.cluster.name, &wiped, exit.number());
    map.insert("operation".to_owned(), "fresh".into());
    map.insert("dry_run".to_owned(), true.into());
    map.insert("stop".to_owned(), render::plan::json(&stop.batches));
    map.insert("configure".to_owned(), rows(&written));
    map.insert("start".to_owned(), render::plan::json(&start.batches));
    map.insert("nodes".to_owned(), rows(&wiped));
    show(global, map);
    Ok(exit)
}

/// What would be done on each node, all at once.
pub(super) async fn at_once(
    session: &mut Session,
    global: &Global,
    deed: Deed,
    operation: &Operation,
    names: &[String],
) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let status = Operation::Status { names: names.to_vec() };
    let outcome = asked(session, global, &status, READ_TIMEOUT, &targets).await?;
    let nodes = outcome.nodes.into_iter().map(|row| preview(deed, row, !names.is_empty())).collect();
    let outcome = Outcome { nodes, elapsed: outcome.elapsed };
    let exit = Exit::of(&outcome);
    if global.ndjson {
        outcome.nodes.iter().for_each(|row| data(&format!("{}\n", render::json::line(operation, row))));
    }
    if global.json || global.ndjson {
        let mut map = render::json::summary(operation, &session.cluster.name, &outcome, exit.number());
        map.insert("dry_run".to_owned(), true.into());
        if global.json {
            map.insert("nodes".to_owned(), outcome.nodes.iter().map(render::json::node).collect());
        }
        show(global, map);
    } else {
        perform::print(session, global, operation, &outcome, exit);
    }
    Ok(exit)
}
