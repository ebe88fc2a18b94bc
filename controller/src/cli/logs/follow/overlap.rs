//! Where two accounts of the same output meet: text that was read, and text that was heard while it
//! was read. Pure.

/// How many bytes of `heard` are at the end of `read` already: the longest beginning of the one that is
/// an end of the other, or all of `read` within it.
pub(super) fn overlap(read: &str, heard: &str) -> usize {
    let (read, heard) = (read.as_bytes(), heard.as_bytes());
    // What was heard may have begun before what was read.
    if !read.is_empty()
        && read.len() < heard.len()
        && let Some(at) = heard.windows(read.len()).rposition(|window| window == read)
    {
        return at + read.len();
    }
    // Knuth, Morris and Pratt: how long a beginning of `heard` ends at each byte.
    let mut borders = vec![0_usize; heard.len()];
    let get = |borders: &[usize], at: usize| borders.get(at).copied().unwrap_or(0);
    for at in 1..heard.len() {
        let mut length = get(&borders, at - 1);
        while length > 0 && heard.get(at) != heard.get(length) {
            length = get(&borders, length - 1);
        }
        if heard.get(at) == heard.get(length) {
            length += 1;
        }
        if let Some(border) = borders.get_mut(at) {
            *border = length;
        }
    }
    let mut length = 0;
    for byte in read {
        if length == heard.len() && length > 0 {
            length = get(&borders, length - 1);
        }
        while length > 0 && heard.get(length) != Some(byte) {
            length = get(&borders, length - 1);
        }
        if heard.get(length) == Some(byte) {
            length += 1;
        }
    }
    length
}

/// The same where each line was given a beginning of its own when it was written: what is behind the
/// last line that ends like the last whole line read.
pub(super) fn by_last_line(read: &str, heard: &str) -> Option<usize> {
    let last = read.lines().next_back().filter(|line| !line.is_empty())?;
    let mut end = 0;
    let mut found = None;
    for line in heard.split_inclusive('\n') {
        end += line.len();
        let plain = line.trim_end_matches('\n');
        if !plain.is_empty() && last.ends_with(plain) {
            found = Some(end);
        }
    }
    found
}

/// What comes behind text that is known, in text that was read again; `None` when it is not in there.
pub(super) fn behind<'a>(known: &str, again: &'a str) -> Option<&'a str> {
    const ENOUGH: usize = 512;
    let mut from = known.len().saturating_sub(ENOUGH);
    while !known.is_char_boundary(from) {
        from += 1;
    }
    let end = known.get(from..).filter(|end| !end.is_empty())?;
    match again.rfind(end) {
        Some(at) => again.get(at + end.len()..),
        // Not so much of it was read again.
        None => Some(overlap(known, again)).filter(|meets| *meets > 0).and_then(|meets| again.get(meets..)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cases_meet() {
        for (read, heard, known) in [
            ("", "abc", 0),
            ("xyz", "", 0),
            ("1\n2\n3\n", "2\n3\n4\n", 4),
            ("1\n2\n3\n", "4\n5\n", 0),
            ("1\n2\n", "1\n2\n", 4),
            ("2\n", "1\n2\n3\n", 4),
            ("a\na\na\n", "a\na\nb\n", 4),
            ("ab", "abab", 4),
            ("xaa", "aaa", 2),
        ] {
            assert_eq!(overlap(read, heard), known, "{read:?} {heard:?}");
        }
        assert_eq!(by_last_line("[1] a\n[1] b\n", "a\nb\nc\n"), Some(4));
        assert_eq!(by_last_line("", "a\n"), None);
        assert_eq!(behind("1\n2\n", "0\n1\n2\n3\n"), Some("3\n"));
        assert_eq!(behind("1\n2\n", "5\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn numbered_lines_are_told_once(total in 1_usize..60, start in 0_usize..60, end in 0_usize..60) {
            let line = |number: usize| format!("line {number}\n");
            let (start, end) = (start.min(total), end.min(total));
            let read: String = (0..end).map(line).collect();
            let heard: String = (start..total).map(line).collect();
            let rest = &heard[overlap(&read, &heard)..];
            let wanted: String = (start.max(end)..total).map(line).collect();
            assert_eq!(rest, wanted);
        }

        #[test]
        fn the_overlap_is_real(read in "[ab]{0,12}", heard in "[ab]{0,12}") {
            let known = overlap(&read, &heard);
            assert!(known <= heard.len());
            let meets = |known: usize| read.ends_with(&heard[..known]) || heard[..known].ends_with(&read);
            assert!(meets(known));
            assert!((known + 1..=heard.len().min(read.len())).all(|more| !read.ends_with(&heard[..more])));
        }
    }
}
