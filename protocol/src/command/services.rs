//! `configure`, `reset` and `ready`, our extensions: what a cluster console asks of a node's services.
//!
//! `configure` takes exactly what the console of 2015 sent, in the types it sent it, and the obvious
//! variations of those types. A wrong member list would be written into every configuration file,
//! so every part of it is checked before anything else sees it.

use serde_json::Value;

use super::arguments::{Arguments, integer, refuse};
use super::lifecycle::matching;
use super::{Configure, Match, Member, Reset, ResetKind};
use crate::json;
use crate::number::int_text;
use crate::reply::Refusal;

/// `preflight` (extension).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preflight {
    /// Which services; all when absent.
    pub name: Option<String>,
    /// How `name` is compared.
    pub matching: Match,
    /// Where the node is in its cluster; what `configure` said last when absent.
    pub member: Option<Member>,
}

/// How many members one cluster may have.
pub const MAX_CLUSTER: usize = 10_000;

/// `ready`: how far watchers have come.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// Which watchers; all when absent.
    pub name: Option<String>,
    /// How `name` is compared.
    pub matching: Match,
    /// How many seconds the answer may wait for them to be ready, or to fail.
    pub wait: Option<f64>,
}

/// The longest wait for `ready`: a week is as good as for ever.
pub const MAX_WAIT: f64 = 7.0 * 24.0 * 3600.0;

/// The arguments of `ready`.
pub(super) fn ready(arguments: &Arguments<'_>) -> Result<Ready, Refusal> {
    let name = arguments.find_name()?;
    let matching = if name.is_some() { matching(arguments)? } else { Match::default() };
    Ok(Ready { name, matching, wait: arguments.seconds("wait")?.map(|wait| wait.min(MAX_WAIT)) })
}

/// The arguments of `configure`.
pub(super) fn configure(arguments: &Arguments<'_>) -> Result<Configure, Refusal> {
    let Member { identifier, address, cluster } = place(arguments)?;
    let services = match arguments.get("services")? {
        None | Some(Value::Null) => None,
        Some(value) => Some(members("services", value)?),
    };
    Ok(Configure {
        is_master: arguments.strict_flag("isMaster")?.unwrap_or(identifier == 1),
        identifier,
        address,
        cluster,
        services,
        variables: texts("variables", arguments.get("variables")?)?,
        templates: templates(arguments.get("templates")?)?,
        fresh: arguments.strict_flag("fresh")?.unwrap_or(false),
        joining: arguments.strict_flag("joining")?.unwrap_or(false),
        dry_run: arguments.strict_flag("dry_run")?.unwrap_or(false),
    })
}

/// Which node of which cluster this is.
fn place(arguments: &Arguments<'_>) -> Result<Member, Refusal> {
    arguments.require(&["identifier", "address", "cluster"])?;
    let identifier = identifier(arguments.get("identifier")?.unwrap_or(&Value::Null))?;
    let cluster = cluster(arguments.get("cluster")?.unwrap_or(&Value::Null))?;
    let address = member("address", arguments.get("address")?.unwrap_or(&Value::Null))?;
    if !cluster.contains(&address) {
        let list = cluster.join(", ");
        return refuse(format!("'address' {address} is not in 'cluster' ({list}): add it or correct it"));
    }
    Ok(Member { identifier, address, cluster })
}

fn identifier(value: &Value) -> Result<u32, Refusal> {
    let number = value.as_str().map_or_else(|| integer(value).filter(|_| !value.is_boolean()), int_text);
    match number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number >= 1) {
        Some(number) => Ok(number),
        None => refuse(format!(
            "'identifier' is {}: send this node's position in the cluster, an integer from 1",
            json::python_repr(value)
        )),
    }
}

fn cluster(value: &Value) -> Result<Vec<String>, Refusal> {
    let cluster = members("cluster", value)?;
    if cluster.is_empty() {
        return refuse("'cluster' is empty: send the addresses of all its nodes".to_owned());
    }
    if cluster.len() > MAX_CLUSTER {
        return refuse(format!(
            "'cluster' has {} addresses: at most {MAX_CLUSTER} are understood",
            cluster.len()
        ));
    }
    let mut seen = std::collections::HashSet::new();
    match cluster.iter().find(|address| !seen.insert(address.as_str())) {
        Some(twice) => refuse(format!("'cluster' has {twice} twice: send each address once")),
        None => Ok(cluster),
    }
}

/// A list of words, or one text with commas between them.
fn members(key: &str, value: &Value) -> Result<Vec<String>, Refusal> {
    match value {
        Value::Array(items) => items.iter().map(|item| member(key, item)).collect(),
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(text) => text.split(',').map(|item| word(key, item.trim(), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            refuse(format!("'{key}' is {}: send a list of texts", json::python_repr(value)))
        }
    }
}

fn member(key: &str, value: &Value) -> Result<String, Refusal> {
    match value.as_str() {
        Some(text) => word(key, text, value),
        None => refuse(format!("'{key}' holds {}: send text", json::python_repr(value))),
    }
}

/// No blanks within, no control characters: these words end up in configuration files.
fn word(key: &str, text: &str, whole: &Value) -> Result<String, Refusal> {
    if text.is_empty() {
        return refuse(format!("'{key}' holds an empty entry ({}): remove it", json::python_repr(whole)));
    }
    if text.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return refuse(format!("'{key}' holds {}: remove the blanks", json::python_repr_str(text)));
    }
    Ok(text.to_owned())
}

/// An object of texts; numbers and booleans are taken as they are written.
fn texts(key: &str, value: Option<&Value>) -> Result<Vec<(String, String)>, Refusal> {
    let map = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(value) => return refuse(format!("'{key}' is {}: send an object", json::python_repr(value))),
    };
    map.iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name.clone(), text.clone())),
            Value::Bool(flag) => Ok((name.clone(), flag.to_string())),
            Value::Number(_) => Ok((name.clone(), json::python_str(value))),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                refuse(format!("'{key}' has {name} = {}: send text", json::python_repr(value)))
            }
        })
        .collect()
}

fn templates(value: Option<&Value>) -> Result<Vec<(String, String)>, Refusal> {
    let templates = texts("templates", value)?;
    let labelled = |key: &str| {
        key.split_once(':').is_some_and(|(service, label)| !service.is_empty() && !label.is_empty())
    };
    match templates.iter().find(|(key, _)| !labelled(key)) {
        Some((key, _)) => {
            refuse(format!("'templates' has the key {}: send 'service:label'", json::python_repr_str(key)))
        }
        None => Ok(templates),
    }
}

/// The arguments of `reset`.
pub(super) fn reset(arguments: &Arguments<'_>) -> Result<Reset, Refusal> {
    let (name, matching) = which(arguments)?;
    let kind = match arguments.get("kind")? {
        None | Some(Value::Null) => ResetKind::All,
        Some(value) => match value.as_str() {
            Some("data") => ResetKind::Data,
            Some("log") => ResetKind::Log,
            Some("all") => ResetKind::All,
            Some(_) | None => {
                return refuse(format!("'kind' is {}: send data, log or all", json::python_repr(value)));
            }
        },
    };
    Ok(Reset {
        name,
        matching,
        kind,
        dry_run: arguments.strict_flag("dry_run")?.unwrap_or(false),
        stop: arguments.strict_flag("stop")?.unwrap_or(false),
        undo: arguments.strict_flag("undo")?.unwrap_or(false),
        keep: arguments.seconds("keep")?,
        member: member_of(arguments)?,
    })
}

/// The arguments of `preflight`.
pub(super) fn preflight(arguments: &Arguments<'_>) -> Result<Preflight, Refusal> {
    let (name, matching) = which(arguments)?;
    Ok(Preflight { name, matching, member: member_of(arguments)? })
}

fn which(arguments: &Arguments<'_>) -> Result<(Option<String>, Match), Refusal> {
    let name = arguments.find_name()?;
    let matching = if name.is_some() { matching(arguments)? } else { Match::default() };
    Ok((name, matching))
}

/// The node's place, if it was sent.
fn member_of(arguments: &Arguments<'_>) -> Result<Option<Member>, Refusal> {
    arguments.get("address")?.is_some().then(|| place(arguments)).transpose()
}
