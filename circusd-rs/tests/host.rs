//! The host keeps the contract of `arbiter.rs`, with real processes.
//!
//! Everything waits on conditions with a deadline. Orphans need a process of their own and live in
//! `tests/orphans.rs`; measurements are printed, not judged.

#[cfg(test)]
#[path = "host/world.rs"]
mod world;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use circus_protocol::number::{Pid, Signal};
use circus_protocol::reply::Refusal;
use circusd_rs::arbiter::effect::{Effect, Reach, SampleTarget, SpawnSpec, Stdio};
use circusd_rs::arbiter::id::{Key, SampleTag, WatcherId};
use circusd_rs::arbiter::input::{Input, StreamState};
use circusd_rs::config::{StreamClass, StreamConfig};
use circusd_rs::host::cgroup::Cgroups;
use circusd_rs::host::runner::Orphans::Left;
use world::{World, alive, children, descriptors, eventually, sh, spec, zombies};

/// Mailbox of the loop; one test has a smaller one.
const ROOM: usize = 64;

fn file(path: &Path) -> Option<StreamConfig> {
    let conf = [("filename".to_owned(), path.display().to_string().into())].into();
    Some(StreamConfig { class: StreamClass::File, conf })
}

/// A shell whose output is captured.
fn loud(script: &str) -> SpawnSpec {
    SpawnSpec { stdout: Stdio::Stream, stderr: Stdio::Stream, ..sh(script) }
}

#[test]
fn a_process_starts_and_its_exit_is_told_once() {
    World::play(ROOM, Left, async |world| {
        let cases =
            [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -13 $$", -13), ("kill -40 $$", -40)];
        for (script, code) in cases {
            let key = world.spawn(sh(script));
            let pid = world.spawned(key).await;
            assert_eq!(world.exited(key).await, (Some(code), false), "{script}");
            assert!(!alive(pid), "{script}");
        }
        world.quiet().await;
        assert_eq!(zombies(), 0);
    });
}

#[test]
fn what_cannot_start_is_told_in_circus_words() {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let base = || spec(&["/bin/true"]);
    let cases = [
        ("[Errno 2] No such file or directory: '/no/such'", spec(&["/no/such"])),
        (
            "[Errno 2] No such file or directory: 'sh'",
            SpawnSpec { env: vec![("PATH".to_owned(), "/nowhere:/none".to_owned())], ..sh("") },
        ),
        ("[Errno 13] Permission denied: '/etc/passwd'", spec(&["/etc/passwd"])),
        (
            "[Errno 2] No such file or directory: '/no dir'",
            SpawnSpec { working_dir: "/no dir".to_owned(), ..base() },
        ),
        (
            "'nobody at all' isn't a valid user name",
            SpawnSpec { uid: Some("nobody at all".to_owned()), ..base() },
        ),
        (
            "'none at all' isn't a valid group name",
            SpawnSpec { gid: Some("none at all".to_owned()), ..base() },
        ),
        (
            "unknown rlimit \"filez\" (known: ",
            SpawnSpec { rlimits: vec![("filez".to_owned(), Some(1))], ..base() },
        ),
        ("the command is empty", SpawnSpec { argv: Vec::new(), ..base() }),
        ("embedded null byte in the command", SpawnSpec { argv: list(&["/bin/true", "a\0b"]), ..base() }),
    ];
    World::play(ROOM, Left, async move |world| {
        for (expected, spec) in cases {
            let key = world.spawn(spec);
            let error = world.spawn_failed(key).await;
            assert!(error.starts_with(expected), "{error}");
        }
        world.quiet().await;
        assert_eq!(zombies(), 0);
    });
}

#[test]
fn a_child_gets_exactly_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // The descriptors are listed by the shell itself, so that nothing else is open for the listing.
    let script = "env; echo --; ulimit -n; ulimit -Hn; pwd; cut -d' ' -f5,6 /proc/$$/stat; \
        echo /proc/$$/fd/*; readlink /proc/$$/fd/0; echo end";
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&out), None);
        let env = [("PATH", "/usr/bin:/bin"), ("A", "ö b=c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let key = world.spawn(SpawnSpec {
            env: env.to_vec(),
            working_dir: "/usr".to_owned(),
            rlimits: vec![("NoFile".to_owned(), Some(77)), ("core".to_owned(), Some(0))],
            stderr: Stdio::Null,
            ..loud(script)
        });
        let pid = world.spawned(key).await;
        assert_eq!(world.exited(key).await, (Some(0), false));
        let text = eventually(|| fs::read_to_string(&out).ok().filter(|text| text.ends_with("end\n"))).await;
        let env: HashSet<&str> = text.lines().take_while(|line| *line != "--").collect();
        // A shell sets these for its own children.
        let own = |line: &&str| ["PWD=", "OLDPWD=", "_=", "SHLVL="].iter().any(|name| line.starts_with(name));
        let env: HashSet<&str> = env.into_iter().filter(|line| !own(line)).collect();
        assert_eq!(env, ["PATH=/usr/bin:/bin", "A=ö b=c"].into());
        assert!(
            text.contains(&format!("\n77\n77\n/usr\n{pid} {pid}\n")),
            "limits, directory, session: {text}"
        );
        let fds: Vec<&str> =
            text.lines().find(|line| line.starts_with("/proc/")).unwrap().split(' ').collect();
        // One more is the shell's own, open for its listing.
        assert!(fds.len() <= 4 && fds[0].ends_with("/0") && fds[2].ends_with("/2"), "{fds:?}");
        assert!(text.ends_with("/dev/null\nend\n"), "{text}");
    });
}

#[test]
fn signals_are_as_a_program_expects_them() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&out), None);
        // Not through a shell, which blocks signals for moments of its own.
        let spec = spec(&["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]);
        let key = world.spawn(SpawnSpec { stdout: Stdio::Stream, ..spec });
        world.spawned(key).await;
        assert_eq!(world.exited(key).await, (Some(0), false));
        let text =
            eventually(|| fs::read_to_string(&out).ok().filter(|text| text.lines().count() == 2)).await;
        assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    });
}

#[test]
fn a_root_daemon_gives_up_its_rights_for_a_child() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let root = nix::unistd::Uid::effective().is_root();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("there is a user nobody");
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&out), None);
        let uid = Some("nobody".to_owned());
        let key = world.spawn(SpawnSpec { uid, ..loud("id -u; id -ru; id -g; id -rg; id -G; echo end") });
        if !root {
            let error = world.spawn_failed(key).await;
            assert!(error.starts_with("[Errno 1] Operation not permitted: group"), "{error}");
            return;
        }
        world.spawned(key).await;
        assert_eq!(world.exited(key).await, (Some(0), false));
        let text = eventually(|| fs::read_to_string(&out).ok().filter(|text| text.ends_with("end\n"))).await;
        assert!(text.starts_with(&format!("{0}\n{0}\n{1}\n{1}\n", nobody.uid, nobody.gid)), "{text}");
        assert!(
            !text.lines().nth(4).unwrap().split(' ').any(|group| group == "0"),
            "root's groups are gone: {text}"
        );
    });
}

#[test]
fn a_group_that_lives_on_is_told_and_then_its_end() {
    World::play(ROOM, Left, async |world| {
        let key = world.spawn(sh("sleep 300 & exit 3"));
        world.spawned(key).await;
        assert_eq!(world.exited(key).await, (Some(3), true));
        world.quiet().await;
        world.signal(key, Signal::KILL, Reach::Tree);
        assert_eq!(world.next().await, Input::Gone { key });
        world.signal(key, Signal::KILL, Reach::Tree);
        world.quiet().await;
    });
}

#[test]
fn a_kill_of_the_tree_reaches_who_left_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("pids");
    let script = format!(
        "setsid sh -c 'echo $$ >> {0}; sleep 300 & echo $! >> {0}; wait' & \
         sh -c 'trap \"\" TERM; echo $$ >> {0}; sleep 300; :' & \
         trap '' TERM; echo $$ >> {0}; wait; sleep 300",
        list.display()
    );
    World::play(ROOM, Left, async move |world| {
        let key = world.spawn(sh(&script));
        world.spawned(key).await;
        let pids: Vec<i32> = eventually(|| {
            let text = fs::read_to_string(&list).ok()?;
            let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            (pids.len() == 4).then_some(pids)
        })
        .await;
        world.signal(key, Signal::TERM, Reach::Process);
        world.quiet().await;
        assert!(pids.iter().all(|pid| alive(*pid)), "TERM is ignored");
        world.destroy(key).await;
        eventually(|| pids.iter().all(|pid| !alive(*pid)).then_some(())).await;
    });
}

#[test]
fn a_stopped_process_dies_of_a_kill() {
    World::play(ROOM, Left, async |world| {
        let key = world.spawn(spec(&["/bin/sleep", "300"]));
        world.spawned(key).await;
        world.signal(key, Signal(19), Reach::Process);
        world.signal(key, Signal::KILL, Reach::Process);
        assert_eq!(world.exited(key).await, (Some(-9), false));
    });
}

#[test]
fn signals_reach_as_far_as_asked() {
    World::play(ROOM, Left, async |world| {
        let key = world.spawn(sh("sleep 300 & sleep 300 & wait; wait; exit 5"));
        let pid = world.spawned(key).await;
        let two = eventually(|| Some(children(pid)).filter(|found| found.len() == 2)).await;
        let child = |pid| Reach::Child(Pid::new(pid).unwrap());
        let refused = world.deliver(vec![key], Signal::TERM, child(1)).await;
        assert_eq!(refused, Err(Refusal::Raised("process no longer exists (pid=1)".to_owned())));
        assert_eq!(world.deliver(vec![key], Signal::TERM, child(two[0])).await, Ok(()));
        eventually(|| (!alive(two[0])).then_some(())).await;
        assert!(alive(two[1]) && alive(pid));
        let refused = world.deliver(vec![key], Signal(999), Reach::Process).await;
        assert_eq!(refused, Err(Refusal::Os { errno: 22, text: "Invalid argument".to_owned() }));
        assert_eq!(world.deliver(vec![key, Key(999)], Signal(0), Reach::Process).await, Ok(()));
        assert_eq!(world.deliver(vec![key], Signal::TERM, Reach::Children).await, Ok(()));
        assert_eq!(world.exited(key).await, (Some(5), false));
        assert_eq!(world.deliver(vec![key], Signal::TERM, Reach::Process).await, Ok(()), "gone is no error");
    });
}

#[test]
fn output_is_complete_to_the_byte_when_a_process_exits_early() {
    const BYTES: usize = 10 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&out), file(&err));
        let key = world.spawn(loud(&format!("head -c {BYTES} /dev/zero; echo oops >&2; exit 4")));
        world.spawned(key).await;
        assert_eq!(world.exited(key).await, (Some(4), false));
        world.close(1);
        world.finish().await;
        assert_eq!(fs::metadata(&out).unwrap().len(), BYTES as u64);
        assert_eq!(fs::read_to_string(&err).unwrap(), "oops\n");
    });
}

#[test]
fn who_keeps_the_pipe_open_keeps_nobody_waiting_and_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let (out, cue) = (dir.path().join("out"), dir.path().join("cue"));
    World::play(ROOM, Left, async move |world| {
        let before = descriptors();
        world.open(1, file(&out), None);
        // It outlives its parent and the stream, and keeps the pipe.
        let left = format!(
            "echo $$; until [ -e {} ]; do sleep 0.05; done; echo late; exec sleep 300",
            cue.display()
        );
        let script = format!("setsid sh -c '{left}' & until [ -s {} ]; do sleep 0.05; done", out.display());
        let key = world.spawn(SpawnSpec { stderr: Stdio::Null, ..loud(&script) });
        world.spawned(key).await;
        world.exited(key).await;
        world.close(1);
        let left: i32 = fs::read_to_string(&out).unwrap().trim().parse().unwrap();
        fs::write(&cue, "").unwrap();
        eventually(|| fs::read_to_string(&out).ok().filter(|text| text.ends_with("late\n"))).await;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL).unwrap();
        // Pipe and file are closed when the last who could write is gone.
        eventually(|| (descriptors() <= before).then_some(())).await;
    });
}

#[test]
fn an_unwritable_file_does_not_stop_the_child() {
    World::play(ROOM, Left, async |world| {
        world.open(1, file(Path::new("/no/such/dir/log")), file(Path::new("/dev/full")));
        world.spawn(loud("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 6"));
        let (mut failing, mut end) = (BTreeMap::new(), None);
        while end.is_none() || failing.len() < 2 {
            match world.next().await {
                Input::Output { watcher: WatcherId(1), state: StreamState::Fails(trouble) } => {
                    failing.insert(trouble.feed.name(), trouble.error);
                }
                Input::Spawned { .. } => {}
                Input::Exited { exit_code, lingering: false, .. } => end = exit_code,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(end, Some(6));
        assert!(failing["stdout"].contains("/no/such/dir/log"), "{failing:?}");
        assert!(failing["stderr"].contains("No space left on device"), "{failing:?}");
    });
}

#[test]
fn running_processes_switch_over_when_streams_are_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, go) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("go"));
    let script = format!("echo 1; while ! test -e {}; do sleep 0.02; done; echo 2; sleep 300", go.display());
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&one), None);
        let key = world.spawn(SpawnSpec { stderr: Stdio::Null, ..loud(&script) });
        world.spawned(key).await;
        eventually(|| fs::read_to_string(&one).ok().filter(|text| text == "1\n")).await;
        world.open(1, file(&two), None);
        eventually(|| two.exists().then_some(())).await;
        fs::write(&go, "").unwrap();
        eventually(|| fs::read_to_string(&two).ok().filter(|text| text == "2\n")).await;
        assert_eq!(fs::read_to_string(&one).unwrap(), "1\n");
        world.destroy(key).await;
    });
}

#[test]
fn nothing_leaks_over_200_processes() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&out), file(&out));
        let before = descriptors();
        for _ in 0..4 {
            let mut expected = Vec::new();
            for n in 0..50 {
                let missing = n % 10 == 9;
                let spec = if missing {
                    SpawnSpec { argv: vec!["/no/such".to_owned()], ..loud("") }
                } else {
                    loud(&format!("exit {n}"))
                };
                expected.push((world.spawn(spec), if missing { None } else { Some(n) }));
            }
            let mut told = Vec::new();
            while told.len() < 50 {
                match world.next().await {
                    Input::Spawned { .. } => {}
                    Input::SpawnFailed { key, .. } => told.push((key, None)),
                    Input::Exited { key, exit_code, lingering: false, .. } => told.push((key, exit_code)),
                    other => panic!("{other:?}"),
                }
            }
            told.sort();
            assert_eq!(told, expected);
        }
        // The two streams' files are open now, both of the same path.
        eventually(|| (descriptors() <= before + 2).then_some(())).await;
        assert_eq!(zombies(), 0);
        world.quiet().await;
    });
}

#[test]
fn the_daemon_learns_of_a_death_at_once() {
    World::play(ROOM, Left, async |world| {
        let mut times = Vec::new();
        for _ in 0..50 {
            let key = world.spawn(spec(&["/bin/sleep", "300"]));
            let pid = world.spawned(key).await;
            let start = now();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
            assert_eq!(world.exited(key).await, (Some(-9), false));
            times.push(start.elapsed());
        }
        times.sort();
        println!("kill -9 until Exited: median {:?}, worst {:?}", times[25], times[49]);
    });
}

#[test]
fn figures_come_for_the_living_only() {
    World::play(ROOM, Left, async |world| {
        let key = world.spawn(sh("sleep 300 & wait"));
        let pid = world.spawned(key).await;
        eventually(|| Some(children(pid)).filter(|found| found.len() == 1 && alive(found[0]))).await;
        let target = |pid| SampleTarget::Process(Pid::new(pid).unwrap());
        let targets = vec![target(pid), target(i32::MAX), SampleTarget::Daemon];
        world.perform(Effect::Sample { tag: SampleTag(5), targets });
        let Input::Sampled { tag: SampleTag(5), figures } = world.next().await else {
            panic!("figures are due")
        };
        let first = figures[0].as_ref().unwrap();
        assert_eq!((first["cmdline"].as_str(), first["pid"].as_i64()), (Some("sh"), Some(i64::from(pid))));
        assert_eq!(first["children"].as_array().unwrap().len(), 1);
        assert_eq!(figures.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        world.destroy(key).await;
    });
}

#[test]
fn a_small_mailbox_holds_up_nothing_and_loses_nothing() {
    World::play(1, Left, async |world| {
        let keys: Vec<Key> = (0..100).map(|n| world.spawn(sh(&format!("exit {n}")))).collect();
        let mut told = Vec::new();
        for _ in 0..200 {
            told.push(world.next().await);
        }
        for (n, wanted) in (0..).zip(keys) {
            let of = |input: &&Input| matches!(input, Input::Spawned { key, .. } | Input::Exited { key, .. } if *key == wanted);
            let story: Vec<&Input> = told.iter().filter(of).collect();
            let [Input::Spawned { .. }, Input::Exited { exit_code, lingering: false, .. }] = story[..] else {
                panic!("{story:?}")
            };
            assert_eq!(*exit_code, Some(n));
        }
        assert_eq!(world.deliver(Vec::new(), Signal(0), Reach::Tree).await, Ok(()));
        world.quiet().await;
    });
}

#[test]
fn what_starting_costs_is_printed() {
    const STARTS: u32 = 1000;
    World::play(ROOM, Left, async |world| {
        let start = now();
        for _ in 0..STARTS {
            let key = world.spawn(spec(&["/bin/true"]));
            world.spawned(key).await;
            assert_eq!(world.exited(key).await, (Some(0), false));
        }
        println!("spawn to Exited of /bin/true, one after another: {:?}", start.elapsed() / STARTS);
        let start = now();
        for _ in 0..STARTS {
            world.spawn(spec(&["/bin/true"]));
        }
        println!("perform(Spawn) itself: {:?}", start.elapsed() / STARTS);
        for _ in 0..2 * STARTS {
            world.next().await;
        }
        println!("spawn to Exited of /bin/true, all at once: {:?}", start.elapsed() / STARTS);
        let start = now();
        for _ in 0..STARTS {
            assert!(bare("/bin/true").success());
        }
        println!("std::process::Command, one after another: {:?}", start.elapsed() / STARTS);
    });
}

#[test]
fn what_cgroups_cost_is_printed() {
    const PROCESSES: u32 = 300;
    for confined in [false, true] {
        World::play(ROOM, Left, async move |world| {
            match Cgroups::open() {
                Ok(cgroups) if confined => world.confine(cgroups),
                Ok(_) => {}
                Err(reason) => return println!("no cgroups: {reason}"),
            }
            let start = now();
            let keys: Vec<Key> = (0..PROCESSES).map(|_| world.spawn(spec(&["/bin/sleep", "300"]))).collect();
            for _ in &keys {
                assert!(matches!(world.next().await, Input::Spawned { .. }));
            }
            println!("cgroups {confined}: a start {:?}", start.elapsed() / PROCESSES);
            let start = now();
            for key in &keys {
                world.signal(*key, Signal::KILL, Reach::Tree);
            }
            for _ in &keys {
                assert!(matches!(world.next().await, Input::Exited { lingering: false, .. }));
            }
            println!("cgroups {confined}: an end {:?}", start.elapsed() / PROCESSES);
            world.finish().await;
        });
    }
}

#[test]
fn what_capturing_costs_is_printed() {
    const BYTES: u64 = 512 << 20;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    World::play(ROOM, Left, async move |world| {
        world.open(1, file(&out), None);
        let start = now();
        let key =
            world.spawn(loud(&format!("exec dd if=/dev/zero bs=64k count={} 2>/dev/null", BYTES >> 16)));
        world.spawned(key).await;
        assert_eq!(world.exited(key).await, (Some(0), false));
        eventually(|| (fs::metadata(&out).unwrap().len() == BYTES).then_some(())).await;
        let rate = (BYTES >> 20) as f64 / start.elapsed().as_secs_f64();
        println!("capture to a file: {rate:.0} MiB/s");
    });
}

#[test]
fn what_figures_cost_is_printed() {
    const PROCESSES: usize = 500;
    World::play(ROOM, Left, async |world| {
        let keys: Vec<Key> = (0..PROCESSES).map(|_| world.spawn(spec(&["/bin/sleep", "300"]))).collect();
        let mut targets = Vec::new();
        for _ in &keys {
            let Input::Spawned { pid, .. } = world.next().await else { panic!("a start is due") };
            targets.push(SampleTarget::Process(pid));
        }
        for _ in 0..3 {
            let start = now();
            world.perform(Effect::Sample { tag: SampleTag(1), targets: targets.clone() });
            let Input::Sampled { figures, .. } = world.next().await else { panic!("figures are due") };
            println!("figures of {PROCESSES} processes: {:?}", start.elapsed());
            assert!(figures.iter().all(Option::is_some));
        }
        let start = now();
        for key in &keys {
            world.signal(*key, Signal::KILL, Reach::Tree);
        }
        for _ in &keys {
            assert!(matches!(
                world.next().await,
                Input::Exited { exit_code: Some(-9), lingering: false, .. }
            ));
        }
        println!("killing the trees of {PROCESSES} processes: {:?}", start.elapsed());
    });
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what our own starting is compared with")]
fn bare(program: &str) -> std::process::ExitStatus {
    std::process::Command::new(program).status().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a measurement, printed and not judged")]
fn now() -> Instant {
    Instant::now()
}
