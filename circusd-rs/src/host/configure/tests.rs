//! Real files in a directory of their own: what is written, what is kept, and that a fault leaves
//! everything as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::Arc;

use circus_protocol::ini::Ini;
use circus_protocol::service::{Membership, Services};
use tempfile::TempDir;

use super::*;

struct World {
    dir: TempDir,
    job: ConfigureJob,
}

/// A node with one service `a`; `sections` may say `DIR`.
fn world(sections: &str) -> World {
    let dir = tempfile::tempdir().expect("directory");
    for name in ["templates", "etc", "other"] {
        fs::create_dir(dir.path().join(name)).expect("directory");
    }
    let text = sections.replace("DIR", &dir.path().display().to_string());
    let ini = Ini::parse(&text, "node.ini").expect("ini");
    let services = Services::from_ini(&ini, dir.path()).expect("services");
    let cluster = vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()];
    let membership = Membership {
        identifier: 2,
        address: "127.0.0.2".into(),
        cluster,
        hostname: "h".into(),
        ..Membership::default()
    };
    let job = ConfigureJob {
        services: Arc::new(services),
        membership,
        wanted: None,
        templates: Vec::new(),
        running: Vec::new(),
        since: Vec::new(),
        dry_run: false,
    };
    World { dir, job }
}

const TWO: &str = "[config:a:x]\ntemplate = templates/x\ntarget = DIR/etc/x\nmode = 0640\n\
                   [config:a:y]\ntemplate = templates/y\ntarget = DIR/etc/y\n";

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect(name);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).expect(name);
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn run(&self) -> Result<ConfigureOutcome, Vec<String>> {
        configure(&self.job).map_err(|error| error.problems())
    }

    fn inode(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).expect(name).ino()
    }
}

#[test]
fn writes_what_changed_and_nothing_else() {
    let world = world(TWO);
    world.write("templates/x", "id=${identifier}\n");
    world.write("templates/y", "same\n");
    world.write("etc/y", "same");
    let before = world.inode("etc/y");
    let outcome = world.run().expect("configured");
    let changed: Vec<bool> = outcome.files.iter().map(|file| file.changed).collect();
    assert_eq!((changed, world.read("etc/x")), (vec![true, false], "id=2".into()));
    assert_eq!(world.inode("etc/y"), before, "untouched");
    assert_eq!(fs::metadata(world.path("etc/x")).expect("x").permissions().mode() & 0o7777, 0o640);
    assert!(outcome.files.iter().all(|file| file.diff.is_none()));
    let again = world.run().expect("configured");
    assert!(again.files.iter().all(|file| !file.changed));
    assert_eq!(world.names("etc"), ["x", "y"]);
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let mut world = world(TWO);
    world.job.dry_run = true;
    world.write("templates/x", "one\nid=${identifier}\nthree");
    world.write("templates/y", "new");
    world.write("etc/x", "one\nid=1\nthree");
    let outcome = world.run().expect("planned");
    let diff = outcome.files[0].diff.clone().expect("diff");
    let path = world.path("etc/x").display().to_string();
    let body = "@@ -1,3 +1,3 @@\n one\n-id=1\n+id=2\n three\n\\ No newline at end of file\n";
    assert_eq!(diff, format!("--- {path}\n+++ {path}\n{body}"));
    assert!(outcome.files[1].diff.as_ref().is_some_and(|diff| diff.starts_with("--- /dev/null")));
    assert_eq!((world.read("etc/x"), world.names("etc")), ("one\nid=1\nthree".into(), vec!["x".into()]));
}

#[test]
fn keeps_owner_and_mode_and_follows_links() {
    let world = world(TWO);
    world.write("templates/x", "new");
    world.write("templates/y", "new");
    world.write("other/real", "old");
    fs::set_permissions(world.path("other/real"), fs::Permissions::from_mode(0o604)).expect("mode");
    let root = nix::unistd::geteuid().is_root();
    if root {
        chown(world.path("other/real"), Some(12345), Some(54321)).expect("owner");
    }
    symlink("../other/real", world.path("etc/x")).expect("link");
    symlink(world.path("other/absent"), world.path("etc/y")).expect("link");
    world.run().expect("configured");
    assert!(fs::symlink_metadata(world.path("etc/x")).expect("x").is_symlink());
    assert_eq!((world.read("other/real"), world.read("other/absent")), ("new".into(), "new".into()));
    let meta = fs::metadata(world.path("other/real")).expect("real");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o604);
    if root {
        assert_eq!((meta.uid(), meta.gid()), (12345, 54321));
    }
}

#[test]
fn a_link_that_a_service_put_there_leads_nowhere() {
    let world = world(TWO);
    world.write("templates/x", "new");
    world.write("templates/y", "new");
    world.write("other/secret", "old");
    symlink(world.path("other/secret"), world.path("etc/x")).expect("link");
    if !nix::unistd::geteuid().is_root() {
        // Only root can make a link for somebody else; an own one is always followed.
        world.run().expect("configured");
        return;
    }
    std::os::unix::fs::lchown(world.path("etc/x"), Some(12345), None).expect("owner");
    let problems = world.run().expect_err("refused");
    assert!(problems.len() == 1 && problems[0].contains("belongs to user 12345"), "{problems:?}");
    assert_eq!((world.read("other/secret"), world.names("etc")), ("old".into(), vec!["x".into()]));
    // Its own file is another matter.
    chown(world.path("other/secret"), Some(12345), None).expect("owner");
    world.run().expect("configured");
    assert_eq!(world.read("other/secret"), "new");
}

#[test]
fn any_fault_changes_nothing_and_every_fault_is_named() {
    let three = format!("{TWO}[config:a:z]\ntemplate = templates/z\ntarget = DIR/absent/z\n");
    let world = world(&three);
    world.write("templates/x", "new");
    world.write("etc/x", "old");
    let problems = world.run().expect_err("refused");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("templates/y") && problems[0].contains("no such file"), "{problems:?}");
    assert!(problems[1].contains("templates/z"), "{problems:?}");
    world.write("templates/y", "$oops ${oops2}");
    fs::write(world.path("templates/z"), b"\n\xff").expect("z");
    let problems = world.run().expect_err("refused");
    assert!(
        problems.iter().any(|problem| problem.contains("templates/y:1:1: unknown name \"oops\"")),
        "{problems:?}"
    );
    assert!(problems.iter().any(|problem| problem.contains("\"oops2\"")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("line 2 is not UTF-8")), "{problems:?}");
    world.write("templates/y", "good");
    world.write("templates/z", "good");
    fs::create_dir(world.path("etc/y")).expect("directory");
    let problems = world.run().expect_err("refused");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("etc/y") && problems[0].contains("not a regular file"), "{problems:?}");
    assert!(problems[1].contains("absent") && problems[1].contains("does not exist"), "{problems:?}");
    assert_eq!((world.read("etc/x"), world.names("etc")), ("old".into(), vec!["x".into(), "y".into()]));
}

#[test]
fn two_names_for_one_file_are_refused() {
    let world = world(TWO);
    world.write("templates/x", "1");
    world.write("templates/y", "2");
    symlink("x", world.path("etc/y")).expect("link");
    let problems = world.run().expect_err("refused");
    assert!(problems[0].contains("the same file as the target of a:x"), "{problems:?}");
    assert_eq!(world.names("etc"), ["y"]);
}

#[test]
fn a_copy_that_cannot_be_written_leaves_no_copies() {
    // The copy's name, `.NAME.circus-new`, is too long for the file system; the first copy is written before.
    let long = "n".repeat(250);
    let world = world(&TWO.replace("etc/y", &format!("etc/{long}")));
    world.write("templates/x", "new");
    world.write("templates/y", "new");
    world.write("etc/x", "old");
    let problems = world.run().expect_err("refused");
    assert!(problems[0].contains("name too long"), "{problems:?}");
    assert_eq!((world.read("etc/x"), world.names("etc")), ("old".into(), vec!["x".into()]));
}

#[test]
fn a_failing_rename_puts_the_earlier_files_back() {
    let world = world(TWO);
    world.write("templates/x", "new");
    world.write("templates/y", "new");
    world.write("etc/x", "old");
    let mut targets = plan(&world.job).expect("planned");
    // Meanwhile somebody makes a directory where the second file should go.
    fs::create_dir(world.path("etc/y")).expect("directory");
    let problems = replace::replace(&targets).expect_err("refused");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((world.read("etc/x"), world.names("etc")), ("old".into(), vec!["x".into(), "y".into()]));
    // And the same for a file that was new.
    fs::remove_file(world.path("etc/x")).expect("remove");
    fs::remove_dir(world.path("etc/y")).expect("remove");
    targets = plan(&world.job).expect("planned");
    fs::create_dir(world.path("etc/y")).expect("directory");
    assert_eq!(replace::replace(&targets).expect_err("refused").len(), 1);
    assert_eq!(world.names("etc"), ["y"]);
}

#[test]
fn what_a_crash_left_is_removed() {
    let world = world(TWO);
    world.write("templates/x", "new");
    world.write("templates/y", "new");
    world.write("etc/.x.circus-new", "half");
    symlink("../other/trap", world.path("etc/.y.circus-new")).expect("link");
    world.run().expect("configured");
    assert_eq!((world.names("etc"), world.names("other")), (vec!["x".into(), "y".into()], Vec::new()));
}

#[test]
fn only_one_configure_at_a_time_writes_into_a_directory() {
    let world = world(TWO);
    world.write("templates/x", "new");
    world.write("templates/y", "new");
    let other = File::open(world.path("etc")).expect("directory");
    other.lock().expect("lock");
    let problems = world.run().expect_err("refused");
    assert!(problems.iter().all(|problem| problem.contains("another configure is at work")), "{problems:?}");
    other.unlock().expect("unlock");
    world.run().expect("configured");
}

#[test]
fn a_running_service_is_left_alone_unless_its_section_says_otherwise() {
    for (policy, restarts) in [("refuse", None), ("allow", Some(0)), ("restart", Some(1))] {
        let mut world = world(&format!("[service:a]\nconfigure_while_running = {policy}\n{TWO}"));
        world.write("templates/x", "new");
        world.write("templates/y", "new");
        world.job.running = vec!["A".into()];
        match (world.run(), restarts) {
            (Ok(outcome), Some(count)) => assert_eq!(outcome.restart.len(), count, "{policy}"),
            (Err(problems), None) => {
                assert!(problems[0].contains("a is running") && problems.len() == 2, "{problems:?}");
                assert!(world.names("etc").is_empty());
                world.job.running.clear();
                world.run().expect("configured");
                world.job.running = vec!["a".into()];
                assert!(world.run().is_ok(), "without a change there is nothing to refuse");
            }
            (other, _) => panic!("{policy}: {other:?}"),
        }
    }
}

#[test]
fn who_runs_with_other_files_is_named() {
    let mut world = world(&format!("[service:a]\nconfigure_while_running = allow\n{TWO}"));
    world.write("templates/x", "old");
    world.write("templates/y", "old");
    world.job.running = vec!["a".into()];
    // Started long before the files are there, and long after.
    world.job.since = vec![("A".into(), 1000.0)];
    assert_eq!(world.run().expect("written").restart_needed, ["a"], "changed while it runs");
    assert_eq!(world.run().expect("unchanged").restart_needed, ["a"], "and not started since");
    world.job.since = vec![("a".into(), 1e12)];
    assert_eq!(world.run().expect("unchanged").restart_needed, Vec::<String>::new());
    world.write("templates/x", "new");
    world.job.dry_run = true;
    for (policy, needed) in [("allow", 1), ("refuse", 1), ("restart", 0)] {
        let services = Arc::make_mut(&mut world.job.services);
        services.services[0].configure_while_running = match policy {
            "allow" => WhileRunning::Allow,
            "refuse" => WhileRunning::Refuse,
            _ => WhileRunning::Restart,
        };
        let outcome = world.run().expect("a dry run only looks");
        assert_eq!(outcome.restart_needed.len(), needed, "{policy}");
        assert!(outcome.files[0].diff.as_ref().is_some_and(|diff| diff.contains("+new")), "{policy}");
    }
    world.job.running.clear();
    assert_eq!(world.run().expect("stopped").restart_needed, Vec::<String>::new());
}

#[test]
fn the_controller_replaces_texts_but_never_targets() {
    let mut world = world(TWO);
    world.job.templates = vec![("a:x".into(), "sent ${address}".into()), ("A:y".into(), "sent $oops".into())];
    let problems = world.run().expect_err("refused");
    assert!(problems[0].starts_with("A:y (as sent):1:6: unknown name"), "{problems:?}");
    world.job.templates[1].1 = "sent".into();
    world.run().expect("no template file is needed");
    assert_eq!((world.read("etc/x"), world.read("etc/y")), ("sent 127.0.0.2".into(), "sent".into()));
}

#[test]
fn a_reader_sees_the_old_file_or_the_new_one() {
    let mut world = world(TWO);
    let old = "a".repeat(300_000);
    let new = "b".repeat(300_000);
    world.job.templates = vec![("a:x".into(), old.clone()), ("a:y".into(), "y".into())];
    world.run().expect("configured");
    let path = world.path("etc/x");
    let (old_text, new_text) = (old.clone(), new.clone());
    let (sender, done) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut seen = 0_usize;
        loop {
            let text = fs::read_to_string(&path).expect("always there");
            assert!(text == old_text || text == new_text, "half a file");
            seen += 1;
            if done.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                return seen;
            }
        }
    });
    for round in 0..20 {
        world.job.templates[0].1 = if round % 2 == 0 { new.clone() } else { old.clone() };
        world.run().expect("configured");
    }
    drop(sender);
    assert!(reader.join().expect("reader") > 0);
}
