//! Ends a demo whose circusman was killed before it could: a process of its own that waits for the
//! other end of its stdin to go away.
//!
//! ```text
//!  circusman demo ──pipe──► guard ── end of pipe ─► is the demo still there? end it, remove it
//! ```
//!
//! Knows the demo's directory and nothing else of it. It is in a process group of its own, so that
//! neither Ctrl-C nor a closed terminal reaches it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use tokio::process::{Child, Command};

use super::daemon;
use crate::cli::exit::Exit;

/// How the demo's own directories begin.
pub(super) const DIR_PREFIX: &str = "circusman-demo-";

/// `demo-guard`.
#[derive(Debug, Clone, Args)]
pub struct GuardArgs {
    /// The demo's directory
    dir: PathBuf,
    /// Leave the directory there
    #[arg(long)]
    keep: bool,
}

/// The demo's end of it.
pub(super) struct Guard(Child);

impl Guard {
    /// Begins to wait.
    pub(super) fn start(program: &Path, dir: &Path, keep: bool) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("demo-guard").arg(dir);
        if keep {
            command.arg("--keep");
        }
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().map(Self)
    }

    /// The demo is taken down; there is nothing left to guard.
    pub(super) async fn dismiss(mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait().await;
    }
}

/// The guard itself.
pub async fn watch(args: &GuardArgs) -> Exit {
    let own = args.dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DIR_PREFIX));
    if !args.dir.is_absolute() || !(own || args.keep) {
        return Exit::Usage;
    }
    // Nothing ever comes but the end; on this runtime nobody else waits.
    let _end = io::copy(&mut io::stdin().lock(), &mut io::sink());
    daemon::end_orphans(&args.dir).await;
    if !args.keep {
        let _gone_already = std::fs::remove_dir_all(&args.dir);
    }
    Exit::Done
}
