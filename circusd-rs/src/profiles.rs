//! `circusd-rs profiles` and `circusd-rs init`: shows what is shipped, and writes a first configuration
//! file. It prints and writes one new file; it never starts, asks or overwrites anything.

mod first;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use circus_protocol::service::shipped;

use crate::cli::{InitArguments, ProfilesArguments};
use first::Chosen;

/// Why there is nothing to show or to write.
#[derive(Debug, thiserror::Error)]
enum ProfilesError {
    /// Nothing is called so.
    #[error("there is no profile {name:?}; {}", close(.name))]
    Unknown { name: String },
    /// Only a base of others.
    #[error("the profile {name:?} is a base of others and for no version by itself; choose one of: {users}")]
    Base { name: String, users: String },
    /// Two of the profiles are for the same service.
    #[error("{first} and {second} are both for [service:{service}]; a node runs one of them")]
    Twice { first: String, second: String, service: String },
    /// Neither one home nor one for each.
    #[error("--home is there {homes} times for {profiles} profiles: give it once, or once for each")]
    Homes { homes: usize, profiles: usize },
    /// A home that no ini file can hold.
    #[error("--home {home:?}: {reason}")]
    Home { home: std::path::PathBuf, reason: String },
    /// It cannot be written.
    #[error("{path:?} cannot be written: {source}")]
    Write { path: std::path::PathBuf, source: io::Error },
}

fn close(name: &str) -> String {
    match shipped::nearest(name) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`circusd-rs profiles` lists them".to_owned(),
    }
}

/// Lists profiles, or prints some.
#[must_use]
pub fn show(arguments: &ProfilesArguments) -> ExitCode {
    let text = if arguments.names.is_empty() { Ok(listed()) } else { printed(&arguments.names) };
    ended(text.map(|text| say(&mut io::stdout(), &text)))
}

/// Writes a configuration file to start from.
#[must_use]
pub fn init(arguments: &InitArguments) -> ExitCode {
    let written = chosen(arguments).and_then(|chosen| {
        let output = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
        let text = first::file(&chosen, output);
        match output {
            None => say(&mut io::stdout(), &text),
            Some(path) => write_new(path, &text)?,
        }
        Ok(())
    });
    ended(written)
}

fn ended(result: Result<(), ProfilesError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut io::stderr(), &format!("circusd-rs: {error}\n"));
            ExitCode::from(2)
        }
    }
}

/// A closed terminal is no reason to fail.
fn say(to: &mut dyn Write, text: &str) {
    let _closed = to.write_all(text.as_bytes());
}

fn write_new(path: &Path, text: &str) -> Result<(), ProfilesError> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| ProfilesError::Write { path: path.to_owned(), source })
}

/// One line for each profile that a service can use.
fn listed() -> String {
    let mut rows = vec![["PROFILE", "PRODUCT", "VERSIONS", "PORTS"].map(str::to_owned)];
    for profile in shipped::PROFILES {
        let about = profile.about();
        if !about.versions.is_empty() {
            rows.push([profile.name.to_owned(), about.product, about.versions, about.ports]);
        }
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [name, product, versions, ports] in &rows {
        let [first, second, third] = widths;
        text += format!("{name:first$}  {product:second$}  {versions:third$}  {ports}").trim_end();
        text.push('\n');
    }
    text
}

fn printed(names: &[String]) -> Result<String, ProfilesError> {
    let mut text = String::new();
    for name in names {
        let plain = name.strip_prefix(shipped::PREFIX).unwrap_or(name);
        let profile = shipped::profile(plain.strip_suffix(".ini").unwrap_or(plain)).map(|one| one.text);
        let found = profile.or_else(|| shipped::template(plain).map(|template| template.text));
        text += found.ok_or_else(|| ProfilesError::Unknown { name: name.clone() })?;
    }
    Ok(text)
}

/// The profiles that are meant, each with its home.
fn chosen(arguments: &InitArguments) -> Result<Vec<Chosen>, ProfilesError> {
    let (profiles, homes) = (&arguments.profiles, &arguments.home);
    if homes.len() != 1 && homes.len() != profiles.len() {
        return Err(ProfilesError::Homes { homes: homes.len(), profiles: profiles.len() });
    }
    let mut chosen: Vec<Chosen> = Vec::new();
    for (index, name) in profiles.iter().enumerate() {
        let profile = shipped::profile(name).ok_or_else(|| ProfilesError::Unknown { name: name.clone() })?;
        let about = profile.about();
        if about.versions.is_empty() {
            return Err(ProfilesError::Base { name: name.clone(), users: users(name) });
        }
        if let Some(other) = chosen.iter().find(|other| other.about.service == about.service) {
            let (first, second) = (other.profile.name.to_owned(), name.clone());
            return Err(ProfilesError::Twice { first, second, service: about.service });
        }
        let home = homes.get(index).or(homes.first()).map(|home| absolute(home)).transpose()?;
        chosen.push(Chosen { profile, about, home: home.unwrap_or_default() });
    }
    Ok(chosen)
}

/// The profiles that are based on one.
fn users(base: &str) -> String {
    let based = shipped::PROFILES.iter().filter(|profile| profile.about().base.as_deref() == Some(base));
    based.map(|profile| profile.name).collect::<Vec<_>>().join(", ")
}

fn absolute(home: &Path) -> Result<String, ProfilesError> {
    let refuse = |reason: &str| ProfilesError::Home { home: home.to_owned(), reason: reason.to_owned() };
    let path = std::path::absolute(home).map_err(|error| refuse(&error.to_string()))?;
    let text = path.to_str().ok_or_else(|| refuse("is not UTF-8"))?;
    if text.chars().any(|c| c.is_control() || c == '$') || text.contains(" ;") {
        return Err(refuse("has a character in it that an ini file cannot hold"));
    }
    // A trailing slash means nothing.
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests;
