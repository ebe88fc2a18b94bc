//! From terms to nodes: every source is asked once, groups are followed, and what a text may name
//! depends on where it comes from.

use std::collections::HashMap;
use std::rc::Rc;

use super::error::{At, Origin, Reason, SpecError};
use super::groups::{Group, Groups};
use super::hosts::{self, Fault};
use super::scan::{self, Piece};
use super::set::Set;
use super::{MAX_DEPTH, MAX_TEXT, Member, Place, Sources, Term};

/// Where a line comes from, which decides what it may name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    /// The user wrote it here and now, or had it remembered.
    User,
    /// The groups file.
    Groups(Origin),
    /// An `@FILE`, or what a command printed.
    List(Origin),
}

impl From {
    fn origin(&self) -> Option<Origin> {
        match self {
            Self::User => None,
            Self::Groups(origin) | Self::List(origin) => Some(origin.clone()),
        }
    }
}

/// One reading of a SPEC.
pub(super) struct Evaluation<'s> {
    default_port: u16,
    sources: &'s mut dyn Sources,
    groups: Option<Option<Rc<Groups>>>,
    /// What was asked already, by the term's body.
    known: HashMap<String, Vec<Member>>,
    /// Groups being followed, and where each is defined.
    open: Vec<(String, Origin)>,
}

impl<'s> Evaluation<'s> {
    pub(super) fn new(default_port: u16, sources: &'s mut dyn Sources) -> Self {
        Self { default_port, sources, groups: None, known: HashMap::new(), open: Vec::new() }
    }

    pub(super) fn of_spec(&mut self, text: &str) -> Result<Vec<Term>, SpecError> {
        self.line(text, text, &From::User)
    }

    /// The terms of `spec`, which is a part of `line`.
    fn line(&mut self, line: &str, spec: &str, from: &From) -> Result<Vec<Term>, SpecError> {
        let at = |part: &str| At::of(line, part, from.origin());
        let fault = |(reason, part): Fault<'_>| SpecError::new(reason, at(part));
        let pieces = scan::scan(spec, *from != From::User).map_err(fault)?;
        let mut terms = Vec::new();
        for piece in pieces {
            let members = match self.asked(line, &piece, from)? {
                Some(members) => members,
                None => hosts::expand(piece.body).map_err(|(reason, part)| match reason {
                    Reason::TooMany => fault((Reason::TooManyNodes { part: piece.text.to_owned() }, part)),
                    reason => fault((reason, part)),
                })?,
            };
            terms.push(Term { text: piece.text.to_owned(), op: piece.op, members, at: at(piece.text) });
        }
        Ok(terms)
    }

    /// What a term stands for that names its nodes elsewhere; `None`: it names them itself.
    fn asked(
        &mut self,
        line: &str,
        piece: &Piece<'_>,
        from: &From,
    ) -> Result<Option<Vec<Member>>, SpecError> {
        let body = piece.body;
        let fault = |reason| SpecError::new(reason, At::of(line, body, from.origin()));
        let is_list = matches!(from, From::List(_));
        let command = scan::exec(body);
        if is_list && (body.starts_with('@') || command.is_some()) {
            let what = if command.is_some() { "commands" } else { "further lists or groups" };
            return Err(fault(Reason::Nested(what)));
        }
        let outside = body.starts_with('@') || command.is_some() || name_server(body).is_some();
        if !outside {
            return Ok(None);
        }
        if let Some(known) = self.known.get(body) {
            return Ok(Some(known.clone()));
        }
        let members = if let Some(command) = command {
            self.may_exec(from).map_err(fault)?;
            self.exec(command, &fault)?
        } else if let Some(path) = body.strip_prefix('@') {
            self.list_or_group(path, &fault)?
        } else {
            self.ask_name_server(body)
                .map_err(|(reason, part)| SpecError::new(reason, At::of(line, part, from.origin())))?
        };
        self.known.insert(body.to_owned(), members.clone());
        Ok(Some(members))
    }

    fn may_exec(&self, from: &From) -> Result<(), Reason> {
        match (from, &self.groups) {
            (From::Groups(origin), Some(Some(groups))) if !groups.trusted => {
                Err(Reason::Untrusted(origin.path.clone()))
            }
            (From::User | From::Groups(_) | From::List(_), _) => Ok(()),
        }
    }

    fn exec(&mut self, command: &str, fault: &dyn Fn(Reason) -> SpecError) -> Result<Vec<Member>, SpecError> {
        if command.is_empty() {
            return Err(fault(Reason::NoCommand));
        }
        let what = format!("exec:{command}");
        let printed = self.sources.exec(command);
        let printed = printed.map_err(|reason| fault(Reason::Source { what: what.clone(), reason }))?;
        let members = self.list(&what, &printed, fault)?;
        // A command tells who is there; nobody named them singly.
        Ok(members.into_iter().map(|member| Member { loose: true, ..member }).collect())
    }

    fn list_or_group(
        &mut self,
        written: &str,
        fault: &dyn Fn(Reason) -> SpecError,
    ) -> Result<Vec<Member>, SpecError> {
        let path = scan::unquoted(written);
        if path.is_empty() {
            return Err(fault(Reason::NoFile));
        }
        if path.contains('/') || path.len() != written.len() {
            let text = self.sources.file(path);
            let text = text.map_err(|why| fault(Reason::File { path: path.to_owned(), why }))?;
            return self.list(path, &text, fault);
        }
        let groups = self.groups(fault)?;
        if let Some(groups) = &groups
            && let Some(group) = groups.get(path)
        {
            let group = group.clone();
            return self.group(path, &group, groups, fault);
        }
        let text = self.sources.file(path).map_err(|why| {
            let groups = match &groups {
                None => "there is no groups file".to_owned(),
                Some(groups) if groups.names().is_empty() => format!("{} has none", groups.path),
                Some(groups) => format!("{} has {}", groups.path, groups.names().join(", ")),
            };
            fault(Reason::NoGroup { name: path.to_owned(), groups, why })
        })?;
        self.list(path, &text, fault)
    }

    fn groups(&mut self, fault: &dyn Fn(Reason) -> SpecError) -> Result<Option<Rc<Groups>>, SpecError> {
        if let Some(groups) = &self.groups {
            return Ok(groups.clone());
        }
        let file = self.sources.groups().map_err(|reason| fault(Reason::Groups(reason)))?;
        let groups = file.map(Groups::parse).transpose()?.map(Rc::new);
        self.groups = Some(groups.clone());
        Ok(groups)
    }

    fn group(
        &mut self,
        name: &str,
        group: &Group,
        groups: &Groups,
        fault: &dyn Fn(Reason) -> SpecError,
    ) -> Result<Vec<Member>, SpecError> {
        let here = Origin { path: groups.path.clone(), line: group.line };
        if let Some(first) = self.open.iter().position(|(open, _)| open == name) {
            let steps = self.open.iter().skip(first);
            let steps: Vec<String> = steps.map(|(name, at)| format!("{name} ({at}) uses ")).collect();
            let chain = format!("{}{name}", steps.concat());
            return Err(fault(Reason::Cycle { name: name.to_owned(), chain }));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(Reason::TooDeep));
        }
        self.open.push((name.to_owned(), here));
        let mut terms = Vec::new();
        for (number, line, after) in &group.lines {
            let origin = Origin { path: groups.path.clone(), line: *number };
            let spec = line.get(*after..).unwrap_or_default();
            terms.extend(self.line(line, spec, &From::Groups(origin))?);
        }
        self.open.pop();
        let members = self.combined(&terms, true)?;
        if members.is_empty() {
            return Err(fault(Reason::EmptyList(format!("the group {name:?}"))));
        }
        Ok(members.into_iter().map(|member| Member { loose: true, ..member }).collect())
    }

    /// The nodes that a text names, one or more a line.
    fn list(
        &mut self,
        path: &str,
        text: &str,
        fault: &dyn Fn(Reason) -> SpecError,
    ) -> Result<Vec<Member>, SpecError> {
        if text.len() > MAX_TEXT {
            return Err(fault(Reason::TooLong { what: path.to_owned() }));
        }
        let mut terms = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let origin = Origin { path: path.to_owned(), line: number };
            terms.extend(self.line(line, line, &From::List(origin))?);
        }
        // Whoever keeps a list of the excluded need not have all of them in it.
        let members = self.combined(&terms, false)?;
        if members.is_empty() {
            return Err(fault(Reason::EmptyList(path.to_owned())));
        }
        Ok(members)
    }

    fn combined(&self, terms: &[Term], strict: bool) -> Result<Vec<Member>, SpecError> {
        let mut set = Set::new(self.default_port);
        set.apply(terms, strict, &mut |_, _| {})?;
        Ok(set.members().to_vec())
    }

    fn ask_name_server<'a>(&mut self, body: &'a str) -> Result<Vec<Member>, Fault<'a>> {
        let Some((kind, rest)) = name_server(body) else { return Ok(Vec::new()) };
        let (name, server) = match rest.split_once('@') {
            Some((name, server)) => (name, Some(server)),
            None => (rest, None),
        };
        let no_name = |name: &str| {
            let reason = hosts::wrong(&name.replace('_', "x"));
            reason.map(|reason| Reason::Host { host: name.to_owned(), reason })
        };
        let failed = |reason| (Reason::Source { what: body.to_owned(), reason }, body);
        let loose = |place| Member { place, range: false, loose: true };
        match kind {
            NameServer::Addresses => {
                let (name, port) = name.split_once(':').map_or((name, None), |(n, port)| (n, Some(port)));
                let port = port.map(hosts::parse_port).transpose()?;
                no_name(name).map_or(Ok(()), |reason| Err((reason, name_or(name, body))))?;
                let found = self.sources.addresses(name, server).map_err(failed)?;
                let place = |address: core::net::IpAddr| Place::Tcp { host: address.to_string(), port };
                Ok(found.into_iter().map(place).map(loose).collect())
            }
            NameServer::Services => {
                no_name(name).map_or(Ok(()), |reason| Err((reason, name_or(name, body))))?;
                let found = self.sources.services(name, server).map_err(failed)?;
                let place = |(host, port): (String, u16)| match hosts::wrong(&host) {
                    None if port > 0 => Ok(loose(Place::Tcp { host, port: Some(port) })),
                    _ => Err(failed(format!("the record {host:?} port {port} names no node"))),
                };
                found.into_iter().map(place).collect()
            }
        }
    }
}

fn name_or<'a>(name: &'a str, body: &'a str) -> &'a str {
    if name.is_empty() { body } else { name }
}

/// What a name server is asked for.
#[derive(Debug, Clone, Copy)]
enum NameServer {
    Addresses,
    Services,
}

/// `dns:` and `srv:`; a host of that name with a port is something else.
fn name_server(body: &str) -> Option<(NameServer, &str)> {
    let (kind, rest) = match body.split_once(':')? {
        ("dns", rest) => (NameServer::Addresses, rest),
        ("srv", rest) => (NameServer::Services, rest),
        _ => return None,
    };
    let port = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    (!port).then_some((kind, rest))
}
