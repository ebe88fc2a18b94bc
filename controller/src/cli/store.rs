//! What circusman remembers between runs: the cluster, the console's history, the journal's place, what was
//! detected; and where the user's groups are.
//!
//! `$XDG_CONFIG_HOME/circusman/` (`~/.config`) has `cluster.json` and `groups`,
//! `$XDG_STATE_HOME/circusman/` (`~/.local/state`) has `history`, `operations` and `detected.json`. Knows
//! files, not what a SPEC means.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::sources::System;

/// The cluster as the user defined it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The SPEC.
    pub spec: String,
    /// The default port it was defined with.
    pub port: u16,
    /// What the user calls it.
    pub name: Option<String>,
}

/// What the last commands met, for whoever completes words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Names of the cluster's nodes.
    pub nodes: Vec<String>,
    /// Names of their watchers.
    pub watchers: Vec<String>,
}

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither `$HOME` nor an XDG variable.
    #[error(
        "neither $XDG_CONFIG_HOME nor $HOME is set, so the cluster cannot be remembered; set one, or pass --cluster SPEC each time"
    )]
    NoHome,
    /// A file or directory cannot be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else wrote it.
    #[error("{path}: {reason}; correct it, or delete it and define the cluster again with `circusman cluster SPEC`", path = path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The two directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    config: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Store {
    /// As the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        let get = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let place = |xdg: &str, below_home: &str| {
            get(xdg)
                .or_else(|| get("HOME").map(|home| home.join(below_home)))
                .map(|dir| dir.join("circusman"))
        };
        Self { config: place("XDG_CONFIG_HOME", ".config"), state: place("XDG_STATE_HOME", ".local/state") }
    }

    /// Everything below one directory: for the demo, which must not change what the user has.
    #[must_use]
    pub fn below(dir: &Path) -> Self {
        Self { config: Some(dir.join("config")), state: Some(dir.join("state")) }
    }

    /// The cluster, if one was ever defined.
    ///
    /// # Errors
    /// An unreadable or foreign file; a missing one is no error.
    pub fn load(&self) -> Result<Option<Remembered>, StoreError> {
        let Some(path) = self.config.as_ref().map(|dir| dir.join("cluster.json")) else {
            return Ok(None);
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::File { path, source }),
        };
        parse(&text).map(Some).map_err(|reason| StoreError::Format { path, reason })
    }

    /// Remembers a cluster; the file is replaced in one instant.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub fn save(&self, cluster: &Remembered) -> Result<PathBuf, StoreError> {
        let dir = self.config.as_ref().ok_or(StoreError::NoHome)?;
        let value = json!({"spec": cluster.spec, "port": cluster.port, "name": cluster.name});
        replace(dir, "cluster.json", &value)
    }

    /// Where the user's groups are, whether or not there are any.
    #[must_use]
    pub fn groups(&self) -> Option<PathBuf> {
        self.config.as_ref().map(|dir| dir.join("groups"))
    }

    /// The world that a SPEC of this user's is about.
    #[must_use]
    pub fn system(&self) -> System {
        System::new(self.groups())
    }

    /// What was detected last; nothing that can be used is nothing.
    #[must_use]
    pub fn detected(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.state.as_ref()?.join("detected.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Remembers what was detected; the file is replaced in one instant.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub fn save_detected(&self, found: &Value) -> Result<PathBuf, StoreError> {
        replace(self.state.as_ref().ok_or(StoreError::NoHome)?, "detected.json", found)
    }

    /// What was seen; nothing when it cannot be read.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let text = self.state.as_ref().and_then(|dir| std::fs::read_to_string(dir.join("seen.json")).ok());
        let value: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let list = |key: &str| {
            let list = value.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Seen { nodes: list("nodes"), watchers: list("watchers") }
    }

    /// Keeps what was seen; it only helps, so that it does not matter when it cannot be written.
    pub fn keep(&self, seen: &Seen) {
        let Some(dir) = &self.state else { return };
        let text = json!({"nodes": seen.nodes, "watchers": seen.watchers}).to_string();
        let draft = dir.join(format!("seen.json.{}", std::process::id()));
        let _kept = std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(&draft, text))
            .and_then(|()| std::fs::rename(&draft, dir.join("seen.json")));
    }

    /// Where the journal of operations is; whoever writes it makes the directory.
    #[must_use]
    pub fn operations(&self) -> Option<PathBuf> {
        self.state.as_ref().map(|dir| dir.join("operations"))
    }

    /// Where the console's history is; its directory is made when possible.
    #[must_use]
    pub fn history(&self) -> Option<PathBuf> {
        let dir = self.state.as_ref()?;
        std::fs::create_dir_all(dir).ok()?;
        Some(dir.join("history"))
    }
}

fn replace(dir: &Path, name: &str, value: &Value) -> Result<PathBuf, StoreError> {
    let path = dir.join(name);
    let draft = dir.join(format!("{name}.{}", std::process::id()));
    let write = || {
        std::fs::create_dir_all(dir)?;
        std::fs::write(&draft, format!("{value:#}\n"))?;
        std::fs::rename(&draft, &path)
    };
    match write() {
        Ok(()) => Ok(path),
        Err(source) => Err(StoreError::File { path, source }),
    }
}

fn parse(text: &str) -> Result<Remembered, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let spec = value.get("spec").and_then(Value::as_str).ok_or("has no text \"spec\"")?;
    let port = match value.get("port") {
        None => Some(super::DEFAULT_PORT),
        Some(port) => port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
    };
    let port = port.ok_or("\"port\" is not a number from 1 to 65535")?;
    let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
    Ok(Remembered { spec: spec.to_owned(), port, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_a_cluster() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::below(dir.path());
        assert_eq!(store.load().expect("nothing yet"), None);
        let cluster = Remembered { spec: "node[1-3]".to_owned(), port: 6000, name: Some("lab".to_owned()) };
        let path = store.save(&cluster).expect("saves");
        assert_eq!(store.load().expect("loads"), Some(cluster));
        std::fs::write(&path, "{").expect("writes");
        assert!(store.load().expect_err("not JSON").to_string().contains("not JSON"));
        std::fs::write(&path, "{\"spec\": \"a\", \"port\": 0}").expect("writes");
        assert!(store.load().expect_err("no port").to_string().contains("\"port\""));
        assert!(store.history().expect("a place").ends_with("history"));
        let seen = Seen { nodes: vec!["node1".to_owned()], watchers: vec!["neo4j".to_owned()] };
        assert_eq!(store.seen(), Seen::default());
        store.keep(&seen);
        assert_eq!(store.seen(), seen);
    }
}
