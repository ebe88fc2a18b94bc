//! `listen`: what changes anywhere in the cluster, as it changes.

use clap::Args;
use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::Global;
use super::args::Beat;
use super::exit::Exit;
use super::output::{stream, talk};
use super::progress::interrupts;
use super::session::{Session, Stop};
use crate::cluster::view::{ClusterView, News};
use crate::render;

/// `listen`.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// Only these watchers; nodes that come and go are told all the same
    pub names: Vec<String>,
    /// Only what somebody should look at: nodes that go, processes that die, services that fail
    #[arg(long)]
    pub trouble: bool,
    /// How often.
    #[command(flatten)]
    pub beat: Beat,
}

pub(super) async fn listen(session: &mut Session, global: &Global, args: &ListenArgs) -> Result<Exit, Stop> {
    if global.json {
        return Err(Stop::usage("listen never ends, so it is no document; use --ndjson"));
    }
    let mut interrupt = interrupts()?;
    let mut nodes: HashSet<String> = session.targets(global)?.into_iter().collect();
    let handle = session.fleet.handle();
    let (mut news, mut views) = (handle.news(), handle.watch());
    session.follow_nodes(&args.beat)?;
    session.follow_sources();
    let (begun, mut told) = (Instant::now(), global.quiet);
    loop {
        tokio::select! {
            heard = news.recv() => match heard {
                Ok(heard) => if wanted(args, &nodes, &heard) && !stream(&line(global, &heard)) {
                    return Ok(Exit::Done);
                },
                Err(RecvError::Lagged(missed)) => talk(&format!("{missed} changes were missed")),
                Err(RecvError::Closed) => return Ok(Exit::Done),
            },
            changed = views.changed(), if !told => {
                let view = views.borrow_and_update().clone();
                told = changed.is_err() || is_settled(&view);
                if told {
                    let (up, all) = (view.counts.up, view.counts.nodes);
                    talk(&format!("{up} of {all} nodes up after {}", render::units::seconds(begun.elapsed())));
                }
            }
            () = session.sources_changed() => {
                if let Some(news) = session.catch_up()
                    && !global.quiet
                {
                    talk(&news);
                }
                // Of the nodes that were asked for some may have left, even all of them.
                nodes = session.targets(global).map(HashSet::from_iter).unwrap_or_default();
            }
            _ = interrupt.recv() => return Ok(Exit::Done),
        }
    }
}

/// Every node is known to be there or not to be.
pub(crate) fn is_settled(view: &ClusterView) -> bool {
    view.counts.nodes > 0 && view.counts.unknown == 0 && view.counts.connecting == 0
}

fn wanted(args: &ListenArgs, nodes: &HashSet<String>, news: &Arc<News>) -> bool {
    let named = |watcher: &str| {
        args.names.is_empty() || args.names.iter().any(|name| name.to_lowercase() == watcher.to_lowercase())
    };
    nodes.contains(&*news.node)
        && news.change.watcher().is_none_or(named)
        && (!args.trouble || news.change.is_trouble())
}

fn line(global: &Global, news: &News) -> String {
    if global.ndjson {
        format!("{}\n", render::news::json(news))
    } else {
        format!("{}\n", render::news::line(news))
    }
}
