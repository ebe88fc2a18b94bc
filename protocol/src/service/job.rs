//! The jobs that a daemon hands to whoever touches files, and what comes back: owned data, so that
//! rules can carry them without knowing how they are done.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Membership, Services};
use crate::command::ResetKind;

/// Write the services' configuration files.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigureJob {
    /// What there is.
    pub services: Arc<Services>,
    /// The node's place in the cluster.
    pub membership: Membership,
    /// Only these services; all when absent.
    pub wanted: Option<Vec<String>>,
    /// `service:label` and the text that replaces that template's.
    pub templates: Vec<(String, String)>,
    /// Services that run now: their files change only if their sections allow it.
    pub running: Vec<String>,
    /// Unix time at which the oldest process of each of them was started.
    pub since: Vec<(String, f64)>,
    /// Only say what would change.
    pub dry_run: bool,
}

/// What `configure` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigureOutcome {
    /// One per file, unchanged ones too.
    pub files: Vec<FileOutcome>,
    /// Running services with changed files, whose section wants a restart then.
    pub restart: Vec<String>,
    /// Services that run with other files than those that are there now, or, on a dry run, would.
    pub restart_needed: Vec<String>,
}

/// One file of a `configure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOutcome {
    /// The service.
    pub service: String,
    /// The label of its section.
    pub label: String,
    /// The target as declared, variables filled in.
    pub path: PathBuf,
    /// Whether its content is, or would be, another one.
    pub changed: bool,
    /// A unified diff; on a dry run only.
    pub diff: Option<String>,
}

/// Move the services' data out of the way, or back.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetJob {
    /// What there is.
    pub services: Arc<Services>,
    /// The node's place in the cluster, if it was ever told; needed only by roots with variables.
    pub membership: Option<Membership>,
    /// Only these services; all when absent.
    pub wanted: Option<Vec<String>>,
    /// Data, logs, or both.
    pub kind: ResetKind,
    /// Only list what would go.
    pub dry_run: bool,
    /// Put back what the last reset moved aside.
    pub undo: bool,
    /// Seconds until what was moved aside is freed; the section's when absent.
    pub keep: Option<f64>,
    /// Unix time.
    pub now: f64,
}

/// Look at what earlier resets left aside: finish what was interrupted, free what has had its time.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepJob {
    /// What there is.
    pub services: Arc<Services>,
    /// The node's place in the cluster, if it was ever told.
    pub membership: Option<Membership>,
    /// Unix time.
    pub now: f64,
}

/// What `reset` did, or would do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResetOutcome {
    /// One per service that has rules of this kind.
    pub services: Vec<ServiceReset>,
}

/// One service of a `reset`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceReset {
    /// Its name.
    pub service: String,
    /// What went, with everything below each; on an undo, what came back.
    pub deleted: Vec<ResetItem>,
    /// Files that were emptied.
    pub truncated: Vec<ResetItem>,
    /// What stayed although a pattern spoke of it.
    pub kept: Vec<KeptItem>,
    /// The sum over `deleted` and `truncated`.
    pub bytes: u64,
    /// Unix time until which it can be undone; absent when it cannot.
    pub undo_until: Option<f64>,
}

/// A path that went or was emptied.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetItem {
    /// Absolute. Need not be text.
    pub path: PathBuf,
    /// Of all files below, as their sizes say.
    pub bytes: u64,
    /// How many files, directories and others, itself included.
    pub entries: u64,
    /// Unix time of the newest change below.
    pub modified: f64,
}

/// A path that stayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptItem {
    /// Absolute.
    pub path: PathBuf,
    /// Why.
    pub reason: &'static str,
}

impl ConfigureOutcome {
    /// The reply's keys: `success`, `files` and `restart_needed`.
    #[must_use]
    pub fn reply(&self) -> Map<String, Value> {
        let file = |file: &FileOutcome| {
            let mut value = json!({
                "service": file.service,
                "label": file.label,
                "path": text(&file.path),
                "changed": file.changed,
            });
            if let (Some(object), Some(diff)) = (value.as_object_mut(), &file.diff) {
                object.insert("diff".into(), json!(diff));
            }
            value
        };
        let mut reply = Map::new();
        reply.insert("success".into(), json!(true));
        reply.insert("files".into(), self.files.iter().map(file).collect());
        reply.insert("restart_needed".into(), json!(self.restart_needed));
        reply
    }
}

impl ResetOutcome {
    /// The reply's key `services`: name → what happened.
    #[must_use]
    pub fn reply(&self) -> Map<String, Value> {
        let mut services = Map::new();
        for service in &self.services {
            services.insert(service.service.clone(), service.reply());
        }
        let mut reply = Map::new();
        reply.insert("services".into(), Value::Object(services));
        reply
    }
}

impl ServiceReset {
    fn reply(&self) -> Value {
        let items = |items: &[ResetItem]| -> Value { items.iter().map(ResetItem::reply).collect() };
        let kept = |item: &KeptItem| json!({"path": text(&item.path), "reason": item.reason});
        json!({
            "deleted": items(&self.deleted),
            "truncated": items(&self.truncated),
            "kept": self.kept.iter().map(kept).collect::<Vec<_>>(),
            "bytes": self.bytes,
            "undo_until": self.undo_until,
        })
    }
}

impl ResetItem {
    fn reply(&self) -> Value {
        let Self { path, bytes, entries, modified } = self;
        json!({"path": text(path), "bytes": bytes, "entries": entries, "modified": modified})
    }
}

/// A path for people: what is no text becomes a replacement character.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
