//! The profiles and templates that come with the programs, as texts: what is known of a product's
//! generations, for everybody to read, copy and override.
//!
//! Here is only the list. What the texts mean is the loader's business, as with any other ini.

use super::PathText;
use crate::ini::{Ini, IniError};

/// What a `template` begins with when it is one of ours.
pub const PREFIX: &str = "shipped:";

/// A shipped profile: an ini file with one `[profile:NAME]` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What `use` says.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

/// A shipped template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// What `template = shipped:NAME` says.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! profiles {
    ($($name:literal),* $(,)?) => {
        &[$(Profile { name: $name, text: include_str!(concat!("../../profiles/", $name, ".ini")) }),*]
    };
}

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(Template { name: $name, text: include_str!(concat!("../../profiles/templates/", $name)) }),*]
    };
}

/// All profiles, in the order in which they are listed; a base of others comes before them.
pub static PROFILES: &[Profile] = profiles![
    "neo4j-base",
    "neo4j-2-ha",
    "neo4j-3.5-ha",
    "neo4j-3.5-cc",
    "neo4j-4.4-cc",
    "neo4j-5",
    "neo4j-5-v2",
    "neo4j-2025",
    "neo4j-single-2",
    "neo4j-single-3",
    "neo4j-single-5",
    "cassandra-base",
    "cassandra-2",
    "cassandra-3",
    "cassandra-4",
    "cassandra-4.1",
    "titan-0.5",
    "titan-1.0",
    "janusgraph-0.6",
    "janusgraph-1",
    "janusgraph-1.1",
    "elasticsearch-1",
    "elasticsearch-7",
];

/// All templates.
pub static TEMPLATES: &[Template] = templates![
    "neo4j-2.properties",
    "neo4j-2-server.properties",
    "neo4j-3.5-ha.conf",
    "neo4j-3.5-cc.conf",
    "neo4j-4.4-cc.conf",
    "neo4j-5.conf",
    "neo4j-5-v2.conf",
    "neo4j-2025.conf",
    "neo4j-single-3.conf",
    "neo4j-single-5.conf",
    "cassandra-2.yaml",
    "cassandra-3.yaml",
    "cassandra-4.yaml",
    "cassandra-4.1.yaml",
    "cassandra-rackdc.properties",
    "titan-0.5-rexster.xml",
    "titan-1.0-server.yaml",
    "titan-1.0.properties",
    "janusgraph-server.yaml",
    "janusgraph.properties",
    "graph.groovy",
    "elasticsearch-1.yml",
    "elasticsearch-7.yml",
];

/// What a profile says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The product; a base of other profiles may have none.
    pub product: String,
    /// Which versions it is for; empty for one that is only a base of others.
    pub versions: String,
    /// What its service is usually called.
    pub service: String,
    /// The profile that it is based on.
    pub base: Option<String>,
    /// Ports, as written.
    pub ports: String,
}

impl Profile {
    /// The text as sections.
    ///
    /// # Errors
    /// If it is no ini, which a test of all of them excludes.
    pub fn ini(&self) -> Result<Ini, Vec<IniError>> {
        Ini::parse(self.text, &format!("{PREFIX}{}.ini", self.name))
    }

    /// What it says about itself, or what the profiles below it say.
    #[must_use]
    pub fn about(&self) -> About {
        let mut about = About::default();
        let mut current = Some(*self);
        let mut depth = 0;
        while let Some(profile) = current.take().filter(|_| depth < PROFILES.len()) {
            let ini = profile.ini().unwrap_or_default();
            let Some(section) = ini.sections.first() else { break };
            let text = |key: &str| section.text(key).unwrap_or_default().to_owned();
            if depth == 0 {
                about.versions = text("versions");
                about.base = section.text("use").map(str::to_owned);
            }
            for (field, key) in [
                (&mut about.product, "product"),
                (&mut about.service, "service"),
                (&mut about.ports, "ports"),
            ] {
                if field.is_empty() {
                    *field = text(key);
                }
            }
            current = section.text("use").and_then(self::profile);
            depth += 1;
        }
        about
    }
}

/// The profile of a name.
#[must_use]
pub fn profile(name: &str) -> Option<Profile> {
    PROFILES.iter().find(|profile| profile.name == name).copied()
}

/// The template of a name.
#[must_use]
pub fn template(name: &str) -> Option<Template> {
    TEMPLATES.iter().find(|template| template.name == name).copied()
}

/// The names of all profiles.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|profile| profile.name)
}

/// The profile or template that somebody may have meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    super::keys::nearest(name, names().chain(TEMPLATES.iter().map(|template| template.name)))
}

/// The template that a path of the ini means, if it is one of ours.
pub(super) fn of_path(path: &PathText) -> Option<Template> {
    path.text.strip_prefix(PREFIX).and_then(template)
}

/// Refuses the name of a template that is not there.
pub(super) fn check_template(name: &str) -> Result<(), String> {
    if template(name).is_some() {
        return Ok(());
    }
    match super::keys::nearest(name, TEMPLATES.iter().map(|template| template.name)) {
        Some(close) => Err(format!("no template {name:?} is shipped; did you mean `{close}`?")),
        None => Err(format!("no template {name:?} is shipped; `circusd-rs profiles` lists them")),
    }
}
