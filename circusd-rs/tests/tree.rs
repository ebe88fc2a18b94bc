//! A process' whole tree is found and ended, wherever it has run, and nobody else is touched.
//!
//! Each case runs twice: by marks and parentage alone, and with cgroups, where this machine lets us
//! make them. A test file of its own, because it makes this process the parent of all orphans below it.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

#[cfg(test)]
#[path = "host/world.rs"]
#[expect(dead_code, reason = "this file needs a part of it")]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use circus_protocol::number::Signal;
use circusd_rs::arbiter::effect::{Reach, SpawnSpec};
use circusd_rs::arbiter::id::Key;
use circusd_rs::arbiter::input::Input;
use circusd_rs::host::cgroup::Cgroups;
use circusd_rs::host::runner::{Orphans, adopt_orphans};
use world::{World, alive, eventually, sh, zombies};

const STOP: Signal = Signal(19);

/// A process and everybody that comes from it, told apart by a variable of its own.
struct Tree {
    key: Key,
    mark: String,
}

impl Tree {
    fn start(world: &mut World, spec: SpawnSpec) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mark = format!("TREE_TEST={}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (name, value) = mark.split_once('=').unwrap();
        let env = [("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), (name, value)];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let key = world.spawn(SpawnSpec { env: env.to_vec(), ..spec });
        Self { key, mark }
    }

    fn sh(world: &mut World, script: &str) -> Self {
        Self::start(world, sh(script))
    }

    /// All that live.
    fn members(&self) -> Vec<i32> {
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids = pids.filter_map(|name| name.parse::<i32>().ok());
        pids.filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes()) && alive(*pid)
        })
        .collect()
    }

    /// Wait until so many have become `sleep`.
    async fn sleepers(&self, count: usize) -> Vec<i32> {
        eventually(|| {
            let found = self.members().into_iter().filter(|pid| name(*pid) == "sleep").collect::<Vec<_>>();
            (found.len() == count).then_some(found)
        })
        .await
    }

    /// Kill all of it; its end is told only when nobody is left.
    async fn kill(&self, world: &mut World) {
        world.signal(self.key, Signal::KILL, Reach::Tree);
        if world.exited(self.key).await.1 {
            self.gone(world).await;
        }
        assert_eq!(self.members(), Vec::<i32>::new());
    }

    async fn gone(&self, world: &mut World) {
        assert_eq!(world.next().await, Input::Gone { key: self.key });
        assert_eq!(self.members(), Vec::<i32>::new());
    }
}

fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// The grandchild has no parent, group or session in common with us, and its parents are gone.
const DAEMON: &str = "setsid sh -c 'sleep 300 & exit 0' & wait $!;";

/// Without cgroups, and with them where they can be had.
fn play(script: impl AsyncFn(&mut World)) {
    adopt_orphans().unwrap();
    World::play(64, Orphans::Adopted, async |world| {
        script(world).await;
        world.quiet().await;
        eventually(|| (zombies() == 0).then_some(())).await;
    });
    World::play(64, Orphans::Adopted, async |world| match Cgroups::open() {
        Ok(cgroups) => {
            world.confine(cgroups);
            script(world).await;
            world.quiet().await;
            eventually(|| (zombies() == 0).then_some(())).await;
            world.finish().await;
        }
        Err(reason) => println!("not tried with cgroups: {reason}"),
    });
}

/// A program in a folder of its own.
fn program(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_launcher_that_ends_leaves_its_child_to_us() {
    play(async |world| {
        let tree = Tree::sh(world, "trap 'exit 3' TERM; sleep 300 & wait");
        world.spawned(tree.key).await;
        tree.sleepers(1).await;
        world.signal(tree.key, Signal::TERM, Reach::Process);
        assert_eq!(world.exited(tree.key).await, (Some(3), true));
        world.signal(tree.key, Signal::TERM, Reach::Tree);
        tree.gone(world).await;
    });
}

#[test]
fn a_daemon_is_found_when_its_leader_is_killed() {
    play(async |world| {
        let tree = Tree::sh(world, &format!("{DAEMON} exec sleep 300"));
        world.spawned(tree.key).await;
        tree.sleepers(2).await;
        tree.kill(world).await;
    });
}

#[test]
fn a_daemon_is_told_of_when_its_leader_ends() {
    play(async |world| {
        let tree = Tree::sh(world, &format!("{DAEMON} exit 7"));
        world.spawned(tree.key).await;
        assert_eq!(world.exited(tree.key).await, (Some(7), true));
        let [daemon] = tree.sleepers(1).await[..] else { panic!("one daemon") };
        world.quiet().await;
        assert!(alive(daemon), "only the arbiter decides");
        world.signal(tree.key, Signal::TERM, Reach::Tree);
        tree.gone(world).await;
    });
}

#[test]
fn a_daemon_of_a_daemon_is_found_when_it_has_lost_everybody() {
    play(async |world| {
        // Each generation has its own session, and only the last one lives.
        let deep =
            "setsid sh -c 'setsid sh -c \"setsid sleep 300 & exit 0\" & wait $!; exit 0' & wait $!; exit 1";
        let tree = Tree::sh(world, deep);
        world.spawned(tree.key).await;
        assert_eq!(world.exited(tree.key).await, (Some(1), true));
        tree.sleepers(1).await;
        world.signal(tree.key, Signal::KILL, Reach::Tree);
        tree.gone(world).await;
    });
}

#[test]
fn who_ignores_a_stop_is_killed_with_its_children() {
    play(async |world| {
        // A shell passes "ignored" on to what it executes.
        let script = format!("trap '' TERM HUP INT; sleep 300 & {DAEMON} exec sleep 300");
        let tree = Tree::sh(world, &script);
        world.spawned(tree.key).await;
        let pids = tree.sleepers(3).await;
        world.signal(tree.key, Signal::TERM, Reach::Tree);
        world.quiet().await;
        assert!(pids.iter().all(|pid| alive(*pid)));
        tree.kill(world).await;
    });
}

#[test]
fn stopped_processes_are_killed() {
    play(async |world| {
        let tree = Tree::sh(world, &format!("sleep 300 & {DAEMON} exec sleep 300"));
        world.spawned(tree.key).await;
        let pids = tree.sleepers(3).await;
        world.signal(tree.key, STOP, Reach::Tree);
        eventually(|| pids.iter().all(|pid| state(*pid) == Some('T')).then_some(())).await;
        world.signal(tree.key, Signal::TERM, Reach::Tree);
        tree.kill(world).await;
    });
}

fn state(pid: i32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn who_multiplies_while_it_is_killed_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    // 255 processes, each in a session of its own, none of which listens to TERM.
    let text =
        "trap '' TERM; n=$1; [ $n -gt 0 ] || exec sleep 300; n=$((n-1)); setsid $0 $n & setsid $0 $n & wait";
    let storm = program(dir.path(), text).display().to_string();
    play(async |world| {
        let tree = Tree::start(world, world::spec(&[&storm, "7"]));
        world.spawned(tree.key).await;
        eventually(|| (tree.members().len() > 20).then_some(())).await;
        tree.kill(world).await;
    });
}

#[test]
fn who_runs_from_process_to_process_is_caught() {
    let dir = tempfile::tempdir().unwrap();
    // Each generation starts the next in a session of its own, and ends.
    let text = "n=$1; [ $n -gt 0 ] || exec sleep 300; setsid $0 $((n-1)) & exit 0";
    let chain = program(dir.path(), text).display().to_string();
    play(async |world| {
        let tree = Tree::start(world, world::spec(&[&chain, "150"]));
        world.spawned(tree.key).await;
        assert_eq!(world.exited(tree.key).await, (Some(0), true));
        world.signal(tree.key, Signal::KILL, Reach::Tree);
        tree.gone(world).await;
    });
}

#[test]
fn strangers_of_the_same_name_are_left_alone() {
    play(async |world| {
        let script = format!("sleep 300 & {DAEMON} exec sleep 300");
        let (one, two) = (Tree::sh(world, &script), Tree::sh(world, &script));
        for _ in 0..2 {
            assert!(matches!(world.next().await, Input::Spawned { .. }));
        }
        one.sleepers(3).await;
        let others = two.sleepers(3).await;
        let stranger = sleeper();
        one.kill(world).await;
        assert!(others.iter().all(|pid| alive(*pid)), "another process' tree");
        assert!(alive(stranger), "nobody's");
        // The host reaps it as it reaps any orphan.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(stranger), nix::sys::signal::SIGKILL).unwrap();
        two.kill(world).await;
    });
}

#[expect(clippy::disallowed_methods, reason = "a process that is none of the host's")]
#[cfg(test)]
fn sleeper() -> i32 {
    std::process::Command::new("sleep").arg("300").spawn().unwrap().id().cast_signed()
}

#[test]
fn children_that_were_told_with_their_parent_are_not_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let script = format!(
        "trap 'exit 0' TERM; \
         sh -c 'trap \"echo told >> {0}\" TERM; echo ready > {0}; while :; do sleep 0.02; done' & wait",
        count.display()
    );
    play(async |world| {
        fs::write(&count, "").unwrap();
        let tree = Tree::sh(world, &script);
        world.spawned(tree.key).await;
        eventually(|| fs::read_to_string(&count).unwrap().contains("ready").then_some(())).await;
        world.signal(tree.key, Signal::TERM, Reach::WithChildren);
        assert_eq!(world.exited(tree.key).await, (Some(0), true));
        world.signal(tree.key, Signal::TERM, Reach::Tree);
        eventually(|| fs::read_to_string(&count).unwrap().contains("told").then_some(())).await;
        world.quiet().await;
        assert_eq!(fs::read_to_string(&count).unwrap(), "ready\ntold\n");
        world.signal(tree.key, Signal::KILL, Reach::Tree);
        tree.gone(world).await;
    });
}

#[test]
fn a_kill_brings_what_is_known_about_want_of_memory() {
    play(async |world| {
        let tree = Tree::sh(world, "exec sleep 300");
        world.spawned(tree.key).await;
        world.signal(tree.key, Signal::KILL, Reach::Process);
        match world.next().await {
            Input::Exited { exit_code: Some(-9), oom: Some(oom), .. } => {
                assert!(oom.machine.is_some(), "the kernel counts these");
                assert!(matches!(oom.tree, None | Some(0)), "{oom:?}");
            }
            other => panic!("{other:?}"),
        }
        let tree = Tree::sh(world, "exit 9");
        world.spawned(tree.key).await;
        assert!(matches!(world.next().await, Input::Exited { exit_code: Some(9), oom: None, .. }));
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no runtime is left that could wait")]
fn cgroups_go_with_their_processes() {
    play(async |world| {
        let tree = Tree::sh(world, "sleep 300 & exit 0");
        world.spawned(tree.key).await;
        assert_eq!(world.exited(tree.key).await, (Some(0), true));
        world.signal(tree.key, Signal::KILL, Reach::Tree);
        tree.gone(world).await;
    });
    let ours = format!("circusd-rs.{}", std::process::id());
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/nowhere");
    for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let left = Path::new(mount).join(own.trim_start_matches('/')).join(&ours);
        // The tests beside this one have the same folder while they run.
        let gone = (0..6_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            !left.exists()
        });
        assert!(gone, "{left:?}");
    }
}
