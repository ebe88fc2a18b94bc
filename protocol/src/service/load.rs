//! Ini sections → [`Services`]. Two steps: sort the sections by the service they are about, with its
//! profile's keys laid underneath; then read each key. Every fault is reported, with its place.

mod build;
mod extras;
mod inherit;
mod names;
mod order;
mod probe;
mod sort;

use std::path::Path;

use super::Services;
use crate::ini::{Ini, Place, TooMuchInherited};

/// A fault in one of our sections. Shown as `file:line: [section] key: reason`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The title has not the parts it should have.
    #[error("{place}: [{section}]: {reason}")]
    Title {
        /// Where.
        place: Place,
        /// The title.
        section: String,
        /// What is wrong.
        reason: String,
    },
    /// There is too much of `[DEFAULT]`.
    #[error(transparent)]
    Inherited(TooMuchInherited),
    /// A key that no section of this kind has.
    #[error("{place}: [{section}] {key}: unknown key{}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The title.
        section: String,
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A key that must be there is not.
    #[error("{place}: [{section}] {key}: missing")]
    Missing {
        /// Where the section is.
        place: Place,
        /// The title.
        section: String,
        /// The key.
        key: &'static str,
    },
    /// A value that does not mean what its key wants.
    #[error("{place}: [{section}] {key}: {reason}")]
    Value {
        /// Where.
        place: Place,
        /// The title.
        section: String,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl ServiceError {
    /// Where the fault stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        match self {
            Self::Title { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::Missing { place, .. }
            | Self::Value { place, .. }
            | Self::Inherited(TooMuchInherited { place, .. }) => place,
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

impl Services {
    /// Reads our sections; those of circus and of others are left alone. `base` is the directory that
    /// the ini files' own names are relative to, that is, the directory they were opened from.
    ///
    /// # Errors
    /// Every fault of every section.
    pub fn from_ini(ini: &Ini, base: &Path) -> Result<Self, Vec<ServiceError>> {
        Self::read(ini, base, |_| true)
    }

    /// The same for whoever drives nodes of which each has processes of its own: what a service says
    /// about its process (`watcher.KEY`, `env.NAME`) is not read. One file may then be about nodes whose
    /// homes differ by `${address}`, which no process could be started from before it is configured.
    ///
    /// # Errors
    /// Every fault of every section.
    pub fn from_ini_of_all_nodes(ini: &Ini, base: &Path) -> Result<Self, Vec<ServiceError>> {
        Self::read(ini, base, |key| !matches!(super::keys::family(key), Some(("watcher" | "env", _))))
    }

    fn read(ini: &Ini, base: &Path, counts: impl Fn(&str) -> bool) -> Result<Self, Vec<ServiceError>> {
        let mut settled = ini.clone();
        settled.settle().map_err(|error| vec![ServiceError::Inherited(error)])?;
        inherit::add_shipped(&mut settled);
        let mut errors = Vec::new();
        let mut sorted = sort::sort(&settled, &mut errors);
        for part in &mut sorted.parts {
            part.entries.retain(|(key, _)| counts(key));
        }
        let services = build::build(&sorted, base, &mut errors);
        order::check(&sorted, &services, &settled, &mut errors);
        // In the order of reading; the sort is stable, so files stay together and in their order.
        let files: Vec<_> = settled.sections.iter().map(|section| section.file.clone()).collect();
        errors.sort_by_key(|error| {
            let place = error.place();
            (files.iter().position(|file| *file == place.file), place.line)
        });
        if errors.is_empty() { Ok(services) } else { Err(errors) }
    }
}
