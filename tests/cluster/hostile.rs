//! Resets of trees that somebody made to hurt, on nodes of both kinds: nothing outside of a root changes,
//! what a pattern keeps stays, and an undo brings everything back.
//!
//! As root the test runs itself again in a mount namespace of its own, where the trees hold mounts, too.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use circus_tests::daemon::run;

use crate::nodes::{Cluster, MIXED};

/// Set in the namespace.
const INSIDE: &str = "CIRCUS_TEST_MOUNTS";

/// How often a tree that changes all the time is reset and brought back.
const ROUNDS: usize = 4;

#[test]
fn a_hostile_tree_hurts_nobody() {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && nix::unistd::geteuid().is_root() {
        let own = std::env::current_exe().expect("a test has a path");
        let name = "hostile::a_hostile_tree_hurts_nobody";
        let mut again = Command::new("unshare");
        again.args(["--mount", "--propagation", "private"]).arg(own);
        let (exit, stdout, stderr) = run(again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1"));
        assert_eq!(exit, 0, "{stdout}\n{stderr}");
        return;
    }
    let mut cluster = Cluster::start_edited(MIXED, |ini| ini.replace("keep = dbms", "keep = dbms, mounts"));
    let trees: Vec<Tree> = (0..4).map(|node| Tree::plant(&cluster, node, inside)).collect();
    an_unwanted_mount_stops_everything(&cluster, &trees);
    for tree in &trees {
        tree.unmount("extra");
        fs::remove_dir(tree.data.join("extra")).expect("an empty folder");
    }
    goes_and_comes_back(&cluster, &trees);
    races_lead_nowhere(&cluster, &trees);
    cluster.assert_no_one_shots();
    drop(trees);
}

/// Outside of the root, and a root full of traps.
struct Tree {
    data: PathBuf,
    outside: PathBuf,
    before: BTreeMap<PathBuf, String>,
    mounted: bool,
    lodger: Child,
}

impl Tree {
    fn plant(cluster: &Cluster, node: usize, mounted: bool) -> Self {
        let (data, outside) = (cluster.path(node, "var/lib/neo4j/data"), cluster.path(node, "outside"));
        for folder in ["a/b", "locked"] {
            fs::create_dir_all(outside.join(folder)).expect("a folder");
            fs::write(outside.join(folder).join("precious"), "precious").expect("a file");
        }
        fs::set_permissions(outside.join("locked"), fs::Permissions::from_mode(0o500)).expect("a mode");
        for folder in [
            "graph.db/inner",
            "unreadable",
            "mounts/bound",
            "mounts/empty",
            "extra",
            "dbms",
            "lodging",
            "race",
        ] {
            fs::create_dir_all(data.join(folder)).expect("a folder");
            fs::write(data.join(folder).join("file"), folder).expect("a file");
        }
        fs::remove_file(data.join("extra/file")).expect("it is there");
        let odd: [&[u8]; 7] =
            [b"new\nline", b"\xff\xfe not text", &[b'x'; 255], b"-rf", b" blank ", b"*", b"a;b$(c)`d`"];
        for name in odd {
            let path = data.join("graph.db").join(OsStr::from_bytes(name));
            fs::write(&path, "odd").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).expect("a mode");
            fs::create_dir(data.join(OsStr::from_bytes(&name[..name.len().min(200)]))).expect("a folder");
        }
        fs::write(data.join(".hidden"), "a star does not mean it").expect("a file");
        symlink(&outside, data.join("out")).expect("a link");
        symlink(outside.join("a/b/precious"), data.join("graph.db/file-out")).expect("a link");
        symlink("../../../../../outside", data.join("graph.db/inner/up")).expect("a link");
        fs::hard_link(outside.join("a/b/precious"), data.join("graph.db/twin")).expect("a second name");
        fs::set_permissions(data.join("unreadable"), fs::Permissions::from_mode(0o000)).expect("a mode");
        let lodger = Command::new("sh")
            .args(["-c", "exec 3>>file; exec sleep 600"])
            .current_dir(data.join("lodging"))
            .spawn()
            .expect("a process that lives in there");
        let before = manifest(&outside);
        let tree = Self { data, outside, before, mounted, lodger };
        tree.mount(&["--bind".as_ref(), tree.outside.as_os_str()], "mounts/bound");
        tree.mount(&["-t".as_ref(), "tmpfs".as_ref(), "none".as_ref()], "mounts/empty");
        tree.mount(&["--bind".as_ref(), tree.outside.as_os_str()], "extra");
        tree
    }

    fn mount(&self, what: &[&OsStr], at: &str) {
        if self.mounted {
            let (exit, _, stderr) = run(Command::new("mount").args(what).arg(self.data.join(at)));
            assert_eq!(exit, 0, "{stderr}");
        }
    }

    fn unmount(&self, at: &str) {
        if self.mounted {
            let (exit, _, stderr) = run(Command::new("umount").arg(self.data.join(at)));
            assert_eq!(exit, 0, "{stderr}");
        }
    }

    fn assert_outside_is_as_it_was(&self) {
        assert_eq!(manifest(&self.outside), self.before, "outside of {}", self.data.display());
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _gone = self.lodger.kill();
        let _gone = self.lodger.wait();
        // The directory of all is removed afterwards, and must not lead anywhere then.
        if self.mounted {
            for at in ["mounts/bound", "mounts/empty", "extra"] {
                let _not_there = run(Command::new("umount").arg(self.data.join(at)));
            }
        }
        let _gone = fs::set_permissions(self.data.join("unreadable"), fs::Permissions::from_mode(0o700));
    }
}

/// Kind, mode, owner, time and contents of everything below, and of the directory itself.
fn manifest(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let Ok(data) = fs::symlink_metadata(&path) else { continue };
        let contents = if data.is_symlink() {
            format!("{:?}", fs::read_link(&path))
        } else if data.is_file() {
            format!("{:?}", fs::read(&path))
        } else {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            String::new()
        };
        let (mode, uid, gid) = (data.mode(), data.uid(), data.gid());
        let told = format!("{mode:o} {uid}:{gid} {}.{} {contents}", data.mtime(), data.mtime_nsec());
        found.insert(path, told);
    }
    found
}

/// What is in the root, the place aside and the root's own times left out.
fn inside(tree: &Tree) -> BTreeMap<PathBuf, String> {
    let mut found = manifest(&tree.data);
    found.remove(&tree.data);
    found.retain(|path, _| !path.starts_with(tree.data.join(".circus-reset")));
    found
}

/// A mount that no pattern keeps: all of the node's reset is refused, and nothing moves.
fn an_unwanted_mount_stops_everything(cluster: &Cluster, trees: &[Tree]) {
    if !trees[0].mounted {
        return;
    }
    let before: Vec<_> = trees.iter().map(inside).collect();
    let answer = cluster.ask(4, &["reset", "data", "--yes"]);
    assert_eq!(answer.exit, 1, "{:#}", answer.document);
    assert_eq!(answer.states(), ["refused"; 4], "{:#}", answer.document);
    assert!(answer.document.to_string().contains("something else is mounted there"), "{:#}", answer.document);
    for (tree, before) in trees.iter().zip(before) {
        assert_eq!(inside(tree), before);
        tree.assert_outside_is_as_it_was();
    }
}

fn goes_and_comes_back(cluster: &Cluster, trees: &[Tree]) {
    let before: Vec<_> = trees.iter().map(inside).collect();
    cluster.all_do(&["reset", "data", "--yes"]);
    for tree in trees {
        let mut left: Vec<_> =
            fs::read_dir(&tree.data).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, [".circus-reset", ".hidden", "dbms", "mounts"]);
        tree.assert_outside_is_as_it_was();
    }
    cluster.all_do(&["reset", "data", "--undo", "--yes"]);
    for (tree, before) in trees.iter().zip(before) {
        assert_eq!(inside(tree), before, "{}", tree.data.display());
        tree.assert_outside_is_as_it_was();
    }
}

/// A directory becomes a link that leads out and back again, all the time.
fn races_lead_nowhere(cluster: &Cluster, trees: &[Tree]) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for tree in trees {
            scope.spawn(|| {
                let (race, away) = (tree.data.join("graph.db/inner"), tree.data.join("graph.db/away"));
                while !over.load(Ordering::Relaxed) {
                    // Each step may find everything moved aside.
                    if fs::rename(&race, &away).is_ok() {
                        let _moved = symlink(&tree.outside, &race);
                        let _moved = fs::remove_file(&race);
                        let _moved = fs::rename(&away, &race);
                    }
                    std::thread::yield_now();
                }
            });
        }
        for _ in 0..ROUNDS {
            for words in [&["reset", "data", "--yes"][..], &["reset", "data", "--undo", "--yes"]] {
                // It may be refused when the tree changes under it; it may not lead out.
                let answer = cluster.ask(4, words);
                assert!([0, 1].contains(&answer.exit), "{:#}", answer.document);
                trees.iter().for_each(Tree::assert_outside_is_as_it_was);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    for tree in trees {
        tree.assert_outside_is_as_it_was();
        assert!(tree.data.join("dbms/file").exists() && tree.data.join(".hidden").exists());
        // What the race was about is not lost, wherever the last round left it.
        let found = manifest(&tree.data);
        let file = |path: &&PathBuf| path.ends_with("inner/file") || path.ends_with("away/file");
        assert_eq!(found.keys().filter(file).count(), 1, "{:#?}", found.keys());
    }
}
