//! What changed between two configurations, as a list of things to do.
//!
//! Start-up is the difference from nothing. Nothing is done here: the arbiter carries the changes
//! out, and only it knows which watchers exist now and what each was built from, so that is what it
//! passes in (a watcher that `add` made, that `rm` removed or that `set` changed needs no special
//! case then).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use circus_protocol::name::WatcherName;

use crate::config::socket::SocketConfig;
use crate::config::{Config, Global, WatcherConfig};

/// Variables that a desktop session changes on its own; a difference in these is none.
const VOLATILE: [&str; 4] = ["__CF_USER_TEXT_ENCODING", "PS1", "COMP_WORDBREAKS", "PROMPT_COMMAND"];

/// What a new configuration asks of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is not in the file: stop and remove.
    Remove(WatcherConfig),
    /// Only what needs no other processes differs (how many, what follows a death, figures): apply it live.
    Resize(WatcherConfig),
    /// Anything else differs: stop, rebuild, start if `autostart`.
    Replace(WatcherConfig),
    /// It is new: create, start if `autostart`.
    Add(WatcherConfig),
}

/// Compares what the watchers were built from with what the file says now. Removals come first,
/// then live changes, then replacements and additions in the file's order; unchanged watchers are
/// not mentioned.
pub fn watchers<'a>(
    built: impl IntoIterator<Item = &'a WatcherConfig>,
    new: &[WatcherConfig],
) -> Vec<Change> {
    let built: Vec<&WatcherConfig> = built.into_iter().collect();
    let by_name: HashMap<&WatcherName, &WatcherConfig> = built.iter().map(|old| (&old.name, *old)).collect();
    let wanted: HashSet<&WatcherName> = new.iter().map(|wanted| &wanted.name).collect();
    let gone = built.iter().filter(|old| !wanted.contains(&old.name));
    let removals: Vec<Change> = gone.map(|old| Change::Remove((*old).clone())).collect();
    let mut resizes = Vec::new();
    let mut rebuilds = Vec::new();
    for wanted in new {
        match by_name.get(&wanted.name) {
            None => rebuilds.push(Change::Add(wanted.clone())),
            Some(old) if same(old, wanted) => {}
            Some(old) if same(&resized(old, wanted), wanted) => {
                resizes.push(Change::Resize(wanted.clone()));
            }
            Some(_) => rebuilds.push(Change::Replace(wanted.clone())),
        }
    }
    removals.into_iter().chain(resizes).chain(rebuilds).collect()
}

/// What a new configuration asks of one managed socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketChange {
    /// It is not in the file: close it.
    Remove(String),
    /// It can become what the file says where it is.
    Adjust(SocketConfig),
    /// It must be bound anew.
    Rebind(SocketConfig),
    /// It is new.
    Add(SocketConfig),
}

/// Compares the sockets that there are with what the file says now; additions come last, so that they
/// may have the address of what goes.
pub fn sockets<'a>(
    bound: impl IntoIterator<Item = &'a SocketConfig>,
    new: &[SocketConfig],
) -> Vec<SocketChange> {
    let bound: Vec<&SocketConfig> = bound.into_iter().collect();
    let by_name: HashMap<&str, &SocketConfig> = bound.iter().map(|old| (old.name.as_str(), *old)).collect();
    let wanted: HashSet<&str> = new.iter().map(|wanted| wanted.name.as_str()).collect();
    let gone = bound.iter().filter(|old| !wanted.contains(old.name.as_str()));
    let mut changes: Vec<SocketChange> = gone.map(|old| SocketChange::Remove(old.name.clone())).collect();
    let mut additions = Vec::new();
    for wanted in new {
        match by_name.get(wanted.name.as_str()) {
            None => additions.push(SocketChange::Add(wanted.clone())),
            Some(old) if *old == wanted => {}
            Some(old) if old.adjusts_to(wanted) => changes.push(SocketChange::Adjust(wanted.clone())),
            Some(_) => changes.push(SocketChange::Rebind(wanted.clone())),
        }
    }
    changes.extend(additions);
    changes
}

fn resized(config: &WatcherConfig, wanted: &WatcherConfig) -> WatcherConfig {
    let (numprocesses, figures) = (wanted.numprocesses, wanted.figures);
    WatcherConfig { numprocesses, figures, policy: wanted.policy.clone(), ..config.clone() }
}

/// Equal in everything that matters, the spelling of the name included.
fn same(old: &WatcherConfig, new: &WatcherConfig) -> bool {
    old.name.original() == new.name.original() && settled(old) == settled(new)
}

fn settled(config: &WatcherConfig) -> WatcherConfig {
    let mut config = config.clone();
    if let Some(env) = &mut config.env
        && VOLATILE.iter().any(|name| env.contains_key(*name))
    {
        Arc::make_mut(env).retain(|name, _| !VOLATILE.contains(&name.as_str()));
    }
    config
}

/// The keys of `[circus]` whose change cannot be applied to a running daemon. Stock restarts every
/// watcher with its old settings on any such change, again at each further `reloadconfig`; we apply
/// what can be applied (`check_delay`, `warmup_delay`) and name the rest, touching no process.
#[must_use]
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    // Destructured, so that a new key cannot be forgotten here.
    let Global {
        endpoint,
        pubsub_endpoint,
        stats_endpoint,
        statsd,
        multicast_endpoint,
        endpoint_owner,
        check_delay: _,
        warmup_delay: _,
        hook_timeout: _,
        pidfile,
        umask,
        cgroups,
        loglevel,
        logoutput,
        loggerconfig,
    } = &old.circus;
    let new = &new.circus;
    [
        ("endpoint", *endpoint != new.endpoint),
        ("pubsub_endpoint", *pubsub_endpoint != new.pubsub_endpoint),
        ("stats_endpoint", *stats_endpoint != new.stats_endpoint),
        ("statsd", *statsd != new.statsd),
        ("multicast_endpoint", *multicast_endpoint != new.multicast_endpoint),
        ("endpoint_owner", *endpoint_owner != new.endpoint_owner),
        ("pidfile", *pidfile != new.pidfile),
        ("umask", *umask != new.umask),
        ("cgroups", *cgroups != new.cgroups),
        ("loglevel", *loglevel != new.loglevel),
        ("logoutput", *logoutput != new.logoutput),
        ("loggerconfig", *loggerconfig != new.loggerconfig),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use circus_protocol::name::WatcherName;

    use super::*;

    fn watcher(name: &str, cmd: &str, numprocesses: u32) -> WatcherConfig {
        let new = WatcherConfig::new(WatcherName::new(name), "/".to_owned());
        WatcherConfig { cmd: cmd.to_owned(), numprocesses, ..new }
    }

    fn told(built: &[WatcherConfig], new: &[WatcherConfig]) -> Vec<String> {
        watchers(built, new)
            .iter()
            .map(|change| match change {
                Change::Remove(w) => format!("remove {}", w.name),
                Change::Resize(w) => format!("resize {} {}", w.name, w.numprocesses),
                Change::Replace(w) => format!("replace {}", w.name),
                Change::Add(w) => format!("add {}", w.name),
            })
            .collect()
    }

    #[test]
    fn start_up_is_the_difference_from_nothing() {
        assert_eq!(told(&[], &[watcher("a", "x", 1), watcher("b", "y", 1)]), ["add a", "add b"]);
    }

    #[test]
    fn removals_then_live_changes_then_rebuilds() {
        let old = [watcher("a", "x", 1), watcher("b", "x", 1), watcher("c", "x", 2), watcher("d", "x", 1)];
        let new = [watcher("b", "z", 1), watcher("c", "x", 3), watcher("d", "x", 1), watcher("e", "x", 1)];
        assert_eq!(told(&old, &new), ["remove a", "resize c 3", "replace b", "add e"]);
    }

    #[test]
    fn another_restart_policy_needs_no_restart() {
        let old = [watcher("a", "x", 1)];
        let mut new = old.clone();
        new[0].policy.start_limit = Some(3);
        assert_eq!(told(&old, &new), ["resize a 1"]);
        new[0].respawn = false;
        assert_eq!(told(&old, &new), ["replace a"]);
    }

    #[test]
    fn a_name_in_another_case_is_the_same_watcher_spelt_anew() {
        assert_eq!(told(&[watcher("One", "x", 1)], &[watcher("one", "x", 1)]), ["replace one"]);
    }

    #[test]
    fn prompts_do_not_count() {
        let mut old = watcher("a", "x", 1);
        let mut new = old.clone();
        old.env = Some(Arc::new([("PS1".to_owned(), "1".to_owned())].into()));
        new.env = Some(Arc::new([("PS1".to_owned(), "2".to_owned())].into()));
        assert_eq!(told(&[old.clone()], &[new.clone()]), Vec::<String>::new());
        new.env = Some(Arc::new([("A".to_owned(), "2".to_owned())].into()));
        assert_eq!(told(&[old], &[new]), ["replace a"]);
    }

    #[test]
    fn only_what_cannot_be_applied_needs_a_restart() {
        let old = Config::default();
        let mut new = Config::default();
        new.circus.check_delay = 1.0;
        assert_eq!(needs_restart(&old, &new), Vec::<&str>::new());
        new.circus.endpoint = "tcp://127.0.0.1:1".to_owned();
        new.circus.statsd = true;
        assert_eq!(needs_restart(&old, &new), ["endpoint", "statsd"]);
    }
}
