//! Reading logs, with real files.

use super::*;
use crate::host::stream::file::{LogFile, Rotation};

fn last(path: &Path, lines: u32) -> LogText {
    from_file(path, &LogPart::Last { lines }, false).unwrap()
}

fn from(path: &Path, offset: u64, limit: u32, generation: Option<&str>) -> LogText {
    let generation = generation.map(str::to_owned);
    from_file(path, &LogPart::From { offset, limit, generation }, false).unwrap()
}

#[test]
fn the_last_lines_reach_back_into_rotated_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Size { max_bytes: 20, backups: 9 }, 0.0).unwrap();
    for number in 0..20 {
        log.write(format!("line {number}\n").as_bytes(), 0.0).unwrap();
    }
    for lines in 1..20 {
        let wanted: String = (20 - lines..20).map(|number| format!("line {number}\n")).collect();
        assert_eq!(last(&path, lines).text, wanted, "{lines}");
    }
    let all = last(&path, 100).text;
    assert!(all.ends_with("line 19\n") && all.starts_with("line "), "{all}");
}

#[test]
fn a_follower_misses_nothing_while_files_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Size { max_bytes: 50, backups: 50 }, 0.0).unwrap();
    let mut all = String::new();
    let mut told = String::new();
    let (mut offset, mut generation): (u64, Option<String>) = (0, None);
    for number in 0..200 {
        let line = format!("line {number} ß\n");
        log.write(line.as_bytes(), 0.0).unwrap();
        all += &line;
        if number % 7 == 0 || number == 199 {
            loop {
                let read = from(&path, offset, 11, generation.as_deref());
                told += &read.text;
                (offset, generation) = (read.next_offset, read.generation);
                if read.eof {
                    break;
                }
            }
        }
    }
    assert_eq!(told, all);
}

#[test]
fn positions_are_bytes_and_no_character_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, "aß€\n").unwrap();
    let one = from(&path, 0, 2, None);
    assert_eq!((one.text.as_str(), one.next_offset, one.eof), ("a", 1, false));
    let two = from(&path, 1, 4, None);
    assert_eq!((two.text.as_str(), two.next_offset), ("ß", 3));
    fs::write(&path, b"x\xff\xfe\ny\xe2\x82").unwrap();
    let odd = from(&path, 0, 100, None);
    assert_eq!((odd.text.as_str(), odd.next_offset, odd.eof), ("x\u{fffd}\u{fffd}\ny", 5, false));
    let rest = from(&path, 5, 100, None);
    assert_eq!((rest.text.as_str(), rest.next_offset, rest.eof), ("\u{fffd}", 7, true));
    let beyond = from(&path, 1000, 3, None);
    assert_eq!((beyond.offset, beyond.next_offset), (0, 3));
}

#[test]
fn long_texts_end_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = "x".repeat(99) + "\n";
    fs::write(&path, line.repeat(10_000)).unwrap();
    let read = last(&path, 10_000);
    assert!(read.text.len() <= MAX_TEXT as usize && read.text.len() > MAX_TEXT as usize - 100);
    assert!(read.text.starts_with('x') && read.text.lines().all(|found| found.len() == 99));
    assert_eq!((read.offset + read.text.len() as u64, read.next_offset), (1_000_000, 1_000_000));
    fs::write(&path, "y".repeat(1_000_000)).unwrap();
    assert_eq!(last(&path, 1).text.len(), MAX_TEXT as usize);
}

#[test]
fn only_regular_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [pipe.as_path(), dir.path(), Path::new("/dev/zero"), Path::new("/no/such/file")] {
        assert!(from_file(path, &LogPart::Last { lines: 1 }, false).is_err(), "{}", path.display());
    }
}

#[test]
fn memory_is_read_like_a_file_whose_beginning_is_gone() {
    let found = Found { path: None, start: 100, bytes: b"one\ntwo\nthree".to_vec() };
    let text = from_memory(&found, &LogPart::Last { lines: 2 }, false);
    assert_eq!((text.text.as_str(), text.offset, text.next_offset, text.eof), ("two\nthree", 104, 113, true));
    let part = |offset, limit| LogPart::From { offset, limit, generation: None };
    let text = from_memory(&found, &part(7, 4), false);
    assert_eq!((text.text.as_str(), text.offset, text.next_offset, text.eof), ("one\n", 100, 104, false));
    let text = from_memory(&found, &part(500, 4), false);
    assert_eq!((text.text.as_str(), text.offset, text.eof), ("", 113, true));
}

#[test]
fn who_was_away_begins_with_the_oldest_younger_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(&path, Rotation::Size { max_bytes: 40, backups: 3 }, 0.0).unwrap();
    log.write(b"first\n", 0.0).unwrap();
    let known = from(&path, 0, 100, None);
    assert_eq!(known.text, "first\n");
    for number in 0..100 {
        log.write(format!("line {number}\n").as_bytes(), 0.0).unwrap();
    }
    let read_all = |generation: Option<String>, offset: u64| {
        let (mut told, mut generation, mut offset) = (String::new(), generation, offset);
        loop {
            let read = from(&path, offset, 100, generation.as_deref());
            told += &read.text;
            (offset, generation) = (read.next_offset, read.generation);
            if read.eof {
                return told;
            }
        }
    };
    // Its own file is gone: nothing of what is there is left out, or told twice.
    let rest = read_all(known.generation, known.next_offset);
    assert_eq!(rest, read_all(Some(OLDEST.to_owned()), 0));
    assert!(rest.ends_with("line 99\n") && rest.lines().count() > 10, "{rest}");
    let numbers: Vec<u32> =
        rest.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{rest}");
}

#[test]
fn bytes_come_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, b"a\xff\xe2\x82").unwrap();
    let part = LogPart::From { offset: 0, limit: 100, generation: None };
    let told = from_file(&path, &part, true).unwrap();
    assert_eq!((STANDARD.decode(&told.text).unwrap(), told.next_offset), (b"a\xff\xe2\x82".to_vec(), 4));
}
