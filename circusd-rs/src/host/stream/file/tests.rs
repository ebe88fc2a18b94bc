//! Rotation, with real files.

use super::*;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("<{error}>"))
}

#[test]
fn a_file_rotates_before_it_reaches_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Size { max_bytes: 10, backups: 2 }, 0.0).unwrap();
    log.write("12345\nß89\nabc\nxyz\n".as_bytes(), 0.0).unwrap();
    log.write(b"more\n", 0.0).unwrap();
    assert_eq!(read(&path), "xyz\nmore\n");
    assert_eq!(read(&log.named(1)), "ß89\nabc\n");
    assert_eq!(read(&log.named(2)), "12345\n");
    assert!(!log.named(3).exists());
}

#[test]
fn no_line_is_torn_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Size { max_bytes: 200, backups: 10_000 }, 0.0).unwrap();
    let lines: Vec<String> = (0..500).map(|n| format!("line {n} {}\n", "x".repeat(n % 40))).collect();
    for chunk in lines.concat().as_bytes().chunks(7) {
        log.write(chunk, 0.0).unwrap();
    }
    let files = fs::read_dir(dir.path()).unwrap().count() as u64;
    assert!(files > 20, "{files}");
    let mut all = String::new();
    for number in (1..files).rev() {
        let text = read(&log.named(number));
        assert!(text.ends_with('\n') && text.len() < 300, "{number}: {text}");
        all += &text;
    }
    assert_eq!(all + &read(&path), lines.concat());
}

#[test]
fn a_line_without_end_does_not_grow_a_file_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Size { max_bytes: 1000, backups: 30 }, 0.0).unwrap();
    let chunk = [b'x'; 10_000];
    for _ in 0..30 {
        log.write(&chunk, 0.0).unwrap();
    }
    let sizes: Vec<u64> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size <= 1000 + LONGEST_LINE + 10_000), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<u64>(), 300_000, "nothing was rotated away yet");
}

#[test]
fn two_streams_share_a_file_without_losing_anything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let rotation = Rotation::Size { max_bytes: 100, backups: 1000 };
    let mut one = LogFile::open(&path, rotation.clone(), 0.0).unwrap();
    let mut two = LogFile::open(&path, rotation, 0.0).unwrap();
    for n in 0..200 {
        one.write(format!("one {n:03}\n").as_bytes(), 0.0).unwrap();
        two.write(format!("two {n:03}\n").as_bytes(), 0.0).unwrap();
    }
    let mut lines: Vec<String> = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        lines.extend(read(&entry.unwrap().path()).lines().map(str::to_owned));
    }
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 400);
}

#[test]
fn a_watched_file_is_begun_anew_when_it_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Watched, 0.0).unwrap();
    log.write(b"one\n", 0.0).unwrap();
    fs::rename(&path, dir.path().join("old")).unwrap();
    log.write(b"two\n", 0.0).unwrap();
    fs::remove_file(&path).unwrap();
    log.write(b"three\n", 0.0).unwrap();
    assert_eq!((read(&dir.path().join("old")).as_str(), read(&path).as_str()), ("one\n", "three\n"));
}

#[test]
fn a_timed_file_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let schedule = Schedule::new("S", 1, true).unwrap();
    let mut log =
        LogFile::open(&path, Rotation::Timed { schedule, backups: 2, at: None }, 1_600_000_000.0).unwrap();
    fs::write(dir.path().join("log.keep"), "mine").unwrap();
    for second in 0..5 {
        log.write(format!("{second}\n").as_bytes(), 1_600_000_000.0 + f64::from(second)).unwrap();
    }
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.20200913122642", "log.20200913122643", "log.keep"]);
    assert_eq!(read(&dir.path().join("log.20200913122643")), "3\n");
    assert_eq!(read(&path), "4\n");
}
