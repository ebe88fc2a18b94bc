//! The groups file: names for SPECs.
//!
//! ```text
//! # comment
//! db:  node[01-04].lab, node09.lab
//! web: node[05-08].lab
//!      web-spare.lab            a line that begins with a blank goes on with the group above
//! all: @db, @web
//! ```
//!
//! ClusterShell's own flat files have the same form. Knows lines, not what a SPEC means.

use std::collections::HashMap;

use super::GroupsFile;
use super::error::{At, Origin, Reason, SpecError};

/// The file, taken apart.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) path: String,
    pub(super) trusted: bool,
    groups: HashMap<String, Group>,
    /// In the order of the file.
    names: Vec<String>,
}

/// One group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Where it is defined.
    pub(super) line: usize,
    /// Its lines: the number, the whole line, and where in it the SPEC begins.
    pub(super) lines: Vec<(usize, String, usize)>,
}

impl Groups {
    pub(super) fn parse(file: GroupsFile) -> Result<Self, SpecError> {
        let mut groups =
            Self { path: file.path, trusted: file.trusted, groups: HashMap::new(), names: Vec::new() };
        for (line, number) in file.text.lines().zip(1..) {
            let blank = line.trim().is_empty() || line.trim_start().starts_with('#');
            if !blank {
                groups.line(line, number)?;
            }
        }
        Ok(groups)
    }

    fn line(&mut self, line: &str, number: usize) -> Result<(), SpecError> {
        let path = self.path.clone();
        let fault = |reason, part: &str| {
            let origin = Origin { path: path.clone(), line: number };
            SpecError::new(reason, At::of(line, part, Some(origin)))
        };
        if line.starts_with([' ', '\t']) {
            let group = self.names.last().and_then(|name| self.groups.get_mut(name));
            let group = group.ok_or_else(|| fault(Reason::NotAGroup, line.trim()))?;
            group.lines.push((number, line.to_owned(), 0));
            return Ok(());
        }
        let (name, _) = line.split_once(':').ok_or_else(|| fault(Reason::NotAGroup, line))?;
        let after = name.len() + 1;
        let name = name.trim_end();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(letter) {
            return Err(fault(Reason::NotAGroup, if name.is_empty() { line } else { name }));
        }
        if let Some(first) = self.groups.get(name) {
            return Err(fault(Reason::Twice { name: name.to_owned(), line: first.line }, name));
        }
        self.names.push(name.to_owned());
        let group = Group { line: number, lines: vec![(number, line.to_owned(), after)] };
        self.groups.insert(name.to_owned(), group);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}
