//! `configure` and `reset`: look first, show it, ask, then do it.

use super::confirm::{require_name, require_yes};
use super::exit::Exit;
use super::output::{can_ask, talk};
use super::perform::{act, look, print};
use super::progress::{self, Purpose};
use super::rolling::{self, Change};
use super::session::{ACT_TIMEOUT, Session, Stop};
use super::survey::Survey;
use super::whole;
use super::{ConfigureArgs, Global, ResetArgs};
use crate::cluster::rolling::Deed;
use crate::inventory::fold::counted;
use crate::outcome::{ConfigureRequest, NodeState, Operation, Outcome, ResetRequest};
use crate::render::{self, Detail};

pub(super) async fn configure(
    session: &mut Session,
    global: &Global,
    args: &ConfigureArgs,
) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let request = ConfigureRequest {
        services: args.services.clone(),
        variables: args.variables.clone(),
        fresh: args.fresh,
        joining: args.joining,
        dry_run: false,
    };
    let dry = Operation::Configure(ConfigureRequest { dry_run: true, ..request.clone() });
    let deed = if args.restart { Deed::Reconfigure } else { Deed::Configure };
    let rolling = Change {
        deed,
        names: &args.services,
        args: &args.rolling,
        request: Some(request.clone()),
        dry_run: args.dry_run,
        skip_preflight: true,
    };
    if args.rolling.rolling && args.dry_run {
        return rolling::run(session, global, rolling).await;
    }
    if args.dry_run || args.check {
        let options = Session::run_options(global, ACT_TIMEOUT, &targets);
        let outcome = progress::run(&mut session.fleet, &dry, &options, global, Purpose::Result).await;
        let exit = match Exit::of(&outcome) {
            Exit::Done if args.check && render::files::any_change(&outcome) => Exit::Differs,
            exit => exit,
        };
        print(session, global, &dry, &outcome, exit);
        return Ok(exit);
    }
    if !global.yes {
        let what = format!("configure on {}", counted(&targets));
        must_be_able_to_ask(&what)?;
        let outcome = look(session, global, &dry, &targets).await?;
        if !render::files::any_change(&outcome) {
            return Ok(nothing_to_do(session, global, &dry, &outcome));
        }
        talk(render::outcome(&dry, &outcome, Detail::Question).trim_end());
        require_yes(format!("Write these files on {}?", reached(&outcome)), &what).await?;
    }
    if args.rolling.rolling {
        return rolling::run(session, &Global { yes: true, ..global.clone() }, rolling).await;
    }
    act(session, global, Operation::Configure(request), &targets).await
}

pub(super) async fn reset(session: &mut Session, global: &Global, args: &ResetArgs) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let request = ResetRequest {
        services: args.services.clone(),
        kind: args.kind.into(),
        dry_run: args.dry_run,
        stop: args.stop,
        undo: args.undo,
        keep: args.keep.map(|keep| keep.as_secs_f64()),
    };
    if !args.dry_run {
        whole::refuse_half(&Survey::of_all(session, global).await?, &request, &targets)?;
    }
    if !args.dry_run
        && !global.yes
        && let Confirmed::NothingToDo(exit) =
            confirm_reset(session, global, args.confirm.as_deref(), &request, &targets).await?
    {
        return Ok(exit);
    }
    act(session, global, Operation::Reset(request), &targets).await
}

/// The cluster's name, given beforehand (`typed`) or at the question.
pub(super) async fn confirm_reset(
    session: &mut Session,
    global: &Global,
    typed: Option<&str>,
    request: &ResetRequest,
    targets: &[String],
) -> Result<Confirmed, Stop> {
    let name = session.cluster.name.clone();
    if let Some(typed) = typed {
        let wrong = format!("--confirm {typed:?} is not the cluster's name, which is {name:?}");
        return if typed == name { Ok(Confirmed::Yes) } else { Err(Stop::new(Exit::Unconfirmed, wrong)) };
    }
    let what = format!("reset on {}", counted(targets));
    must_be_able_to_ask(&what)?;
    if request.undo {
        let question = format!("Put back what the last reset moved aside on {}?", counted(targets));
        return require_yes(question, &what).await.map(|()| Confirmed::Yes);
    }
    let dry = Operation::Reset(ResetRequest { dry_run: true, ..request.clone() });
    let outcome = look(session, global, &dry, targets).await?;
    if !render::wiped::any_path(&outcome) {
        return Ok(Confirmed::NothingToDo(nothing_to_do(session, global, &dry, &outcome)));
    }
    talk(render::outcome(&dry, &outcome, Detail::Question).trim_end());
    let bytes = render::units::bytes(render::wiped::total_bytes(&outcome));
    require_name(&format!("This wipes {bytes} on {}.", reached(&outcome)), &name).await?;
    Ok(Confirmed::Yes)
}

/// What came of asking.
pub(super) enum Confirmed {
    /// Go on.
    Yes,
    /// There is nothing that could be lost.
    NothingToDo(Exit),
}

/// The look is the result: there is nothing to decide.
fn nothing_to_do(session: &mut Session, global: &Global, dry: &Operation, outcome: &Outcome) -> Exit {
    let exit = Exit::of(outcome);
    print(session, global, dry, outcome, exit);
    exit
}

fn must_be_able_to_ask(what: &str) -> Result<(), Stop> {
    if can_ask() {
        return Ok(());
    }
    let remedy = "pass --yes, or --dry-run to look only";
    Err(Stop::new(Exit::Unconfirmed, format!("{what} needs a confirmation; {remedy}")))
}

/// The nodes that answered the look.
fn reached(outcome: &Outcome) -> String {
    let answered = |state| matches!(state, NodeState::Done | NodeState::Unchanged);
    let names: Vec<&str> =
        outcome.nodes.iter().filter(|row| answered(row.state)).map(|row| row.node.as_str()).collect();
    counted(&names)
}
