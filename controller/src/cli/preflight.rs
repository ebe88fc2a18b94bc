//! `preflight`: a look at what a start would meet, by itself or as the first phase of a longer work.

use clap::Args;

use super::Global;
use super::exit::Exit;
use super::output::talk;
use super::perform::act;
use super::progress::{self, First, Interrupts};
use super::session::{ACT_TIMEOUT, Session, Stop};
use crate::cluster::sequence::Group;
use crate::outcome::{Operation, Outcome};
use crate::render;

/// `preflight`.
#[derive(Debug, Clone, Args)]
pub struct PreflightArgs {
    /// Only these watchers
    pub names: Vec<String>,
}

/// Exit status 1 says that a start would fail somewhere; warnings are no failure.
pub(super) async fn preflight(
    session: &mut Session,
    global: &Global,
    args: &PreflightArgs,
) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    // A Java machine that tells its version takes its time on a busy node.
    act(session, global, Operation::Preflight { names: args.names.clone() }, &targets).await
}

/// Before a start of these: what would go wrong is known before anything is changed. Warnings, and nodes
/// that cannot look, are told and keep nothing from being done.
///
/// # Errors
/// The look that found a problem, or was interrupted.
pub(super) async fn look(
    session: &mut Session,
    global: &Global,
    interrupts: &mut Interrupts,
    groups: Vec<Group>,
) -> Result<(), Box<(Operation, Outcome)>> {
    for Group { names, nodes } in groups {
        let operation = Operation::Preflight { names };
        let options = Session::run_options(global, ACT_TIMEOUT, &nodes);
        let (fleet, first) = (&mut session.fleet, First::Cancels);
        let outcome =
            progress::watch(fleet, &operation, &options, global, interrupts, first, &mut |_| {}).await;
        if Exit::of(&outcome) == Exit::Interrupted || render::findings::any_problem(&outcome) {
            return Err(Box::new((operation, outcome)));
        }
        let remarks = render::findings::remarks(&outcome);
        if !(global.quiet || remarks.is_empty()) {
            talk(remarks.trim_end());
        }
    }
    Ok(())
}
