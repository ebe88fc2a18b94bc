//! A line of the shell as words: blanks separate; quotes and backslashes keep together, by the rules of
//! Python's `shlex`, which stock's shell uses. Inside double quotes a backslash escapes only itself and
//! the quote.

/// Why a line is not words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WordsError {
    /// A quote without its partner.
    #[error("the quote {0} is not closed")]
    Open(char),
    /// A backslash with nothing after it.
    #[error("nothing follows the last backslash")]
    Escape,
}

/// The words.
pub(super) fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some('"'), '\\') => {
                let next = letters.next().ok_or(WordsError::Escape)?;
                let word = word.get_or_insert_default();
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '\\') => word.get_or_insert_default().push(letters.next().ok_or(WordsError::Escape)?),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(letter),
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

    #[test]
    fn splits_as_shlex_does() {
        let words = |line: &str| split(line).map_or_else(|error| error.to_string(), |words| words.join("|"));
        assert_eq!(words(" list  'two words' "), "list|two words");
        assert_eq!(words(r#"a "b\"\\\n" c\ d '' #e"#), r#"a|b"\\n|c d||#e"#);
        assert_eq!(words("'a"), "the quote ' is not closed");
        assert_eq!(words("a\\"), "nothing follows the last backslash");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in ".*") {
            let _unused = split(&line);
        }
    }
}
