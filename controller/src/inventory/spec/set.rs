//! A set of nodes that keeps its order, and what the operators of a SPEC do to it.

use std::collections::HashSet;

use super::error::{Reason, SpecError};
use super::scan::Op;
use super::{MAX_NODES, Member, Place, Term};

/// Nodes, each once, in the order in which they were named.
#[derive(Debug)]
pub(super) struct Set {
    default_port: u16,
    members: Vec<Member>,
    known: HashSet<(String, u16)>,
}

/// The nodes of a term, to look others up in.
struct Pattern {
    /// Hosts named without a port: on every port. `-node3` is meant that way.
    any_port: HashSet<String>,
    exact: HashSet<(String, u16)>,
}

impl Pattern {
    fn of(members: &[Member], default_port: u16) -> Self {
        let mut pattern = Self { any_port: HashSet::new(), exact: HashSet::new() };
        for member in members {
            let key = key(&member.place, default_port);
            match &member.place {
                Place::Tcp { port: None, .. } => pattern.any_port.insert(key.0),
                Place::Tcp { port: Some(_), .. } | Place::Ipc(_) => pattern.exact.insert(key),
            };
        }
        pattern
    }

    fn has(&self, member: &Member, default_port: u16) -> bool {
        let key = key(&member.place, default_port);
        self.any_port.contains(&key.0) || self.exact.contains(&key)
    }
}

impl Set {
    pub(super) fn new(default_port: u16) -> Self {
        Self { default_port, members: Vec::new(), known: HashSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// All terms of a SPEC: from left to right, and those with `-` at the end. `again` hears of nodes
    /// that were named before. `strict`: an exclusion must have an effect.
    pub(super) fn apply(
        &mut self,
        terms: &[Term],
        strict: bool,
        again: &mut dyn FnMut(&Term, &[&Member]),
    ) -> Result<(), SpecError> {
        let (last, first): (Vec<&Term>, Vec<&Term>) = terms.iter().partition(|term| term.op == Op::Drop);
        for term in first.into_iter().chain(last) {
            match term.op {
                Op::Add => {
                    let doubles = self.add(term)?;
                    if !doubles.is_empty() {
                        again(term, &doubles);
                    }
                }
                Op::Drop | Op::Without => {
                    if self.keep(term, false) == 0 && strict {
                        return Err(term.error(Reason::ExcludesNothing { part: term.text.clone() }));
                    }
                }
                Op::Only => {
                    self.keep(term, true);
                }
            }
        }
        Ok(())
    }

    fn add<'a>(&mut self, term: &'a Term) -> Result<Vec<&'a Member>, SpecError> {
        let mut doubles = Vec::new();
        for member in &term.members {
            if !self.known.insert(key(&member.place, self.default_port)) {
                doubles.push(member);
            } else if self.members.len() >= MAX_NODES {
                return Err(term.error(Reason::TooManyNodes { part: term.text.clone() }));
            } else {
                self.members.push(member.clone());
            }
        }
        Ok(doubles)
    }

    /// Keeps those that the term has, or those that it has not; how many went.
    fn keep(&mut self, term: &Term, wanted: bool) -> usize {
        let before = self.members.len();
        let port = self.default_port;
        let pattern = Pattern::of(&term.members, port);
        self.members.retain(|member| pattern.has(member, port) == wanted);
        self.known = self.members.iter().map(|member| key(&member.place, port)).collect();
        before - self.members.len()
    }
}

impl Term {
    /// An error that points at this term.
    pub(super) fn error(&self, reason: Reason) -> SpecError {
        SpecError::new(reason, self.at.clone())
    }
}

/// What tells places apart: case does not.
fn key(place: &Place, default_port: u16) -> (String, u16) {
    match place {
        Place::Tcp { host, port } => (host.to_ascii_lowercase(), port.unwrap_or(default_port)),
        Place::Ipc(path) => (path.clone(), 0),
    }
}
