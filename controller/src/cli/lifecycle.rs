//! `start`, `stop`, `restart`, `reload`: all at once, in the services' order, or in batches; or only the
//! plan of it.

use super::exit::Exit;
use super::rolling::{self, Change, RollingArgs};
use super::session::{Session, Stop};
use super::{Global, ordered, perform, planned};
use crate::cluster::rolling::Deed;
use crate::outcome::Operation;

/// What the user said.
pub(super) struct Said<'a> {
    pub(super) deed: Deed,
    pub(super) names: &'a [String],
    pub(super) ordered: bool,
    pub(super) dry_run: bool,
    pub(super) rolling: &'a RollingArgs,
    /// Of a start that looks first.
    pub(super) skip_preflight: bool,
}

pub(super) async fn run(session: &mut Session, global: &Global, said: Said<'_>) -> Result<Exit, Stop> {
    let Said { deed, names, ordered, dry_run, rolling, skip_preflight } = said;
    if rolling.rolling {
        let change = Change { deed, names, args: rolling, request: None, dry_run, skip_preflight };
        return rolling::run(session, global, change).await;
    }
    if rolling.crashes.is_some() && !(ordered && deed == Deed::Start) {
        return Err(Stop::usage("--crashes says how long to wait; add --rolling, or --ordered to a start"));
    }
    if skip_preflight && !ordered {
        return Err(Stop::usage(
            "--skip-preflight is for a start that looks first; add --ordered or --rolling",
        ));
    }
    let operation = operation(deed, names.to_vec());
    let is_start = deed == Deed::Start;
    if ordered && dry_run {
        return ordered::plan(session, global, &operation, is_start, names).await;
    }
    if dry_run {
        return planned::at_once(session, global, deed, &operation, names).await;
    }
    let targets = session.targets(global)?;
    // To start something loses nothing.
    if !is_start {
        perform::consent(global, &operation, names, &targets).await?;
    }
    match (ordered, is_start) {
        (true, true) => ordered::start(session, global, names, rolling.crashes(), skip_preflight).await,
        (true, false) => ordered::stop(session, global, names).await,
        (false, _) => perform::act(session, global, operation, &targets).await,
    }
}

/// What it is to the nodes, and what the result is shown as.
pub(super) fn operation(deed: Deed, names: Vec<String>) -> Operation {
    match deed {
        Deed::Start => Operation::Start { names },
        Deed::Stop => Operation::Stop { names },
        Deed::Reload => Operation::Reload { names },
        Deed::Restart | Deed::Configure | Deed::Reconfigure => Operation::Restart { names },
    }
}
