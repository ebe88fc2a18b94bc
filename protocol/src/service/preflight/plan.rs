//! From a service and its watcher to what is looked at.

use std::path::Path;

use super::Look;
use crate::service::{PathText, Service, Variables};

/// How a watcher starts its processes, as far as that can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// The program; empty when it cannot be known.
    pub program: String,
    /// As whom; the daemon's own user when absent.
    pub uid: Option<String>,
    /// As which group.
    pub gid: Option<String>,
    /// Where; the daemon's own directory when empty.
    pub working_dir: String,
    /// In which environment.
    pub env: Vec<(String, String)>,
    /// Resources that its watcher sets.
    pub rlimits: Vec<(String, Option<u64>)>,
    /// Those that run.
    pub pids: Vec<i32>,
}

impl Look {
    /// What is looked at for a service whose texts mean this on the node. What cannot be resolved is what
    /// `configure` will say.
    #[must_use]
    pub fn of(service: &Service, variables: &Variables, process: Process) -> Self {
        let path = |text: &PathText| variables.substitute(&text.text).ok();
        let parent = |text: &PathText| {
            let path = path(text)?;
            Path::new(&path).parent().map(|parent| parent.to_string_lossy().into_owned())
        };
        let mut needed = Vec::new();
        needed.extend(service.home.iter().filter_map(path));
        needed.push(process.working_dir.clone());
        needed.extend(service.configs.iter().filter_map(|config| parent(&config.target)));
        let mut written = Vec::new();
        written.extend(service.resets.iter().filter_map(|rule| path(&rule.root)));
        written.extend(service.logs.iter().filter_map(|log| parent(&log.path)));
        Self {
            service: service.name.clone(),
            address: variables.get("address").map(str::to_owned),
            ports: service.ports.clone(),
            limits: service.limits.clone(),
            java: service.java.clone(),
            needed: unique(needed),
            written: unique(written),
            process,
        }
    }

    /// How many things are looked at.
    #[must_use]
    pub fn count(&self) -> usize {
        let java = usize::from(!self.java.is_empty());
        // User, program, host name.
        let always = 3 + usize::from(self.address.is_some());
        always + java + self.ports.len() + self.limits.len() + self.needed.len() + self.written.len()
    }
}

/// Absolute ones, each once.
fn unique(paths: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for path in paths {
        if path.starts_with('/') && !out.contains(&path) {
            out.push(path);
        }
    }
    out
}
