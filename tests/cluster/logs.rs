//! Logs of both kinds of node, read while they are written and rotated: every line once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use circus_tests::daemon::{Daemon, Flavor, run};
use circus_tests::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::net::Killed;
use crate::why::world::circusman;

/// Some bursts of numbered lines, then a last one.
const SCRIPT: &str = "burst=0; line=0\n\
    while [ $burst -lt {bursts} ]; do\n\
    \x20 end=$((line + 100))\n\
    \x20 while [ $line -lt $end ]; do echo \"line $line\"; line=$((line + 1)); done\n\
    \x20 burst=$((burst + 1)); sleep 0.05\n\
    done\n\
    echo last\n\
    exec sleep 1000\n";

const INI: &str = "[circus]\n[watcher:count]\ncmd = sh {dir}/count.sh\nautostart = False\n\
    stdout_stream.class = FileStream\nstdout_stream.filename = {dir}/count.log\n\
    stdout_stream.max_bytes = 8000\nstdout_stream.backup_count = 60\n\
    [watcher:other]\ncmd = sleep 1000\n";

fn node(flavor: Flavor, bursts: u32) -> Daemon {
    let script = SCRIPT.replace("{bursts}", &bursts.to_string());
    Daemon::start_beside(flavor, &[("count.sh", &script)], INI)
}

fn start(cluster: &str) {
    let (mut command, _home) = circusman(cluster);
    let (exit, stdout, stderr) = run(command.args(["--yes", "start", "count"]));
    assert_eq!(exit, 0, "{stdout}{stderr}");
}

fn is_last(node: &Daemon) -> bool {
    std::fs::read_to_string(node.dir().join("count.log")).is_ok_and(|text| text.ends_with("last\n"))
}

fn numbered(bursts: u32) -> String {
    (0..bursts * 100).map(|number| format!("line {number}\n")).collect::<String>() + "last\n"
}

/// Where two texts part, for a failure that can be read.
fn parting(found: &str, wanted: &str) -> String {
    let mut lines = found.lines().zip(wanted.lines()).enumerate();
    match lines.find(|(_, (found, wanted))| found != wanted) {
        Some((at, (found, wanted))) => format!("line {at} is {found:?} instead of {wanted:?}"),
        None => format!("{} lines instead of {}", found.lines().count(), wanted.lines().count()),
    }
}

#[test]
fn a_download_mirrors_files_that_rotate_while_they_are_written() {
    const BURSTS: u32 = 40;
    let nodes = [node(Flavor::Ours, BURSTS), node(Flavor::Stock, BURSTS)];
    let cluster = format!("{},{}", nodes[0].address(), nodes[1].address());
    let mirror = tempfile::tempdir().expect("a directory");
    let download = || {
        let (mut command, _home) = circusman(&cluster);
        let (exit, stdout, stderr) = run(command
            .args(["--timeout", "60", "--json", "logs", "count", "--download"])
            .arg(mirror.path()));
        assert_eq!(exit, 0, "{stdout}{stderr}");
        serde_json::from_str::<serde_json::Value>(&stdout).expect("a document")
    };
    let copy = |node: &Daemon| mirror.path().join(node.address()).join("count/stdout.log");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    start(&cluster);
    let (mut rounds, mut before) = (0, [0, 0]);
    until("the last line", || {
        download();
        rounds += 1;
        let now = [size(&copy(&nodes[0])), size(&copy(&nodes[1]))];
        assert!(now[0] >= before[0] && now[1] >= before[1], "nothing is ever truncated");
        before = now;
        nodes.iter().all(is_last).then_some(())
    });
    download();
    let wanted = numbered(BURSTS);
    for node in &nodes {
        let rotated = std::fs::read_dir(node.dir()).expect("a directory").flatten();
        let rotated =
            rotated.filter(|file| file.file_name().to_string_lossy().starts_with("count.log.")).count();
        assert!(rotated >= 3, "{rotated} files were rotated away");
        let found = std::fs::read_to_string(copy(node)).unwrap_or_default();
        assert!(found == wanted, "{:?} after {rounds} rounds: {}", node.flavor(), parting(&found, &wanted));
    }
    // Once more there is nothing new, and nothing is written.
    let again = download();
    for node in again["nodes"].as_array().expect("rows") {
        assert_eq!((&node["state"], &node["data"]["new"]), (&"unchanged".into(), &0.into()), "{node:#}");
    }
}

#[test]
fn following_tells_every_line_once() {
    const BURSTS: u32 = 60;
    let nodes = [node(Flavor::Ours, BURSTS), node(Flavor::Stock, BURSTS)];
    let cluster = format!("{},{}", nodes[0].address(), nodes[1].address());
    start(&cluster);
    let (mut command, _home) = circusman(&cluster);
    command.args(["logs", "count", "--follow", "-n", "10000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = Killed(command.spawn().expect("it starts"));
    let stdout = following.0.stdout.take().expect("piped");
    let (begun, mut found) = (Instant::now(), [String::new(), String::new()]);
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("text");
        let (node, text) = line.split_once(" | ").expect("a prefix");
        let at = usize::from(node.trim() == nodes[1].address());
        found[at] += &format!("{text}\n");
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        if found.iter().all(|text| text.ends_with("last\n")) {
            break;
        }
    }
    let wanted = numbered(BURSTS);
    for (node, found) in nodes.iter().zip(&found) {
        assert!(*found == wanted, "{:?}: {}", node.flavor(), parting(found, &wanted));
    }
    let pid = i32::try_from(following.0.id()).expect("a pid fits");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it lives");
    assert_eq!(following.0.wait().expect("it ends").code(), Some(130));
}

#[test]
fn last_lines_are_merged_and_chosen() {
    let ini = "[circus]\n[watcher:a]\ncmd = sh {dir}/a.sh\nstdout_stream.class = FileStream\n\
        stdout_stream.filename = {dir}/a.log\n";
    let lines = |seconds: [u32; 2]| {
        let line =
            |second| format!("echo '2026-01-01T00:00:{second:02}Z ERROR at {second}'; echo '\tat x.y'\n");
        seconds.map(line).concat() + "exec sleep 1000\n"
    };
    let native = Daemon::start_beside(Flavor::Ours, &[("a.sh", &lines([1, 3]))], ini);
    let stock = Daemon::start_beside(Flavor::Stock, &[("a.sh", &lines([2, 4]))], ini);
    let cluster = format!("{},{}", native.address(), stock.address());
    let ask = |words: &[&str]| {
        let (mut command, _home) = circusman(&cluster);
        run(command.args(["--timeout", "60", "logs"]).args(words))
    };
    let seconds = |stdout: &str| -> Vec<u32> {
        stdout.lines().filter_map(|line| line.rsplit_once("ERROR at ")?.1.parse().ok()).collect()
    };
    until("all lines", || (seconds(&ask(&["a"]).1) == [1, 2, 3, 4]).then_some(()));
    let (exit, stdout, _) = ask(&["a", "--grep", "at [34]$"]);
    assert_eq!((exit, seconds(&stdout)), (0, vec![3, 4]), "{stdout}");
    assert_eq!(stdout.lines().count(), 4, "each with its trace: {stdout}");
    let (_, stdout, _) =
        ask(&["*", "--since", "2026-01-01T00:00:01.5Z", "--until", "2026-01-01T00:00:03.5Z"]);
    assert_eq!(seconds(&stdout), [2, 3], "{stdout}");
    let (exit, stdout, _) = ask(&["a", "--source", "gc"]);
    assert_eq!(exit, 1, "{stdout}");
    assert!(stdout.contains("'a' has no log 'gc'"), "{stdout}");
    let (exit, _, stderr) = ask(&["a", "--grep", "("]);
    assert_eq!((exit, stderr.contains("--grep")), (2, true), "{stderr}");
}
