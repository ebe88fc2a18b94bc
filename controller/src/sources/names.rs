//! `dns:` and `srv:`: what name servers know of a name.
//!
//! Addresses come from the system as every program gets them (`/etc/hosts`, name servers), or from the
//! server that the SPEC names; SRV records from the servers of `/etc/resolv.conf`, or from that one.
//! Answers are put in an order of their own, because servers shuffle theirs and the order gives nodes
//! their identifiers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::name::Name;
use domain::rdata::Srv;
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};

/// How long one question may take at one server.
const TIME: Duration = Duration::from_secs(2);
/// How long all of it may take.
const WHOLE_TIME: Duration = Duration::from_secs(8);
/// Where name servers listen.
const PORT: u16 = 53;
/// Where the system says which ones it asks.
const SYSTEM: &str = "/etc/resolv.conf";

/// All addresses of a name: those of IPv4, or where it has none, those of IPv6.
pub(super) async fn addresses(name: &str, server: Option<&str>) -> Result<Vec<IpAddr>, String> {
    let found = match server {
        None => within(system_addresses(name)).await?,
        Some(server) => within(server_addresses(name, &resolver(Some(server))?)).await?,
    };
    let has_v4 = found.iter().any(IpAddr::is_ipv4);
    let mut found: Vec<IpAddr> = found.into_iter().filter(|ip| ip.is_ipv4() || !has_v4).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Err("the name has no address".to_owned()) } else { Ok(found) }
}

async fn system_addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
    Ok(found.map(|at| at.ip()).collect())
}

async fn server_addresses(name: &str, resolver: &StubResolver) -> Result<Vec<IpAddr>, String> {
    let found = resolver.lookup_host(parsed(name)?).await.map_err(|error| error.to_string())?;
    Ok(found.iter().collect())
}

/// The hosts and ports of a name's SRV records: lower priority first, then higher weight, then by name.
pub(super) async fn services(name: &str, server: Option<&str>) -> Result<Vec<(String, u16)>, String> {
    let resolver = resolver(server)?;
    let mut records = within(records(name, &resolver)).await?;
    records.sort_unstable();
    records.dedup();
    if records.is_empty() {
        return Err("the name has no SRV record".to_owned());
    }
    Ok(records.into_iter().map(|(_, _, host, port)| (host, port)).collect())
}

/// Priority, what is left of the weight, host and port.
type Record = (u16, u16, String, u16);

async fn records(name: &str, resolver: &StubResolver) -> Result<Vec<Record>, String> {
    let answer = resolver.query((parsed(name)?, Rtype::SRV)).await.map_err(|error| error.to_string())?;
    let message = answer.into_message();
    match message.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Err("there is no such name".to_owned()),
        other => return Err(format!("the name server answers {other}")),
    }
    let garbled = |error| format!("the name server's answer cannot be read: {error}");
    let section = message.answer().map_err(garbled)?;
    let mut records = Vec::new();
    for record in section.limit_to::<Srv<_>>() {
        let record = record.map_err(garbled)?;
        let srv = record.data();
        let host = srv.target().to_string();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        records.push((srv.priority(), u16::MAX - srv.weight(), host, srv.port()));
    }
    Ok(records)
}

async fn within<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || Err(format!("no name server has answered within {} s", WHOLE_TIME.as_secs()));
    tokio::time::timeout(WHOLE_TIME, asked).await.unwrap_or_else(|_| late())
}

fn parsed(name: &str) -> Result<Name<Vec<u8>>, String> {
    name.parse().map_err(|error| format!("{name:?} is not a name: {error}"))
}

fn resolver(server: Option<&str>) -> Result<StubResolver, String> {
    let mut config = ResolvConf::new();
    match server {
        Some(server) => config.servers.push(ServerConf::new(server_address(server)?, Transport::UdpTcp)),
        None => {
            let path = Path::new(SYSTEM);
            config.parse_file(path).map_err(|error| format!("{SYSTEM}: {error}"))?;
        }
    }
    config.options.timeout = TIME;
    config.options.attempts = 2;
    config.finalize();
    Ok(StubResolver::from_conf(config))
}

fn server_address(server: &str) -> Result<SocketAddr, String> {
    let alone = server.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    alone.or_else(|_| server.parse()).map_err(|_| {
        format!(
            "{server:?} is not a name server's address; write for example dns:db.lab@10.0.0.53 or @127.0.0.1:8600"
        )
    })
}
