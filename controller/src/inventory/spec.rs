//! The SPEC: which nodes a cluster has, as the user writes it.
//!
//! ```text
//! SPEC    = term { "," term }            blanks and line ends separate as well
//! term    = [ "-" ] body                 a leading "-" takes nodes away again, wherever it stands
//! body    = "@" FILE                     one or more terms a line, "#" comments; files do not nest
//!         | place [ ":" PORT ]           without a port: the default one
//!         | "tcp://" place ":" PORT
//! place   = IPV4 "-" IPV4                192.168.0.1-192.168.0.32
//!         | IPV4 "-" NUMBER              192.168.0.1-32, the last octet
//!         | IPV4 "/" BITS                192.168.0.0/27, without network and broadcast address
//!         | pattern                      a host name or IPv4 address with any number of "[1-3,7]"
//! ```
//!
//! Only a complete IPv4 address makes a `-` a range; in host names it is an ordinary character, so
//! `db-1.lab` is one host and `db-[1-4].lab` are four. Zero padding is kept: `node[01-16]`.
//! Order gives the nodes their identifiers; whoever is named twice counts once, with a note.
//!
//! Refuses to know the file system (the caller reads `@FILE`) and whether a name resolves.

mod hosts;

use std::collections::{HashMap, HashSet};
use std::io;

use circus_protocol::endpoint::{Endpoint, EndpointError};

use super::{Inventory, NodeSpec};
pub use hosts::PlaceError;

/// As many nodes as one SPEC may name.
pub const MAX_NODES: usize = 65_536;
/// The longest SPEC, and the longest `@FILE`, in bytes.
pub const MAX_TEXT: usize = 4 << 20;

/// Reads an `@FILE`.
pub type ReadFile<'a> = &'a mut dyn FnMut(&str) -> io::Result<String>;

/// An inventory, and what is worth telling about how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// The nodes.
    pub inventory: Inventory,
    /// Notes for the user, one line each: duplicates that were merged.
    pub notes: Vec<String>,
}

/// Why a text is no SPEC.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Nothing in it, or everything taken away again.
    #[error(
        "the cluster SPEC {spec:?} names no node; write for example 192.168.0.1-192.168.0.32 or node[01-16].lab"
    )]
    Empty {
        /// What was given.
        spec: String,
    },
    /// One part is wrong.
    #[error("{place}{part:?}: {reason}")]
    Part {
        /// `FILE:LINE: ` or nothing.
        place: String,
        /// The term.
        part: String,
        /// What is wrong with it, and the remedy.
        reason: PlaceError,
    },
    /// An `@FILE` cannot be read.
    #[error("cannot read the node list {path:?}: {source}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Too large to be meant.
    #[error("{what} is longer than {MAX_TEXT} bytes; name the nodes by ranges such as node[01-99]")]
    TooLong {
        /// The SPEC or a file.
        what: String,
    },
    /// A bracket that is not closed, seen before terms can be told apart.
    #[error("{place}{part:?}: the bracket is not closed; write for example node[01-16]")]
    Bracket {
        /// `FILE:LINE: ` or nothing.
        place: String,
        /// From the bracket on.
        part: String,
    },
    /// More than [`MAX_NODES`].
    #[error("{part:?} brings the cluster over {MAX_NODES} nodes; name fewer")]
    TooMany {
        /// The term that went over.
        part: String,
    },
    /// An exclusion without effect is more likely a typing error than a wish.
    #[error("{part:?} takes away nothing: none of these nodes is named in the rest of the SPEC")]
    ExcludesNothing {
        /// The term.
        part: String,
    },
    /// A host that is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// One address that a term names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Host name or IPv4 address.
    pub host: String,
    /// Its port; `None`: the default one.
    pub port: Option<u16>,
}

/// One term, expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// As written.
    pub text: String,
    /// Takes away.
    pub exclude: bool,
    /// A range, a network or a bracket: not every member need exist.
    pub range: bool,
    /// Stands in an `@FILE`: an exclusion from there need not have an effect.
    pub from_file: bool,
    /// What it names.
    pub places: Vec<Place>,
}

/// Understands a SPEC; nodes without a port get `default_port`.
///
/// # Errors
/// [`SpecError`], naming the part and the remedy.
pub fn parse(text: &str, default_port: u16, read: ReadFile<'_>) -> Result<Parsed, SpecError> {
    let terms = terms(text, read)?;
    let mut kept = Builder { default_port, nodes: Vec::new(), seen: HashSet::new(), notes: Vec::new() };
    for term in terms.iter().filter(|term| !term.exclude) {
        kept.add(term)?;
    }
    for term in terms.iter().filter(|term| term.exclude) {
        kept.remove(term)?;
    }
    if kept.nodes.is_empty() {
        return Err(SpecError::Empty { spec: text.trim().to_owned() });
    }
    let inventory = Inventory { nodes: kept.nodes, spec: tidy(text) };
    Ok(Parsed { inventory, notes: kept.notes })
}

/// The terms of a SPEC in order, files read and every term expanded.
///
/// # Errors
/// [`SpecError`]; the limit on nodes holds for each term here.
pub fn terms(text: &str, read: ReadFile<'_>) -> Result<Vec<Term>, SpecError> {
    if text.len() > MAX_TEXT {
        return Err(SpecError::TooLong { what: "the cluster SPEC".to_owned() });
    }
    let mut out = Vec::new();
    for part in split(text, "")? {
        let exclude = part.starts_with('-');
        let body = part.strip_prefix('-').unwrap_or(&part);
        match body.strip_prefix('@') {
            Some(path) => from_file(&part, path, exclude, read, &mut out)?,
            None => out.push(term(&part, exclude, "")?),
        }
    }
    Ok(out)
}

fn from_file(
    part: &str,
    path: &str,
    exclude: bool,
    read: ReadFile<'_>,
    out: &mut Vec<Term>,
) -> Result<(), SpecError> {
    let part_error = |reason| SpecError::Part { place: String::new(), part: part.to_owned(), reason };
    if path.is_empty() {
        return Err(part_error(PlaceError::NoFile));
    }
    let text = read(path).map_err(|source| SpecError::File { path: path.to_owned(), source })?;
    if text.len() > MAX_TEXT {
        return Err(SpecError::TooLong { what: path.to_owned() });
    }
    let before = out.len();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let place = format!("{path}:{}: ", number + 1);
        for part in split(line, &place)? {
            let nested =
                SpecError::Part { place: place.clone(), part: part.clone(), reason: PlaceError::Nested };
            if part.trim_start_matches('-').starts_with('@') {
                return Err(nested);
            }
            out.push(term(&part, exclude || part.starts_with('-'), &place)?);
        }
    }
    if out.len() == before {
        return Err(part_error(PlaceError::EmptyFile));
    }
    Ok(())
}

fn term(part: &str, exclude: bool, place: &str) -> Result<Term, SpecError> {
    let body = part.strip_prefix('-').unwrap_or(part);
    let error = |reason| match reason {
        PlaceError::TooMany => SpecError::TooMany { part: part.to_owned() },
        reason => SpecError::Part { place: place.to_owned(), part: part.to_owned(), reason },
    };
    let (range, places) = hosts::expand(body).map_err(error)?;
    Ok(Term { text: part.to_owned(), exclude, range, from_file: !place.is_empty(), places })
}

/// Splits at commas and blanks outside of brackets.
fn split(text: &str, place: &str) -> Result<Vec<String>, SpecError> {
    let mut parts = vec![String::new()];
    let mut open: Option<usize> = None;
    for (at, letter) in text.char_indices() {
        match letter {
            '[' if open.is_none() => open = Some(at),
            ']' => open = None,
            _ => {}
        }
        if open.is_none() && (letter == ',' || letter.is_whitespace()) {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    if let Some(at) = open {
        let part: String = text.get(at..).unwrap_or_default().chars().take(40).collect();
        return Err(SpecError::Bracket { place: place.to_owned(), part });
    }
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

/// The SPEC on one line, as it is printed and remembered.
fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Collects nodes and keeps them unique.
struct Builder {
    default_port: u16,
    nodes: Vec<NodeSpec>,
    seen: HashSet<(String, u16)>,
    notes: Vec<String>,
}

impl Builder {
    fn add(&mut self, term: &Term) -> Result<(), SpecError> {
        let mut again = Vec::new();
        for place in &term.places {
            let (name, port) = self.name(place);
            if !self.seen.insert((place.host.to_ascii_lowercase(), port)) {
                again.push(name);
                continue;
            }
            if self.nodes.len() >= MAX_NODES {
                return Err(SpecError::TooMany { part: term.text.clone() });
            }
            let endpoint: Endpoint = format!("tcp://{}:{port}", place.host).parse()?;
            self.nodes.push(NodeSpec { name, address: place.host.clone(), endpoint, from_range: term.range });
        }
        if !again.is_empty() {
            let names = super::fold::fold(&again);
            self.notes.push(format!("{:?} names {names} again; each node counts once", term.text));
        }
        Ok(())
    }

    fn remove(&mut self, term: &Term) -> Result<(), SpecError> {
        // Without a port an exclusion means the host on every port: "-node3" is meant that way.
        let mut gone: HashMap<String, Option<u16>> = HashMap::new();
        for place in &term.places {
            gone.insert(place.host.to_ascii_lowercase(), place.port);
        }
        let before = self.nodes.len();
        let default_port = self.default_port;
        self.nodes.retain(|node| {
            let port = node.name.strip_prefix(&node.address).and_then(|rest| rest.strip_prefix(':'));
            let port = port.and_then(|port| port.parse().ok()).unwrap_or(default_port);
            !gone
                .get(&node.address.to_ascii_lowercase())
                .is_some_and(|wanted| wanted.is_none_or(|p| p == port))
        });
        if self.nodes.len() == before && !term.from_file {
            return Err(SpecError::ExcludesNothing { part: term.text.clone() });
        }
        Ok(())
    }

    /// A node is called by its host; by host and port where the port is not the default.
    fn name(&self, place: &Place) -> (String, u16) {
        let port = place.port.unwrap_or(self.default_port);
        let name =
            if port == self.default_port { place.host.clone() } else { format!("{}:{port}", place.host) };
        (name, port)
    }
}

#[cfg(test)]
mod tests;
