//! A line as words, and a script as lines: blanks separate, quotes and backslashes keep together.

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

/// Words as a shell would see them, without expansion of any kind; `#` begins a comment.
pub(super) fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(letters.next().ok_or(WordsError::Escape)?);
            }
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (None, '#') if word.is_none() => break,
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(WordsError::Open(open));
    }
    words.extend(word);
    Ok(words)
}

/// The commands of a script: `;` and line ends separate, outside of quotes.
pub(super) fn commands(text: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut escaped = false;
    let mut comment = false;
    let mut between_words = true;
    for letter in text.chars() {
        comment = letter != '\n' && (comment || (letter == '#' && between_words && quote.is_none()));
        if comment {
            continue;
        }
        between_words = !escaped && (letter.is_whitespace() || letter == ';');
        let separates = quote.is_none() && !escaped && (letter == ';' || letter == '\n');
        quote = match quote {
            Some(open) if letter == open && !escaped => None,
            None if !escaped && (letter == '\'' || letter == '"') => Some(letter),
            unchanged => unchanged,
        };
        escaped = letter == '\\' && !escaped && quote != Some('\'');
        if separates {
            commands.push(String::new());
        } else if let Some(last) = commands.last_mut() {
            last.push(letter);
        }
    }
    commands.retain(|command| !command.trim().is_empty());
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        split(line).map_or_else(|error| error.to_string(), |words| words.join("|"))
    }

    #[test]
    fn splits_words() {
        assert_eq!(words("  start  neo4j # now"), "start|neo4j");
        assert_eq!(words("call get 'a b' \"c \\\" d\" e\\ f ''"), "call|get|a b|c \" d|e f|");
        assert_eq!(words("a#b"), "a#b");
        assert_eq!(words("call x '{\"a\": 1}'"), "call|x|{\"a\": 1}");
        assert_eq!(words("'a"), "the quote ' is not closed");
        assert_eq!(words("a\\"), "nothing follows the last backslash");
        assert_eq!(words(""), "");
    }

    #[test]
    fn splits_commands() {
        assert_eq!(commands("status; call x 'a;b'\nstop --yes;;"), ["status", " call x 'a;b'", "stop --yes"]);
        assert_eq!(commands("a\\;b"), ["a\\;b"]);
        assert_eq!(commands("a # b; 'c\nd#e;#f\n g"), ["a ", "d#e", " g"]);
        assert_eq!(commands("'#' \"a\nb\"; c"), ["'#' \"a\nb\"", " c"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(line in ".*") {
            let _unused = (split(&line), commands(&line));
        }
    }
}
