//! `cluster detect`: who is there, what has changed since last time, and whether to use that.
//!
//! Nobody is contacted whom the user has not named: the range, or the cluster as it is defined, or the
//! default once the user has agreed; and the multicast group of the network that these are in.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use circus_protocol::endpoint::{Endpoint, Host};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit};
use tokio::time::Instant;

use super::args::duration;
use super::cluster::Done;
use super::confirm;
use super::exit::Exit;
use super::output::{can_ask, can_redraw, complain, data, talk};
use super::session::{self, Cluster, Stop};
use super::store::Store;
use super::{DEFAULT_PORT, Global};
use crate::detect::ask::Patience;
use crate::detect::report::{self, Report};
use crate::detect::scan::{Progress, scan};
use crate::detect::{Detected, Found, Look, Target, compare, multicast};
use crate::inventory::fold::counted;
use crate::inventory::spec::Place;

/// For a connection. On one network an answer comes within milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// For each answer; a busy stock daemon takes its time.
const ANSWER: Duration = Duration::from_secs(5);
/// Addresses that are asked at the same time unless told otherwise, if there are descriptors enough.
const PARALLEL: usize = 512;
/// Descriptors that are needed for other things.
const OTHER_DESCRIPTORS: u64 = 64;

/// `cluster detect`.
#[derive(Debug, Clone, Default, Args)]
pub struct DetectArgs {
    /// Which addresses, as a SPEC [default: the cluster as it is defined]
    #[arg(value_name = "RANGE")]
    pub range: Option<String>,
    /// Use what is found as the cluster, without asking
    #[arg(long = "use")]
    pub use_it: bool,
    /// What the cluster is called then
    #[arg(long)]
    pub name: Option<String>,
    /// Time for a connection [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub connect: Option<Duration>,
    /// Ask the multicast group through the interface that has this address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_multicast")]
    pub interface: Option<Ipv4Addr>,
    /// The multicast group [default: udp://237.219.251.97:12027]
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "no_multicast")]
    pub group: Option<String>,
    /// Do not ask the multicast group
    #[arg(long)]
    pub no_multicast: bool,
}

pub(super) async fn perform(
    global: &Global,
    args: &DetectArgs,
    store: &Store,
    known: Option<&Cluster>,
) -> Result<Done, Stop> {
    let group = args.group.as_deref().map_or_else(multicast::default_group, multicast::group);
    let group = group.map_err(|error| Stop::usage(format!("detect: --group: {error}")))?;
    let range = range(global, args, store, known).await?;
    let begun = Instant::now();
    let look = detect(global, args, group, &range);
    let detected = tokio::select! {
        detected = look => detected,
        _ = tokio::signal::ctrl_c() => return Err(Stop::new(Exit::Interrupted, "interrupted; nothing was changed")),
    };
    let elapsed = begun.elapsed();
    let last = store.detected();
    let asked: Vec<Endpoint> = range.inventory.nodes.iter().map(|node| node.endpoint.clone()).collect();
    let (changes, gone) = compare::since(last.as_ref(), &detected.found, &asked);
    if let Err(error) = store.save_detected(&compare::remembered(last.as_ref(), &detected.found, &asked)) {
        complain(&format!("what was found cannot be remembered: {error}"));
    }
    let exit = if detected.found.is_empty() { Exit::NoTarget } else { Exit::Done };
    print(
        global,
        &Report { detected: &detected, changes: &changes, gone: &gone, asked: asked.len(), elapsed },
        exit,
    );
    let text = detected.spec();
    if text.is_empty() {
        if args.use_it {
            complain("nobody was found, so the cluster stays as it was");
        }
        return Ok(Done { cluster: None, exit });
    }
    if !(args.use_it || agreed(global, &text).await?) {
        return Ok(Done { cluster: None, exit });
    }
    let name = args.name.as_deref().or_else(|| known.and_then(Cluster::given_name));
    let cluster = Cluster::resolve(&text, range.port, name, global.quiet, store.system())?;
    if !global.quiet {
        let names: Vec<&str> = cluster.inventory.nodes.iter().map(|node| node.name.as_str()).collect();
        talk(&format!("the cluster is now {}", counted(&names)));
    }
    Ok(Done { cluster: Some(cluster), exit })
}

/// Whom the user has named.
async fn range(
    global: &Global,
    args: &DetectArgs,
    store: &Store,
    known: Option<&Cluster>,
) -> Result<Cluster, Stop> {
    if let Some(range) = &args.range {
        let port = global.port.or(known.map(|known| known.port)).unwrap_or(DEFAULT_PORT);
        return Cluster::resolve(range, port, None, global.quiet, store.system());
    }
    if let Some(known) = known {
        return Ok(known.clone());
    }
    let question = format!("No cluster is defined yet. Ask {}? [y/N] ", session::DEFAULT_SPEC);
    if !can_ask() || !confirm::yes(question).await? {
        return Err(Stop::usage(
            "detect: no cluster is defined; say which range, as in `cluster detect 10.0.0.0/24`",
        ));
    }
    session::default_cluster(global)
}

async fn agreed(global: &Global, text: &str) -> Result<bool, Stop> {
    if global.yes {
        return Ok(true);
    }
    if global.json || global.ndjson || !can_ask() {
        return Ok(false);
    }
    let names: Vec<&str> = text.split(',').collect();
    confirm::yes(format!("Use {} as the cluster? [y/N] ", counted(&names))).await
}

fn print(global: &Global, report: &Report<'_>, exit: Exit) {
    if global.json {
        data(&format!("{:#}\n", report::document(report, exit.number())));
    } else if global.ndjson {
        data(&format!("{}\n", report::document(report, exit.number())));
    } else {
        data(&report::text(report));
    }
}

async fn detect(global: &Global, args: &DetectArgs, group: SocketAddrV4, range: &Cluster) -> Detected {
    let nodes = range.inventory.nodes.iter();
    let targets: Vec<Target> =
        nodes.map(|node| Target { name: node.name.clone(), endpoint: node.endpoint.clone() }).collect();
    let patience =
        Patience { connect: args.connect.unwrap_or(CONNECT), answer: global.timeout.unwrap_or(ANSWER) };
    let parallel = global.parallel.unwrap_or(PARALLEL).min(descriptors());
    let mut meter = Meter { redraw: !global.quiet && can_redraw() };
    let mut show = |progress: Progress| meter.show(progress);
    let ask_group = async {
        if args.no_multicast {
            return Ok(Vec::new());
        }
        multicast::ask(group, args.interface.or_else(|| loopback(&targets))).await
    };
    let (looks, answers) = tokio::join!(scan(&targets, patience, parallel, &mut show), ask_group);
    let mut detected = Detected::default();
    for (target, look) in targets.iter().zip(looks) {
        sort(&mut detected, target, look, true);
    }
    let (follow, aside) = match answers {
        Ok(answers) => multicast::sorted(&answers),
        Err(error) => {
            detected.group_error = Some(error.to_string());
            (Vec::new(), Vec::new())
        }
    };
    detected.aside = aside;
    let (known, unknown): (Vec<Endpoint>, Vec<Endpoint>) =
        follow.into_iter().partition(|endpoint| targets.iter().any(|target| target.endpoint == *endpoint));
    for found in &mut detected.found {
        found.in_group = known.contains(&found.endpoint);
    }
    let further: Vec<Target> =
        unknown.into_iter().map(|endpoint| Target { name: name(&endpoint, range.port), endpoint }).collect();
    let looks = scan(&further, patience, parallel, &mut show).await;
    for (target, look) in further.iter().zip(looks) {
        sort(&mut detected, target, look, false);
    }
    meter.clear();
    compare::mark_doubles(&mut detected.found);
    detected
}

fn sort(detected: &mut Detected, target: &Target, look: Look, in_range: bool) {
    match look {
        Look::Daemon(daemon) => detected.found.push(Found {
            name: target.name.clone(),
            endpoint: target.endpoint.clone(),
            daemon,
            in_range,
            in_group: !in_range,
            same_as: None,
        }),
        Look::Other(reason) => detected.others.push((target.name.clone(), reason)),
        Look::Nobody(_) => detected.nobody.push(target.name.clone()),
    }
}

/// When all of the range is this machine's own, the question must not leave it.
fn loopback(targets: &[Target]) -> Option<Ipv4Addr> {
    let local = |target: &Target| match &target.endpoint {
        Endpoint::Tcp(at) | Endpoint::Udp(at) => matches!(&at.host, Host::Ip(ip) if ip.is_loopback()),
        Endpoint::Ipc(_) => true,
    };
    targets.iter().all(local).then_some(Ipv4Addr::LOCALHOST)
}

/// What a SPEC calls an endpoint.
fn name(endpoint: &Endpoint, default_port: u16) -> String {
    match endpoint {
        Endpoint::Tcp(at) | Endpoint::Udp(at) => {
            let host = match &at.host {
                Host::Ip(IpAddr::V4(ip)) => ip.to_string(),
                Host::Ip(IpAddr::V6(ip)) => ip.to_string(),
                Host::Name(name) => name.clone(),
                Host::Any => "*".to_owned(),
            };
            Place::Tcp { host, port: Some(at.port) }.name(default_port)
        }
        Endpoint::Ipc(path) => Place::Ipc(path.clone()).name(default_port),
    }
}

/// How many addresses can be asked at the same time at all.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(256, |(soft, _)| soft);
    usize::try_from(limit.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX).max(1)
}

/// `detect 512/1000  found 3`.
struct Meter {
    redraw: bool,
}

impl Meter {
    fn show(&mut self, progress: Progress) {
        if self.redraw {
            let mut stderr = std::io::stderr().lock();
            let Progress { asked, total, found } = progress;
            let _gone = write!(stderr, "\r\x1b[Kdetect {asked}/{total}  found {found}");
            let _gone = stderr.flush();
        }
    }

    fn clear(&self) {
        if self.redraw {
            let mut stderr = std::io::stderr().lock();
            let _gone = write!(stderr, "\r\x1b[K");
            let _gone = stderr.flush();
        }
    }
}
