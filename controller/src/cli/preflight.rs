//! `preflight`: a look at what a start would meet, by itself or as the first phase of a longer work.

use clap::Args;

use super::Global;
use super::exit::Exit;
use super::perform::act;
use super::session::{Session, Stop};
use crate::outcome::Operation;

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
