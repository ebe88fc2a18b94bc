//! Memory runs out for real, in a control group that the test makes around the daemon: of version 2 where
//! its memory controller is there to be had, else of version 1, else not at all, which is said.
use std::fs;
use std::path::{Path, PathBuf};

use crate::node::{Node, call, until_told};
use serde_json::json;

/// Enough for the daemon, and soon used up by who reads a file without lines.
const LIMIT: u64 = 64 << 20;

/// A group of ours; it goes with the test.
struct Group {
    folder: PathBuf,
    limit: &'static str,
}

impl Drop for Group {
    fn drop(&mut self) {
        let _stays_if_somebody_is_in_it = fs::remove_dir(&self.folder);
    }
}

impl Group {
    /// Why there is none, otherwise.
    fn make() -> Result<Self, String> {
        let second = Self::below("cgroup2", "", &["memory.max", "memory.swap.max"]);
        let first = || Self::below("cgroup", "memory", &["memory.limit_in_bytes", "memory.swappiness"]);
        second.or_else(|two| first().map_err(|one| format!("version 2: {two}; version 1: {one}")))
    }

    /// Below the group that this process is in, as its mount shows it. The second file keeps it from being
    /// swapped out instead.
    fn below(kind: &str, controller: &str, [limit, swap]: &[&'static str; 2]) -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let mounts = read("/proc/self/mountinfo")?;
        let mount = mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let fits = after.starts_with(&format!("{kind} ")) && after.ends_with(controller);
            fits.then(|| before.split(' ').nth(4)).flatten()
        });
        let mount = Path::new(mount.ok_or("it is not mounted")?);
        let groups = read("/proc/self/cgroup")?;
        let own = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            (parts.next()? == controller).then(|| parts.next()).flatten()
        });
        let own = mount.join(own.ok_or("this process is in none")?.trim_start_matches('/'));
        let folder = own.join(format!("circusd-rs-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let group = Self { folder, limit };
        let path = group.folder.join(limit);
        fs::write(&path, LIMIT.to_string()).map_err(|error| format!("{}: {error}", path.display()))?;
        let _there_may_be_no_swap = fs::write(group.folder.join(swap), "0");
        Ok(group)
    }
}

#[tokio::test]
async fn the_kernels_own_kill_is_told_from_others() {
    let group = match Group::make() {
        Ok(group) => group,
        Err(reason) => return println!("not tried, no group with a limit can be made: {reason}"),
    };
    let common = "copy_env = True\nrespawn = False\nautostart = False\n";
    let ini = format!(
        "[watcher:greedy]\ncmd = tail /dev/zero\n{common}[watcher:modest]\ncmd = sleep 1000\n{common}"
    );
    let mut node = Node::start_within(&group.folder.join("cgroup.procs"), &ini);
    let mut client = node.client();
    for name in ["greedy", "modest"] {
        call(&mut client, "start", json!({"name": name})).await;
    }
    let told = until_told(&mut client, "why", json!({"name": "greedy"}), |reply| {
        (reply["state"] == "stopped" && reply["crash"].is_object()).then(|| reply.clone())
    })
    .await;
    let (crash, counted) = (&told["crash"], &told["crash"]["memory_group"]);
    assert_eq!((&crash["verdict"], &crash["signal"]), (&json!("out-of-memory"), &json!("SIGKILL")), "{told}");
    assert_eq!((&counted["kills"], &counted["limit"]), (&json!(1), &json!(LIMIT)), "{told}");
    assert_eq!(counted["limited_by"], json!(group.folder), "{told}");
    assert!(counted["peak"].as_u64().is_none_or(|peak| peak > LIMIT / 2), "{told}");
    // Most of the limit was this one's, and that is its own figure.
    assert!(crash["max_rss"].as_u64().unwrap() > LIMIT / 2 && crash["max_rss_exact"] == true, "{told}");
    let story = told["story"].as_str().unwrap();
    assert!(story.contains("limits it to 64 MiB"), "{story}");

    // Somebody else kills the other: nothing has run out since.
    let pid = until_told(&mut client, "list", json!({"name": "modest"}), |reply| {
        reply["pids"][0].as_i64().and_then(|pid| i32::try_from(pid).ok())
    })
    .await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let told = until_told(&mut client, "why", json!({"name": "modest"}), |reply| {
        reply["crash"].is_object().then(|| reply.clone())
    })
    .await;
    // It lived while the other was killed, so only its own group can tell; where it has none, both are told alike.
    let tree = &told["crash"]["oom_kills"]["tree"];
    let word = if tree.is_null() { "out-of-memory" } else { "killed-from-outside" };
    assert_eq!(told["crash"]["verdict"], word, "{told}");
    assert_eq!(fs::read_to_string(group.folder.join(group.limit)).unwrap().trim(), LIMIT.to_string());
    node.stop();
}
