//! CommandReloader: a watcher is restarted when the file of its program changes.
//!
//! The program is the first word of `cmd`, found as the daemon finds it: as a path from the watcher's
//! directory, or along the PATH. Watchers whose program is no file are left alone, and so are those
//! that are stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::node::{Node, missing};
use super::{PluginError, Work};
use crate::host::sample::figures::first_word;

/// See the module.
#[derive(Debug)]
pub(super) struct Reloader {
    period: f64,
    /// As last seen, by watcher.
    seen: BTreeMap<String, Seen>,
}

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    modified: SystemTime,
}

impl Reloader {
    pub(super) fn new(period: f64) -> Self {
        Self { period, seen: BTreeMap::new() }
    }

    /// True when the file is another than before. A file that is missing may be about to come.
    fn changed(&mut self, name: &str, now: Option<Seen>) -> bool {
        let Some(now) = now else { return false };
        let before = self.seen.insert(name.to_owned(), now.clone());
        before.is_some_and(|before| before != now)
    }
}

impl Work for Reloader {
    fn period(&self) -> Option<f64> {
        Some(self.period)
    }

    /// So that a change before the first round is seen.
    async fn begin(&mut self, node: &mut Node) -> Result<(), PluginError> {
        self.round(node).await
    }

    async fn round(&mut self, node: &mut Node) -> Result<(), PluginError> {
        let mut names = node.watchers().await?;
        names.retain(|name| !name.starts_with("plugin:"));
        self.seen.retain(|name, _| names.contains(name));
        for name in names {
            let reply = match node.call("get", json!({"name": name, "keys": ["cmd", "working_dir"]})).await {
                // It went meanwhile.
                Err(PluginError::Refused { .. }) => continue,
                reply => reply?,
            };
            let option = |key: &str| reply.pointer(&format!("/options/{key}")).and_then(Value::as_str);
            let cmd = option("cmd").ok_or_else(|| missing("get", "cmd"))?;
            let now = program(cmd, option("working_dir").unwrap_or("/")).and_then(|path| seen(&path));
            let path = now.as_ref().map(|seen| seen.path.clone()).unwrap_or_default();
            if self.changed(&name, now) && node.is_active(&name).await? {
                tracing::info!("{} modified. Restarting.", path.display());
                node.order("restart", &name).await?;
            }
        }
        Ok(())
    }
}

/// Where the program of a command line lies.
fn program(cmd: &str, working_dir: &str) -> Option<PathBuf> {
    let word = first_word(cmd)?;
    if word.contains('/') {
        return Some(Path::new(working_dir).join(word));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(&word)).find(|path| path.is_file())
}

/// Links are followed: one that leads elsewhere now is a change.
fn seen(path: &Path) -> Option<Seen> {
    let path = std::fs::canonicalize(path).ok()?;
    let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    Some(Seen { path, modified: metadata.modified().ok()? })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_is_found_as_the_daemon_finds_it() {
        assert_eq!(program("./run --fast 'a b'", "/srv"), Some("/srv/./run".into()));
        assert_eq!(program("'/opt/my app' x", "/srv"), Some("/opt/my app".into()));
        assert!(program("sh -c x", "/").is_some_and(|path| path.is_absolute() && path.ends_with("sh")));
        assert_eq!(program("no-such-program-anywhere", "/"), None);
        assert_eq!(program("", "/"), None);
    }

    #[test]
    fn only_a_change_is_a_change() {
        let mut reloader = Reloader::new(1.0);
        let file = |path: &str, second| {
            Some(Seen { path: path.into(), modified: SystemTime::UNIX_EPOCH + Duration::from_secs(second) })
        };
        assert!(!reloader.changed("a", file("/a", 1)), "the first look");
        assert!(!reloader.changed("a", file("/a", 1)));
        assert!(reloader.changed("a", file("/a", 2)));
        assert!(reloader.changed("a", file("/b", 2)));
        assert!(!reloader.changed("a", None), "being replaced");
        assert!(reloader.changed("a", file("/b", 3)));
    }
}
