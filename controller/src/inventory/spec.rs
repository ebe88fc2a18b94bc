//! The SPEC: which nodes a cluster has, as the user writes it.
//!
//! ```text
//! SPEC    = term { "," term }            blanks and line ends separate as well
//! term    = [ op ] body
//! op      = "-"                          takes nodes away again, wherever it stands
//!         | "!" | "&"                    from left to right: without these; only those that are in both
//! body    = "@" GROUP                    a line `GROUP: SPEC` of the groups file
//!         | "@" FILE                     one or more terms a line, "#" comments; names nodes only
//!         | "exec:" COMMAND              what the command prints, read like a FILE
//!         | "dns:" NAME [":" PORT] [server]   every address of the name is a node
//!         | "srv:" NAME [server]         every host and port of the SRV records is a node
//!         | place [ ":" PORT ]           without a port: the default one
//!         | "tcp://" place ":" PORT
//!         | "ipc://" PATH                a daemon of this machine
//! server  = "@" HOST [ ":" PORT ]        asked instead of the system's name servers
//! place   = IPV4 "-" IPV4                192.168.0.1-192.168.0.32
//!         | IPV4 "-" NUMBER              192.168.0.1-32, the last octet
//!         | IPV4 "/" BITS                192.168.0.0/27, without network and broadcast address
//!         | IPV6 | "[" IPV6 "]"          ::1, with a port [::1]:5556
//!         | pattern                      a host name or IPv4 address with any number of "[1-3,7,10-30/5]"
//! ```
//!
//! Only a complete IPv4 address makes a `-` a range; in host names it is an ordinary character, so
//! `db-1.lab` is one host and `db-[1-4].lab` are four. Zero padding is kept: `node[01-16]`.
//! Order gives the nodes their identifiers; whoever is named twice counts once, with a note.
//!
//! `@` with a `/` or quotes is a file; else a group if the groups file has one of that name, else a
//! file. `exec:` takes the rest of the line unless its command is quoted; it is run only where the user
//! wrote it: on the command line, in the remembered cluster, in the groups file. What is read from a
//! file or a command can name nodes, never commands or further files.
//!
//! Refuses to know the file system, processes and name servers: [`Sources`] asks them.

mod error;
mod evaluate;
mod groups;
mod hosts;
mod scan;
mod set;

use core::net::IpAddr;

use circus_protocol::endpoint::Endpoint;

use super::{Inventory, NodeSpec};
pub use error::{At, Origin, Reason, SpecError};
pub(crate) use scan::unquoted;
pub use scan::{Op, Piece};
use set::Set;

/// As many nodes as one SPEC may name.
pub const MAX_NODES: usize = 65_536;
/// The longest SPEC, the longest `@FILE` and the longest output of a command, in bytes.
pub const MAX_TEXT: usize = 4 << 20;
/// How deep groups may use groups.
pub const MAX_DEPTH: usize = 32;

/// What `configure` calls a node that is reached by a path: it is this machine.
const LOCAL: &str = "127.0.0.1";

/// The world outside of the SPEC. Every error is a lower-case fragment that says why.
pub trait Sources {
    /// The text of an `@FILE`.
    fn file(&mut self, path: &str) -> Result<String, String>;
    /// The groups file; `None`: there is none.
    fn groups(&mut self) -> Result<Option<GroupsFile>, String>;
    /// What a command prints.
    fn exec(&mut self, command: &str) -> Result<String, String>;
    /// The addresses of a name.
    fn addresses(&mut self, name: &str, server: Option<&str>) -> Result<Vec<IpAddr>, String>;
    /// The hosts and ports of a name's SRV records, best first.
    fn services(&mut self, name: &str, server: Option<&str>) -> Result<Vec<(String, u16)>, String>;
}

/// The groups file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsFile {
    /// Where it is.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Nobody but the user and root can write it.
    pub trusted: bool,
}

/// An inventory, and what is worth telling about how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// The nodes.
    pub inventory: Inventory,
    /// Notes for the user, one line each: duplicates that were merged.
    pub notes: Vec<String>,
}

/// Where one node is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A host.
    Tcp {
        /// Its name or address.
        host: String,
        /// Its port; `None`: the default one.
        port: Option<u16>,
    },
    /// A socket of this machine.
    Ipc(String),
}

/// One node that a term names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Where it is.
    pub place: Place,
    /// From a range, a network or a bracket: not every one of those need exist.
    pub range: bool,
    /// Nobody named it singly: a selection means those that the cluster has.
    pub loose: bool,
}

/// One term, expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// As written.
    pub text: String,
    /// What it does.
    pub op: Op,
    /// What it names.
    pub members: Vec<Member>,
    at: At,
}

impl Member {
    /// Named by itself.
    pub(crate) fn single(place: Place) -> Self {
        Self { place, range: false, loose: false }
    }
}

impl Place {
    /// What it is called: by its host; by host and port where the port is not the default.
    #[must_use]
    pub fn name(&self, default_port: u16) -> String {
        match self {
            Self::Ipc(path) => format!("ipc://{path}"),
            Self::Tcp { host, port } => match port.filter(|port| *port != default_port) {
                None => host.clone(),
                Some(port) if host.contains(':') => format!("[{host}]:{port}"),
                Some(port) => format!("{host}:{port}"),
            },
        }
    }

    fn node(&self, default_port: u16, from_range: bool) -> Result<NodeSpec, String> {
        let (address, endpoint) = match self {
            Self::Ipc(path) => (LOCAL.to_owned(), format!("ipc://{path}")),
            Self::Tcp { host, port } => {
                let port = port.unwrap_or(default_port);
                let host_part = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                (host.clone(), format!("tcp://{host_part}:{port}"))
            }
        };
        let endpoint: Endpoint = endpoint.parse().map_err(|error| format!("{error}"))?;
        Ok(NodeSpec { name: self.name(default_port), address, endpoint, from_range })
    }
}

/// Understands a SPEC; nodes without a port get `default_port`.
///
/// # Errors
/// [`SpecError`], with the place and the remedy.
pub fn parse(text: &str, default_port: u16, sources: &mut dyn Sources) -> Result<Parsed, SpecError> {
    let terms = terms(text, default_port, sources)?;
    let mut set = Set::new(default_port);
    let mut notes = Vec::new();
    set.apply(&terms, true, &mut |term, again| {
        let names: Vec<String> = again.iter().map(|member| member.place.name(default_port)).collect();
        let names = super::fold::fold(&names);
        notes.push(format!("{:?} names {names} again; each node counts once", term.text));
    })?;
    if set.is_empty() {
        return Err(SpecError::whole(Reason::Empty { spec: text.trim().to_owned() }));
    }
    let node = |member: &Member| member.place.node(default_port, member.range);
    let nodes: Result<Vec<NodeSpec>, String> = set.members().iter().map(node).collect();
    let bad = |reason| SpecError::whole(Reason::Source { what: "a node".to_owned(), reason });
    Ok(Parsed { inventory: Inventory { nodes: nodes.map_err(bad)?, spec: tidy(text) }, notes })
}

/// The terms of a SPEC in order, everything read and every term expanded.
///
/// # Errors
/// [`SpecError`]; the limit on nodes holds for each term here.
pub fn terms(text: &str, default_port: u16, sources: &mut dyn Sources) -> Result<Vec<Term>, SpecError> {
    if text.len() > MAX_TEXT {
        return Err(SpecError::whole(Reason::TooLong { what: "the cluster SPEC".to_owned() }));
    }
    evaluate::Evaluation::new(default_port, sources).of_spec(text)
}

/// The terms of a SPEC as they are written, nothing read and nothing expanded.
///
/// # Errors
/// A bracket or quote that is not closed, an operator without nodes.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, SpecError> {
    let fault = |(reason, part): hosts::Fault<'_>| SpecError::new(reason, At::of(text, part, None));
    scan::scan(text, false).map_err(fault)
}

/// The names of all groups, in the file's order.
///
/// # Errors
/// The groups file is wrong or cannot be read.
pub fn group_names(sources: &mut dyn Sources) -> Result<Vec<String>, SpecError> {
    let file = sources.groups().map_err(|reason| SpecError::whole(Reason::Groups(reason)))?;
    let groups = file.map(groups::Groups::parse).transpose()?;
    Ok(groups.map(|groups| groups.names().to_vec()).unwrap_or_default())
}

/// The SPEC on one line, as it is printed and remembered.
fn tidy(text: &str) -> String {
    // Blanks inside of quotes and behind `exec:` count.
    if text.contains(['"', '\'']) || text.contains("exec:") {
        return text.trim().to_owned();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
