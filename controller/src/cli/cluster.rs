//! `cluster`: show the cluster, define it, add nodes to it and take some away, read its sources again.
//!
//! The words of 2015 still work: `cluster SPEC`, `cluster NETWORK NUMNODES`, `cluster FILE [PORT]`.

use std::path::Path;

use clap::{Args, Subcommand};

use super::detect::{self, DetectArgs};
use super::exit::Exit;
use super::output::{data, talk};
use super::session::{self, Cluster, Session, Stop};
use super::store::Store;
use super::{DEFAULT_PORT, Global};
use crate::inventory::{Change, edit, spec};
use crate::render;

/// `cluster`.
#[derive(Debug, Clone, Default, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true, after_long_help = LONG_HELP)]
pub struct ClusterArgs {
    /// SPEC; or NETWORK, as 192.168.0; or FILE, one address a line
    #[arg(value_name = "SPEC|NETWORK|FILE", allow_hyphen_values = true)]
    pub first: Option<String>,
    /// With NETWORK the number of nodes, with FILE their port
    #[arg(value_name = "NUMNODES|PORT")]
    pub second: Option<String>,
    /// What the cluster is called; `reset` asks for it
    #[arg(long)]
    pub name: Option<String>,
    /// What else to do with it.
    #[command(subcommand)]
    pub deed: Option<Deed>,
}

const LONG_HELP: &str = "\
A SPEC names nodes, separated by commas or blanks:
  192.168.0.1-192.168.0.32  192.168.0.1-32  192.168.0.0/27   ranges and networks
  node[01-16].lab  r[1-4]n[1-9]  node[0-30/2]                brackets, with steps
  db  db:5556  10.0.0.7  ::1  tcp://db:5556                  single nodes
  ipc:///run/circus/control.sock                             a daemon of this machine
  @GROUP                         a line `GROUP: SPEC` of ~/.config/circusman/groups
  @FILE                          one address a line, # comments
  dns:NAME[:PORT][@SERVER]       every address of the name is a node
  srv:NAME[@SERVER]              every host and port of its SRV records is a node
  exec:COMMAND                   what the command prints, read like a FILE

A - in front takes nodes away, wherever it stands: node[1-9],-node3. From left to right, !
takes away and & keeps what is in both: @db!node3, @db&@up. Quote these for your shell.

@ with a / in it is a file; without one it is a group if there is one of that name, else a
file. exec: takes the rest of the line, unless it is quoted: exec:\"list --up\",node7. It runs
only where you wrote it, for at most 10 seconds: a node list names nodes, never commands.
Files are read again when they change, commands and name servers asked each minute.

add, remove, refresh and detect are commands; a host of such a name is written add:5555.";

/// What can be done with a cluster.
#[derive(Debug, Clone, Subcommand)]
pub enum Deed {
    /// Add nodes; what is known of the others is kept
    Add {
        /// Which
        #[arg(value_name = "SPEC", required = true)]
        nodes: Vec<String>,
    },
    /// Take nodes away; what is known of the others is kept
    Remove {
        /// Which; * and ? match parts of names
        #[arg(value_name = "NODES", required = true)]
        nodes: Vec<String>,
    },
    /// Read files and groups, ask commands and name servers again now
    Refresh,
    /// Find out who is there, and offer to use that as the cluster
    Detect(DetectArgs),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    /// The cluster to go on with; `None`: as it was.
    pub(super) cluster: Option<Cluster>,
    /// How the command ends.
    pub(super) exit: Exit,
}

/// `cluster` on the command line: needs no cluster to begin with.
///
/// # Errors
/// What ends it before there is a result.
pub(super) async fn alone(global: &Global, args: &ClusterArgs) -> Result<Exit, Stop> {
    let store = Store::from_env();
    let redefines =
        args.first.is_some() || matches!(args.deed, Some(Deed::Detect(DetectArgs { range: Some(_), .. })));
    let known = if redefines { None } else { session::known(global, &store, None)? };
    let done = perform(global, args, &store, known.as_ref()).await?;
    if let Some(cluster) = done.cluster {
        session::remember(&store, &cluster)?;
    }
    Ok(done.exit)
}

/// `cluster` in a console.
///
/// # Errors
/// What ends it before there is a result.
pub(super) async fn within(session: &mut Session, global: &Global, args: &ClusterArgs) -> Result<Exit, Stop> {
    let known = session.cluster.clone();
    let done = perform(global, args, &session.store, Some(&known)).await?;
    if let Some(cluster) = done.cluster {
        session::remember(&session.store, &cluster)?;
        session.adopt(cluster);
    }
    Ok(done.exit)
}

async fn perform(
    global: &Global,
    args: &ClusterArgs,
    store: &Store,
    known: Option<&Cluster>,
) -> Result<Done, Stop> {
    let shown = |cluster: Option<Cluster>| {
        let current = cluster.as_ref().or(known).ok_or_else(session::undefined)?;
        show(current, global);
        Ok(Done { cluster, exit: Exit::Done })
    };
    match &args.deed {
        Some(Deed::Detect(args)) => detect::perform(global, args, store, known).await,
        Some(deed) => {
            let known = known.ok_or_else(session::undefined)?;
            let cluster = changed(global, deed, store, known)?;
            let change = Change::between(&known.inventory, &cluster.inventory);
            if !global.quiet {
                talk(&change.to_string());
            }
            shown(Some(cluster))
        }
        None => {
            let renamed = |name: &String| known.map(|known| Cluster { name: name.clone(), ..known.clone() });
            let defined = defined(args, global, store)?;
            shown(defined.or_else(|| args.name.as_ref().and_then(renamed)))
        }
    }
}

/// The cluster with more or fewer nodes, or with those that its sources name now.
fn changed(global: &Global, deed: &Deed, store: &Store, known: &Cluster) -> Result<Cluster, Stop> {
    let (text, port) = (&known.inventory.spec, known.port);
    let mut system = store.system();
    let text = match deed {
        Deed::Add { nodes } => {
            let more = absolute_files(&nodes.join(" "), store).map_err(|error| Stop::spec("add", &error))?;
            edit::added(text, &more, port, &mut system).map_err(|error| Stop::spec("add", &error))?
        }
        Deed::Remove { nodes } => {
            let gone = select(known, &nodes.join(" "), store)?;
            edit::removed(text, &gone, port, &mut system).map_err(|error| Stop::spec("remove", &error))?
        }
        Deed::Refresh | Deed::Detect(_) => text.clone(),
    };
    Cluster::resolve(&text, port, known.given_name(), global.quiet, known.system.clone())
}

fn select(known: &Cluster, text: &str, store: &Store) -> Result<Vec<String>, Stop> {
    use crate::inventory::select::{SelectError, select};
    select(&known.inventory, known.port, text, &mut store.system()).map_err(|error| match &error {
        SelectError::Spec(spec) => Stop::spec("remove", spec),
        SelectError::Unknown { .. } | SelectError::Empty { .. } => {
            Stop::new(Exit::NoTarget, format!("remove: {error}"))
        }
    })
}

/// The cluster that `cluster ...` defines; `None`: it only shows.
fn defined(args: &ClusterArgs, global: &Global, store: &Store) -> Result<Option<Cluster>, Stop> {
    let Some(first) = &args.first else {
        return Ok(None);
    };
    let port = global.port.unwrap_or(DEFAULT_PORT);
    let (text, port) = match &args.second {
        Some(second) => two_words(first, second)?,
        None if Path::new(first).is_file() => (file_spec(first)?, port),
        None => (first.clone(), port),
    };
    let text = absolute_files(&text, store).map_err(|error| Stop::spec("", &error))?;
    Cluster::resolve(&text, port, args.name.as_deref(), global.quiet, store.system()).map(Some)
}

/// `NETWORK NUMNODES` or `FILE PORT`.
fn two_words(first: &str, second: &str) -> Result<(String, u16), Stop> {
    let Some(network) = network(first) else {
        let port = second.parse().ok().filter(|port| *port > 0);
        let port =
            port.ok_or_else(|| Stop::usage(format!("cluster: {second:?} is not a port from 1 to 65535")))?;
        return Ok((file_spec(first)?, port));
    };
    let count = second.parse::<u8>().ok().filter(|count| (1..=254).contains(count));
    let count = count.ok_or_else(|| {
        Stop::usage(format!(
            "cluster: {second:?} is not a number of nodes from 1 to 254; larger clusters: {first}.0/20"
        ))
    })?;
    let spec = if count == 1 { format!("{network}.1") } else { format!("{network}.1-{network}.{count}") };
    Ok((spec, DEFAULT_PORT))
}

/// `192.168.0`, also written `192.168.0.` or `192.168.0.0` → `192.168.0`.
fn network(text: &str) -> Option<String> {
    let text = text.strip_suffix(".0").filter(|rest| rest.split('.').count() == 3).unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    let octets: Vec<u8> = text.split('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
    (octets.len() == 3).then(|| octets.iter().map(u8::to_string).collect::<Vec<_>>().join("."))
}

/// A file named without `@`; quotes keep it a file, whatever it is called.
fn file_spec(path: &str) -> Result<String, Stop> {
    let path = path.strip_prefix('@').unwrap_or(path);
    if path.contains('"') {
        return Err(Stop::usage(format!("cluster: a node list's path has no quotes: {path:?}")));
    }
    if !Path::new(path).is_file() {
        let remedy = "write NETWORK NUMNODES (192.168.0 32), FILE [PORT] or SPEC";
        return Err(Stop::usage(format!(
            "cluster: {path:?} is neither a network of three numbers nor a file; {remedy}"
        )));
    }
    Ok(format!("@\"{path}\""))
}

/// What is remembered must not depend on the directory it was said in.
fn absolute_files(text: &str, store: &Store) -> Result<String, spec::SpecError> {
    // A groups file that cannot be used is told about when a group is used.
    let groups = spec::group_names(&mut store.system()).unwrap_or_default();
    let path = |path: &str| {
        let full = std::path::absolute(path).map_err(|error| error.to_string())?;
        full.to_str().map(str::to_owned).ok_or_else(|| "its path is not UTF-8 text".to_owned())
    };
    edit::absolute(text, &groups, &path)
}

/// Prints a cluster.
fn show(cluster: &Cluster, global: &Global) {
    if !(global.json || global.ndjson) {
        data(&describe(cluster));
        return;
    }
    let text = render::cluster::json(&cluster.name, &cluster.inventory, cluster.port);
    data(&if global.json { format!("{text:#}\n") } else { format!("{text}\n") });
}

/// The cluster as text.
fn describe(cluster: &Cluster) -> String {
    render::cluster::text(&cluster.name, &cluster.inventory, cluster.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_old_forms() {
        assert_eq!(two_words("192.168.0", "3").expect("a network").0, "192.168.0.1-192.168.0.3");
        assert_eq!(two_words("10.1.2.", "1").expect("a network").0, "10.1.2.1");
        assert_eq!(two_words("10.1.2.0", "254").expect("a network").0, "10.1.2.1-10.1.2.254");
        for (first, second) in
            [("192.168.0", "0"), ("192.168.0", "255"), ("192.168.0", "x"), ("no-file", "3"), ("no-file", "x")]
        {
            let stop = two_words(first, second).expect_err("is wrong");
            assert_eq!(stop.exit, Exit::Usage, "{stop}");
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("text");
        assert_eq!(two_words(path, "6000").expect("a file"), (format!("@\"{path}\""), 6000));
    }
}
