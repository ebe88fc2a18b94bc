//! A line as words: blanks separate, quotes and backslashes keep together. There are two sets of rules,
//! because the console is ours and the shell speaks as stock's, which splits as Python's `shlex` does.

/// Why a line is not words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordsError {
    /// A quote without its partner.
    #[error("the quote {0} is not closed")]
    Open(char),
    /// A backslash with nothing after it.
    #[error("nothing follows the last backslash")]
    Escape,
}

/// What differs between the two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A word that begins with `#` begins a comment.
    comments: bool,
    /// What a backslash escapes inside of double quotes; before anything else it stays.
    escapable: Option<[char; 2]>,
    /// What separates words.
    is_blank: fn(char) -> bool,
}

/// The console's own.
pub(crate) const CONSOLE: Rules = Rules { comments: true, escapable: None, is_blank: char::is_whitespace };

/// Those of `shlex`, comments left alone.
pub(crate) const SHLEX: Rules = Rules {
    comments: false,
    escapable: Some(['"', '\\']),
    is_blank: |letter| matches!(letter, ' ' | '\t' | '\r' | '\n'),
};

/// Words as a shell would see them, without expansion of any kind.
pub(crate) fn split(line: &str, rules: Rules) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or(WordsError::Escape)?;
                let word = word.get_or_insert_default();
                let stays = |escapable: [char; 2]| quote.is_some() && !escapable.contains(&next);
                if rules.escapable.is_some_and(stays) {
                    word.push('\\');
                }
                word.push(next);
            }
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (None, '#') if rules.comments && word.is_none() => break,
            (None, _) if (rules.is_blank)(letter) => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(WordsError::Open(open));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str, rules: Rules) -> String {
        split(line, rules).map_or_else(|error| error.to_string(), |words| words.join("|"))
    }

    #[test]
    fn the_console_splits_words() {
        let words = |line| words(line, CONSOLE);
        assert_eq!(words("  start  neo4j # now"), "start|neo4j");
        assert_eq!(words("call get 'a b' \"c \\\" d\" e\\ f ''"), "call|get|a b|c \" d|e f|");
        assert_eq!(words("a#b"), "a#b");
        assert_eq!(words("call x '{\"a\": 1}'"), "call|x|{\"a\": 1}");
        assert_eq!(words("'a"), "the quote ' is not closed");
        assert_eq!(words("a\\"), "nothing follows the last backslash");
        assert_eq!(words(""), "");
    }

    #[test]
    fn the_shell_splits_as_shlex_does() {
        let words = |line| words(line, SHLEX);
        assert_eq!(words(" list  'two words' "), "list|two words");
        assert_eq!(words(r#"a "b\"\\\n" c\ d '' #e"#), r#"a|b"\\n|c d||#e"#);
        assert_eq!(words("'a"), "the quote ' is not closed");
        assert_eq!(words("a\\"), "nothing follows the last backslash");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in ".*") {
            let _unused = (split(&line, CONSOLE), split(&line, SHLEX));
        }
    }
}
