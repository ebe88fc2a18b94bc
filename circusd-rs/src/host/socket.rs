//! Managed sockets: opened by the daemon, served by its children.
//!
//! ```text
//!  start-up: open all ─► warden ─┬─ Spawn: numbers that stay open, one as stdin, fresh ones
//!                                ├─ Watch: a task for each ──readable──► SocketReady, once
//!                                └─ Sockets: resolve on a thread ─► apply ─► SocketsChanged
//! ```
//!
//! Their descriptors close on exec in the daemon, so that nothing leaks through other forks; a child
//! that is to have them opens that gate itself. They are opened before most other descriptors, which
//! makes their numbers low, and keep them for the daemon's life. It refuses to know watchers.

mod open;
mod reads;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::SockAddr;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::arbiter::effect::{SocketUse, fresh_socket};
use crate::arbiter::input::BoundSocket;
use crate::config::diff::SocketChange;
use crate::config::socket::SocketConfig;
use crate::host::spawn::raw::watched;
pub use open::SocketError;
use open::{Open, resolve};
use reads::Lender;
pub use reads::Reads;

/// All managed sockets. Dropping them closes them and removes their files.
#[derive(Debug, Default)]
pub struct Sockets {
    open: BTreeMap<String, Open>,
    /// Those that are watched for somebody who knocks.
    watches: BTreeMap<String, AbortHandle>,
    /// For whoever counts how often they are readable.
    lender: Lender,
}

/// A change whose addresses are known.
#[derive(Debug)]
pub(crate) enum Ready {
    Remove(String),
    Adjust(SocketConfig),
    Rebind(SocketConfig, SockAddr),
    Add(SocketConfig, SockAddr),
}

/// Look up what the changes need; blocks. What cannot be found is not done and told.
pub(crate) fn prepare(changes: Vec<SocketChange>) -> (Vec<Ready>, Vec<String>) {
    let mut errors = Vec::new();
    let mut ready = Vec::with_capacity(changes.len());
    for change in changes {
        let prepared = match change {
            SocketChange::Remove(name) => Ok(Ready::Remove(name)),
            SocketChange::Adjust(config) => Ok(Ready::Adjust(config)),
            SocketChange::Rebind(config) => resolve(&config).map(|address| Ready::Rebind(config, address)),
            SocketChange::Add(config) => match resolve(&config) {
                Ok(address) => Ok(Ready::Add(config, address)),
                Err(error) => {
                    tracing::warn!("{error}");
                    continue;
                }
            },
        };
        match prepared {
            Ok(prepared) => ready.push(prepared),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (ready, errors)
}

impl Sockets {
    /// Open all of them. What stock would go on without is said in the log and left out; anything else
    /// is an error, and those that were open already are closed again. May wait for a resolver.
    ///
    /// # Errors
    ///
    /// The first socket that cannot be bound.
    pub fn open(configs: &[SocketConfig]) -> Result<Self, SocketError> {
        let mut sockets = Self::default();
        for config in configs {
            let opened = resolve(config).and_then(|address| Open::new(config.clone(), &address));
            match opened {
                Ok(open) => {
                    sockets.open.insert(config.name.clone(), open);
                }
                Err(error) if error.is_passed_over() => tracing::warn!("{error}"),
                Err(error) => return Err(error),
            }
        }
        sockets.lend();
        Ok(sockets)
    }

    /// Counts how often they are readable, from now on and through all changes.
    #[must_use]
    pub fn reads(&self) -> Reads {
        Reads::new(self.lender.borrower())
    }

    fn lend(&self) {
        self.lender.lend(self.open.values().map(|open| (open.number(), &open.fd)));
    }

    /// What they are, and where.
    #[must_use]
    pub fn told(&self) -> Vec<BoundSocket> {
        self.open.values().map(Open::told).collect()
    }

    // ---- changes ----

    /// Carry changes out; what fails leaves the socket as it was. All watching ends.
    pub(crate) fn apply(&mut self, changes: Vec<Ready>) -> Vec<String> {
        self.watch(&BTreeSet::new(), |_, _| None);
        self.lender.recall();
        let mut errors = Vec::new();
        for change in changes {
            let done = match change {
                Ready::Remove(name) => {
                    self.open.remove(&name);
                    Ok(())
                }
                Ready::Adjust(config) => match self.open.get_mut(&config.name) {
                    Some(open) => open.adjust(config),
                    None => Ok(()),
                },
                Ready::Add(config, address) => match self.add(config, &address) {
                    Err(error) if error.is_passed_over() => {
                        tracing::warn!("{error}");
                        Ok(())
                    }
                    done => done,
                },
                Ready::Rebind(config, address) => self.rebind(config, &address, &mut errors),
            };
            errors.extend(done.err().map(|error| error.to_string()));
        }
        self.lend();
        errors
    }

    fn add(&mut self, config: SocketConfig, address: &SockAddr) -> Result<(), SocketError> {
        let open = Open::new(config, address)?;
        self.open.insert(open.config.name.clone(), open);
        Ok(())
    }

    /// The new one first, so that nothing is lost if it cannot be; where the old one is in its way, the
    /// old one goes first and comes back if that did not help.
    fn rebind(
        &mut self,
        config: SocketConfig,
        address: &SockAddr,
        errors: &mut Vec<String>,
    ) -> Result<(), SocketError> {
        if self.add(config.clone(), address).is_ok() {
            return Ok(());
        }
        let Some(old) = self.open.remove(&config.name) else { return self.add(config, address) };
        let (old_config, old_address) = old.close();
        self.add(config, address).inspect_err(|_| {
            let back = self.add(old_config, &old_address);
            errors.extend(back.err().map(|error| format!("{error}, and it is lost")));
        })
    }

    // ---- children ----

    /// What a child gets. The fresh ones are bound here, and closed in the daemon when this is dropped.
    pub(crate) fn give(&self, wanted: &SocketUse) -> Result<Given<'_>, String> {
        let find = |name: &String| self.open.get(name).ok_or_else(|| format!("there is no socket '{name}'"));
        let mut fresh = BTreeMap::new();
        for name in &wanted.fresh {
            fresh.insert(name.clone(), find(name)?.fresh().map_err(|error| error.to_string())?);
        }
        let stdin = match &wanted.stdin {
            None => None,
            Some(name) => {
                let open = find(name)?;
                if open.config.so_reuseport && !fresh.contains_key(name) {
                    fresh.insert(name.clone(), open.fresh().map_err(|error| error.to_string())?);
                }
                Some((name.clone(), &open.fd))
            }
        };
        let all = self.open.values().map(Open::number);
        let keep = if wanted.inherit {
            all.chain(fresh.values().map(|fd| fd.as_raw_fd())).collect()
        } else {
            Vec::new()
        };
        Ok(Given { keep, fresh, stdin })
    }

    // ---- watching ----

    /// Watch these and no others; `start` begins one watch.
    fn watch(&mut self, wanted: &BTreeSet<String>, start: impl Fn(&str, OwnedFd) -> Option<AbortHandle>) {
        self.watches.retain(|name, watch| {
            let stays = wanted.contains(name);
            if !stays {
                watch.abort();
            }
            stays
        });
        for name in wanted {
            let Some(open) = self.open.get(name).filter(|_| !self.watches.contains_key(name)) else {
                continue;
            };
            // A copy, so that the watch may end later than the socket.
            match open.fd.try_clone() {
                Ok(copy) => {
                    let started = start(name, copy);
                    self.watches.extend(started.map(|watch| (name.clone(), watch)));
                }
                Err(error) => tracing::error!("socket '{name}' cannot be watched: {error}"),
            }
        }
    }

    /// Watch these and no others; each one that is readable is told once. Must be called within a runtime.
    pub(crate) fn watch_all<T: Send + 'static>(
        &mut self,
        wanted: &BTreeSet<String>,
        tell: &mpsc::Sender<T>,
        message: fn(String) -> T,
    ) {
        self.watch(wanted, |name, copy| {
            let (name, tell) = (name.to_owned(), tell.clone());
            let watch = tokio::spawn(async move {
                if readable(&name, copy).await {
                    let _the_warden_left = tell.send(message(name)).await;
                }
            });
            Some(watch.abort_handle())
        });
    }

    /// A watch has told; false if it was called off in between.
    pub(crate) fn knocked(&mut self, name: &str) -> bool {
        self.watches.remove(name).is_some()
    }
}

/// Waits for somebody who knocks. Registering anew tells what is there already, so no knock is missed
/// between two watches.
async fn readable(name: &str, socket: OwnedFd) -> bool {
    let watched = watched(socket);
    let told = match &watched {
        Ok(socket) => socket.readable().await.map(|_ready| ()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    told.inspect_err(|error| tracing::error!("socket '{name}' cannot be watched: {error}")).is_ok()
}

/// What one child gets.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// Open in the child at these numbers.
    pub(crate) keep: Vec<RawFd>,
    fresh: BTreeMap<String, OwnedFd>,
    stdin: Option<(String, &'a OwnedFd)>,
}

impl Given<'_> {
    /// What the child's descriptor 0 becomes, if it is a socket.
    pub(crate) fn stdin(&self) -> Option<&OwnedFd> {
        let (name, shared) = self.stdin.as_ref()?;
        Some(self.fresh.get(name).unwrap_or(shared))
    }

    /// The child's words, with the numbers that are known only now.
    pub(crate) fn words(&self, argv: &[String]) -> Option<Vec<String>> {
        if self.fresh.is_empty() {
            return None;
        }
        let numbered = |word: &String| {
            self.fresh.iter().fold(word.clone(), |word, (name, fd)| {
                word.replace(&fresh_socket(name), &fd.as_raw_fd().to_string())
            })
        };
        Some(argv.iter().map(numbered).collect())
    }
}

#[cfg(test)]
mod tests;
