//! Real trees in directories of their own, hostile ones too: whatever is there, nothing outside of the
//! root changes, and what went can come back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;

use circus_protocol::command::ResetKind;
use circus_protocol::ini::Ini;
use circus_protocol::service::{PLACE_ASIDE, Services, SweepJob};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct World {
    dir: TempDir,
    job: ResetJob,
}

/// A node whose sections may say `DIR`; `DIR/data` exists, and `DIR/outside/precious`.
fn world(sections: &str) -> World {
    let dir = tempfile::tempdir().expect("directory");
    fs::create_dir_all(dir.path().join("data")).expect("directory");
    fs::create_dir_all(dir.path().join("outside")).expect("directory");
    fs::write(dir.path().join("outside/precious"), "precious").expect("file");
    let text = sections.replace("DIR", &dir.path().display().to_string());
    let ini = Ini::parse(&text, "node.ini").expect("ini");
    let services = Services::from_ini(&ini, dir.path()).expect("services");
    let job = ResetJob {
        services: Arc::new(services),
        membership: None,
        wanted: None,
        kind: ResetKind::All,
        dry_run: false,
        undo: false,
        keep: None,
        now: 1000.0,
    };
    World { dir, job }
}

const ALL: &str = "[reset:a:data]\nroot = DIR/data\ndelete = *\nkeep_seconds = 100\n";

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect(name);
    }

    fn reset(&self) -> ServiceReset {
        let mut outcome = reset(&self.job).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(outcome.services.len(), 1);
        outcome.services.remove(0)
    }

    fn problems(&self) -> Vec<String> {
        reset(&self.job).expect_err("problems").0
    }

    fn undo(&mut self) -> ServiceReset {
        self.job.undo = true;
        let outcome = self.reset();
        self.job.undo = false;
        outcome
    }

    fn sweep(&self, now: f64) -> Sweep {
        let job = SweepJob { services: self.job.services.clone(), membership: None, now };
        sweep(&job)
    }

    /// Every path below `data` and its content, what is aside left out.
    fn tree(&self, name: &str) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut ahead = vec![self.path(name)];
        while let Some(dir) = ahead.pop() {
            for entry in fs::read_dir(&dir).expect("directory") {
                let path = entry.expect("entry").path();
                let key = path.strip_prefix(self.path(name)).expect("below").as_os_str().as_bytes().to_vec();
                let meta = fs::symlink_metadata(&path).expect("meta");
                if meta.is_dir() && key != PLACE_ASIDE.as_bytes() {
                    found.insert(key, None);
                    ahead.push(path);
                } else if meta.is_symlink() {
                    let target = fs::read_link(&path).expect("link").as_os_str().as_bytes().to_vec();
                    found.insert(key, Some(target));
                } else if meta.is_file() {
                    found.insert(key, Some(fs::read(&path).expect("file")));
                }
            }
        }
        found
    }

    fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).expect(name);
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn shown(world: &World, items: &[ResetItem]) -> Vec<String> {
    let short = |item: &ResetItem| {
        let path = item.path.strip_prefix(world.dir.path()).expect("below");
        format!("{} {} {}", path.display(), item.bytes, item.entries)
    };
    items.iter().map(short).collect()
}

#[test]
fn moves_aside_and_brings_back() {
    let mut world = world(ALL);
    world.write("data/graph.db/store", "12345");
    world.write("data/graph.db/index/0", "1");
    world.write("data/single", "");
    let before = world.tree("data");
    world.job.dry_run = true;
    let planned = world.reset();
    assert_eq!(shown(&world, &planned.deleted), ["data/graph.db 6 4", "data/single 0 1"]);
    assert_eq!((planned.bytes, planned.undo_until, world.tree("data") == before), (6, None, true));
    assert!(planned.deleted[0].modified > 1e9);
    world.job.dry_run = false;
    let done = world.reset();
    assert_eq!(done.undo_until, Some(1100.0));
    assert_eq!(done.deleted, planned.deleted);
    assert_eq!(world.names("data"), [PLACE_ASIDE]);
    let aside = fs::metadata(world.path("data").join(PLACE_ASIDE)).expect("aside");
    assert_eq!(aside.permissions().mode() & 0o7777, 0o700);
    let back = world.undo();
    assert_eq!(shown(&world, &back.deleted), ["data/graph.db 6 4", "data/single 0 1"]);
    assert_eq!(world.tree("data"), before);
    assert_eq!(world.names("data"), ["graph.db", "single"], "nothing of ours is left");
    world.job.undo = true;
    assert!(world.problems()[0].contains("no reset can be undone"));
}

#[test]
fn frees_when_the_time_is_over_or_at_once() {
    let mut world = world(ALL);
    world.write("data/x/y/z", "1");
    world.reset();
    assert_eq!(world.sweep(1099.0), Sweep { next: Some(1100.0), ..Sweep::default() });
    assert_eq!(world.names("data"), [PLACE_ASIDE]);
    let swept = world.sweep(1100.0);
    assert_eq!((swept.freed, swept.next), (vec![world.path("data")], None));
    assert!(world.names("data").is_empty());
    world.write("data/x/y/z", "1");
    world.job.keep = Some(0.0);
    assert_eq!(world.reset().undo_until, None);
    assert!(world.names("data").is_empty());
    assert_eq!(world.sweep(5000.0), Sweep::default());
}

#[test]
fn the_janitor_frees_by_itself() {
    let world = world(ALL);
    world.write("data/x", "1");
    // Its time, 1970, is long over.
    world.reset();
    let janitor = janitor::start().expect("a thread");
    janitor.look(SweepJob { services: world.job.services.clone(), membership: None, now: 0.0 });
    let clock = crate::host::clock::Clock::start();
    let start = clock.now().wall;
    while !world.names("data").is_empty() {
        assert!(clock.now().wall - start < 20.0, "nothing was freed");
        std::thread::yield_now();
    }
}

#[test]
fn recovering_at_start_frees_nothing() {
    let world = world(ALL);
    world.write("data/x", "1");
    world.reset();
    let job = SweepJob { services: world.job.services.clone(), membership: None, now: 5000.0 };
    assert!(recover(&job).freed.is_empty());
    assert!(world.sweep(5000.0).freed.len() == 1 && world.names("data").is_empty());
}

#[test]
fn an_undo_after_a_new_start_can_itself_be_undone() {
    let mut world = world(ALL);
    world.write("data/db/old", "old");
    world.write("data/other", "old");
    world.reset();
    world.write("data/db/new", "new");
    world.job.now = 1010.0;
    let back = world.undo();
    assert_eq!(back.undo_until, Some(1110.0));
    assert_eq!((world.names("data/db"), world.path("data/other").exists()), (vec!["old".into()], true));
    world.job.now = 1020.0;
    world.undo();
    assert_eq!(world.names("data/db"), ["new"]);
    world.undo();
    assert_eq!(world.names("data/db"), ["old"]);
}

#[test]
fn the_newest_reset_is_undone_first() {
    let mut world = world(ALL);
    world.write("data/x", "1");
    world.reset();
    world.write("data/x", "2");
    world.job.now = 1001.0;
    world.reset();
    world.undo();
    assert_eq!(fs::read_to_string(world.path("data/x")).expect("x"), "2");
}

#[test]
fn keeps_what_the_patterns_keep() {
    let world = world(
        "[reset:a:data]\nroot = DIR/data\ndelete = *\nkeep = dbms/auth*, keystore, log, empty/none\n\
         require_dirs = db, made/deep\n",
    );
    world.write("data/dbms/auth.ini", "secret");
    world.write("data/dbms/junk", "1");
    world.write("data/keystore", "key");
    world.write("data/empty/x", "1");
    world.write("data/db/x", "1");
    fs::set_permissions(world.path("data/db"), fs::Permissions::from_mode(0o751)).expect("mode");
    symlink(world.path("outside"), world.path("data/log")).expect("link");
    let done = world.reset();
    assert_eq!(shown(&world, &done.deleted), ["data/db 1 2", "data/dbms/junk 1 1", "data/empty 1 2"]);
    let kept: Vec<_> =
        done.kept.iter().map(|item| item.path.file_name().expect("name").to_os_string()).collect();
    assert_eq!(kept, ["auth.ini", "keystore", "log"]);
    assert_eq!(world.names("data"), [PLACE_ASIDE, "db", "dbms", "keystore", "log", "made"]);
    assert_eq!(world.names("data/dbms"), ["auth.ini"]);
    assert_eq!(fs::metadata(world.path("data/db")).expect("db").permissions().mode() & 0o7777, 0o751);
    assert!(world.names("data/db").is_empty() && world.path("data/made/deep").is_dir());
    let mut world = world;
    world.undo();
    assert_eq!(world.names("data/db"), ["x"], "the empty directory made room");
    assert_eq!(world.names("data/dbms"), ["auth.ini", "junk"]);
}

#[test]
fn no_link_leads_out() {
    let world = world(
        "[reset:a:data]\nroot = DIR/data\ndelete = gone, sub/*, in/deep/*\n[reset:a:log]\nroot = DIR/data\n\
         truncate = *.log, sub/*.log\n",
    );
    symlink(world.path("outside"), world.path("data/gone")).expect("link");
    symlink(world.path("outside"), world.path("data/sub")).expect("link");
    fs::create_dir(world.path("data/in")).expect("directory");
    symlink("../../outside", world.path("data/in/deep")).expect("link");
    symlink(world.path("outside/precious"), world.path("data/x.log")).expect("link");
    fs::hard_link(world.path("outside/precious"), world.path("data/y.log")).expect("link");
    world.write("data/z.log", "12345");
    nix::unistd::mkfifo(&world.path("data/pipe.log"), nix::sys::stat::Mode::S_IRWXU).expect("pipe");
    let done = world.reset();
    assert_eq!(shown(&world, &done.deleted).len(), 1, "the link `gone` itself: {:?}", done.deleted);
    assert_eq!(shown(&world, &done.truncated), ["data/z.log 5 1"]);
    assert_eq!(fs::read(world.path("data/z.log")).expect("z"), b"");
    assert_eq!(fs::read_to_string(world.path("outside/precious")).expect("precious"), "precious");
    let reasons: Vec<&str> = done.kept.iter().map(|item| item.reason).collect();
    assert_eq!(
        reasons.iter().filter(|reason| **reason == "a link is not followed").count(),
        4,
        "{:?}",
        done.kept
    );
    assert!(reasons.contains(&"only files can be emptied"));
    assert!(reasons.iter().any(|reason| reason.contains("another name")));
}

#[test]
fn odd_names_and_modes_are_no_obstacle() {
    let mut world = world(ALL);
    let odd = [&b"new\nline"[..], b"\xff\xfe", b"%41", b" ", b"-rf", b"\\", b"a b"];
    for name in odd {
        let dir = world.path("data").join(OsStr::from_bytes(name));
        fs::create_dir(&dir).expect("directory");
        fs::write(dir.join(OsStr::from_bytes(name)), "1").expect("file");
    }
    world.write("data/readonly", "1");
    fs::set_permissions(world.path("data/readonly"), fs::Permissions::from_mode(0o400)).expect("mode");
    let before = world.tree("data");
    assert_eq!(world.reset().deleted.len(), odd.len() + 1);
    assert!(world.names("data") == [PLACE_ASIDE]);
    world.undo();
    assert_eq!(world.tree("data"), before);
    world.job.keep = Some(0.0);
    world.reset();
    assert!(world.names("data").is_empty());
}

#[test]
fn an_unreadable_directory_stops_everything_or_nothing() {
    let world = world(ALL);
    world.write("data/a", "1");
    world.write("data/shut/x", "1");
    fs::set_permissions(world.path("data/shut"), fs::Permissions::from_mode(0o000)).expect("mode");
    if geteuid().is_root() {
        // Nothing is unreadable for root.
        assert_eq!(world.reset().deleted.len(), 2);
        return;
    }
    let problems = world.problems();
    assert!(problems[0].contains("shut") && problems[0].contains("permission denied"), "{problems:?}");
    assert!(world.path("data/a").exists(), "nothing was touched");
    fs::set_permissions(world.path("data/shut"), fs::Permissions::from_mode(0o700)).expect("mode");
}

/// `/proc` is a mount on every Linux; looking is all that happens here.
#[test]
fn a_mount_is_not_entered() {
    let slash = || OwnedFd::from(fs::File::open("/").expect("open"));
    assert_eq!(tree::open_dir(slash(), OsStr::new("proc")).expect_err("mount"), Errno::EXDEV);
    assert_eq!(tree::peek(slash(), OsStr::new("proc")).expect_err("mount"), Errno::EXDEV);
    let look = |patterns: &str| {
        let world = world(&format!("[reset:a:data]\nroot = DIR/data\n{patterns}\n"));
        let rule = world.job.services.services[0].resets[0].clone();
        scan::scan(&rule, Path::new("/"), &slash())
    };
    let found = look("delete = proc");
    assert!(found.problems[0].contains("\"/proc\": something else is mounted there"), "{found:?}");
    for patterns in ["delete = proc/*", "truncate = proc/*", "truncate = proc"] {
        let found = look(patterns);
        assert!(
            found.moves.is_empty() && found.truncates.is_empty() && found.problems.is_empty(),
            "{found:?}"
        );
        assert_eq!(found.kept[0].reason, "something else is mounted there");
    }
    // Around what is kept in it would mean to go into it.
    assert!(!look("delete = proc\nkeep = proc/1").problems.is_empty());
}

#[test]
fn a_place_aside_that_is_not_ours_is_refused() {
    let world = world(ALL);
    world.write("data/x", "1");
    symlink(world.path("outside"), world.path("data").join(PLACE_ASIDE)).expect("link");
    let problems = world.problems();
    assert!(problems[0].contains(PLACE_ASIDE), "{problems:?}");
    assert_eq!((world.path("data/x").exists(), world.names("outside")), (true, vec!["precious".into()]));
    if geteuid().is_root() {
        fs::remove_file(world.path("data").join(PLACE_ASIDE)).expect("remove");
        fs::create_dir(world.path("data").join(PLACE_ASIDE)).expect("directory");
        std::os::unix::fs::chown(world.path("data").join(PLACE_ASIDE), Some(12345), None).expect("owner");
        let problems = world.problems();
        assert!(problems[0].contains("belongs to user 12345"), "{problems:?}");
        assert!(world.path("data/x").exists());
    }
}

#[test]
fn only_one_reset_at_a_time() {
    let world = world(ALL);
    world.write("data/x", "1");
    let aside = world.path("data").join(PLACE_ASIDE);
    fs::DirBuilder::new().mode(0o700).create(&aside).expect("directory");
    let lock = fs::File::open(&aside).expect("open");
    lock.lock().expect("lock");
    assert!(world.problems()[0].contains("another reset is at work"));
    assert!(world.path("data/x").exists());
    assert!(world.sweep(9999.0).next.is_some_and(|next| next > 9999.0), "a sweep comes again");
    lock.unlock().expect("unlock");
    assert_eq!(world.reset().deleted.len(), 1);
}

#[test]
fn all_services_or_none() {
    let two = format!("{ALL}[reset:b:data]\nroot = DIR/other\ndelete = *\n");
    let world = world(&two);
    world.write("data/x", "1");
    world.write("other/y", "1");
    // The second root's place aside cannot be made.
    symlink("/nowhere", world.path("other").join(PLACE_ASIDE)).expect("link");
    assert_eq!(world.problems().len(), 1);
    assert!(world.path("data/x").exists() && world.path("other/y").exists(), "the first came back");
    assert_eq!(world.names("data"), ["x"]);
}

#[test]
fn a_root_that_is_not_there_has_nothing_to_reset() {
    let world = world("[reset:a:data]\nroot = DIR/absent\ndelete = *\n");
    let done = world.reset();
    assert_eq!((done.deleted.len(), done.kept[0].reason), (0, "there is no such directory"));
    let unknown = ResetJob { wanted: Some(vec!["b".into()]), ..world.job.clone() };
    assert!(reset(&unknown).expect_err("unknown").0[0].contains("there is no service \"b\""));
}

#[test]
fn a_root_that_leads_to_a_home_is_refused() {
    let world = world("[reset:a:data]\nroot = DIR/link\ndelete = *\n");
    symlink("/etc", world.path("link")).expect("link");
    assert!(world.problems()[0].contains("no root"), "{:?}", world.problems());
    fs::remove_file(world.path("link")).expect("remove");
    symlink("/", world.path("link")).expect("link");
    assert!(world.problems()[0].contains("whole file system"), "{:?}", world.problems());
}

/// A crash after any number of moves: the journal is there, `done` is not.
#[test]
fn a_crash_in_the_middle_loses_nothing() {
    for crashed_after in 0..=3 {
        let world = world(ALL);
        for name in ["a/x", "b/x", "c\nc"] {
            world.write(&format!("data/{name}"), name);
        }
        let before = world.tree("data");
        let mut problems = Vec::new();
        let tasks = plan_reset(&world.job.services, None, None, ResetKind::All).expect("plan");
        let work = look(&tasks[0], &mut problems);
        let (dir, path) = work.dir.as_ref().expect("root");
        let aside = Aside::make(dir.try_clone().expect("fd"), path).expect("aside");
        let moves = work.scan.moves.iter().map(|piece| piece.parts.clone()).collect();
        let journal = Journal { service: "a".into(), rule: "data".into(), made: 1.0, until: 2.0, moves };
        let record = aside.begin(journal).expect("record");
        for slot in 0..crashed_after {
            record.take(&aside.root, slot).expect("moved");
        }
        drop((record, aside));
        let swept = world.sweep(9999.0);
        assert_eq!(
            (swept.restored.len(), swept.problems.len(), swept.freed.len()),
            (1, 0, 0),
            "{crashed_after}"
        );
        assert_eq!(world.tree("data"), before);
        assert_eq!(world.names("data"), ["a", "b", "c\nc"]);
    }
}

#[test]
fn an_interrupted_undo_goes_on_and_an_interrupted_removal_too() {
    let mut world = world(ALL);
    world.write("data/a", "1");
    world.write("data/b", "1");
    world.reset();
    let (root, path) = open_root(&world.path("data")).expect("root").expect("there");
    let aside = Aside::open(root, &path).expect("aside").expect("there");
    let mut record = aside.contents().expect("contents").records.remove(0);
    record.begin_undo().expect("undo");
    record.give_back(&aside.root, 0).expect("back");
    drop((record, aside));
    // Long after its time: what somebody wanted back is not thrown away.
    let swept = world.sweep(9999.0);
    assert_eq!((swept.restored.len(), world.names("data")), (1, vec!["a".into(), "b".into()]));
    world.reset();
    let (root, path) = open_root(&world.path("data")).expect("root").expect("there");
    let aside = Aside::open(root, &path).expect("aside").expect("there");
    let record = aside.contents().expect("contents").records.remove(0);
    aside.give_up(record).expect("given up");
    drop(aside);
    world.job.undo = true;
    assert!(world.problems()[0].contains("no reset can be undone"));
    assert_eq!(world.sweep(1001.0).freed.len(), 1);
    assert!(world.names("data").is_empty());
}

#[test]
fn what_took_the_place_meanwhile_is_not_overwritten() {
    let world = world(ALL);
    world.write("data/a", "old");
    let (root, path) = open_root(&world.path("data")).expect("root").expect("there");
    let aside = Aside::make(root, &path).expect("aside");
    let moves = vec![vec![OsString::from("a")]];
    let journal = Journal { service: "a".into(), rule: "data".into(), made: 1.0, until: 2000.0, moves };
    let record = aside.begin(journal).expect("record");
    record.take(&aside.root, 0).expect("moved");
    drop((record, aside));
    world.write("data/a", "new");
    let swept = world.sweep(1000.0);
    assert!(swept.problems[0].contains("something else took its place"), "{swept:?}");
    assert_eq!(fs::read_to_string(world.path("data/a")).expect("a"), "new");
    let mut world = world;
    world.undo();
    assert_eq!(fs::read_to_string(world.path("data/a")).expect("a"), "old", "by hand it can be had");
}

#[test]
fn strange_things_aside_are_named_and_left() {
    let world = world(ALL);
    world.write("data/x", "1");
    world.reset();
    world.write(&format!("data/{PLACE_ASIDE}/mine/note"), "1");
    let swept = world.sweep(5000.0);
    assert!(swept.problems[0].contains("is no reset's"), "{swept:?}");
    assert!(world.path(&format!("data/{PLACE_ASIDE}/mine/note")).exists());
}

#[test]
fn two_rules_with_one_root_share_the_place_aside() {
    let mut world = world(
        "[reset:a:data]\nroot = DIR/data\ndelete = db\n[reset:b:log]\nroot = DIR/data\ndelete = *.log, db\n\
         keep_seconds = 5\n",
    );
    world.write("data/db/x", "1");
    world.write("data/x.log", "1");
    let outcome = reset(&world.job).expect("reset");
    let counts: Vec<usize> = outcome.services.iter().map(|service| service.deleted.len()).collect();
    assert_eq!((counts, world.names("data")), (vec![1, 1], vec![PLACE_ASIDE.into()]));
    world.job.wanted = Some(vec!["b".into()]);
    world.undo();
    assert_eq!(world.names("data"), [PLACE_ASIDE, "x.log"]);
}

/// Somebody swaps a directory for a link out of the root and back, as fast as possible, while resets
/// go on: whatever happens, what is outside stays.
#[test]
fn a_race_with_links_cannot_lead_out() {
    let mut world = world(
        "[reset:a:data]\nroot = DIR/data\ndelete = sub/*\n[reset:a:log]\nroot = DIR/data\ntruncate = sub/*\n",
    );
    world.job.keep = Some(0.0);
    world.write("data/sub/precious", "1");
    let (sub, spare, outside) = (world.path("data/sub"), world.path("spare"), world.path("outside"));
    let (sender, stop) = std::sync::mpsc::channel::<()>();
    let swapper = std::thread::spawn(move || {
        while stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let _ = fs::rename(&sub, &spare);
            let _ = symlink(&outside, &sub);
            let _ = fs::remove_file(&sub);
            let _ = fs::rename(&spare, &sub);
        }
    });
    for _ in 0..300 {
        let _ = fs::write(world.path("spare/precious"), "1");
        // Refusals are fine, and so is success.
        let _ = reset(&world.job);
        assert_eq!(fs::read_to_string(world.path("outside/precious")).expect("precious"), "precious");
    }
    drop(sender);
    swapper.join().expect("swapper");
    assert_eq!(world.names("outside"), ["precious"]);
}

#[test]
fn deep_trees_are_refused_before_anything_happens() {
    let world = world(ALL);
    world.write("data/a", "1");
    let mut deep = world.path("data/deep");
    for _ in 0..tree::MAX_DEPTH + 5 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).expect("directories");
    let problems = world.problems();
    assert!(problems[0].contains("levels deep"), "{problems:?}");
    assert!(world.path("data/a").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_reset_and_its_undo_are_nothing(
        paths in proptest::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,3}", 1..20),
        delete in "[a-c*]|[a-c*]/[a-c*]|\\*", keep in "[a-c]|[a-c]/[a-c*]",
    ) {
        let mut world = world(&format!("[reset:a:data]\nroot = DIR/data\ndelete = {delete}\nkeep = {keep}\n"));
        for path in &paths {
            let full = world.path("data").join(path);
            let _ = fs::create_dir_all(full.parent().expect("parent"));
            let _ = fs::write(full, path);
        }
        let before = world.tree("data");
        let inode = fs::metadata(world.path("data")).expect("data").ino();
        let done = world.reset();
        let after = world.tree("data");
        prop_assert!(after.iter().all(|(path, content)| before.get(path) == Some(content)), "nothing is new");
        for item in &done.deleted {
            prop_assert!(!item.path.exists());
        }
        if !done.deleted.is_empty() {
            prop_assert!(after.len() < before.len());
            world.undo();
        }
        prop_assert_eq!(world.tree("data"), before);
        prop_assert_eq!(fs::metadata(world.path("data")).expect("data").ino(), inode);
    }
}

/// A dry run is allowed while the service runs, and a reset meets logs that are rotated.
#[test]
fn what_vanishes_while_it_is_looked_at_is_no_problem() {
    let mut world = world(
        "[reset:a:data]\nroot = DIR/data\ndelete = db, */deep\nkeep = db/lock\n[reset:a:log]\nroot = DIR/log\ntruncate = */*.log\n",
    );
    world.job.dry_run = true;
    world.write("log/keep", "");
    let (data, log) = (world.path("data"), world.path("log"));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for outer in [data.join("db/a"), data.join("x/deep"), log.join("b")] {
                    let _ = fs::create_dir_all(&outer);
                    for number in 0..20 {
                        let _ = fs::write(outer.join(format!("{number}.log")), "x");
                    }
                    let _ = fs::remove_dir_all(&outer);
                }
                let _ = fs::remove_dir_all(data.join("db"));
                let _ = fs::remove_dir(data.join("x"));
            }
        });
        let problems: Vec<_> = (0..300).filter_map(|_| reset(&world.job).err()).collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(problems, []);
    });
}
