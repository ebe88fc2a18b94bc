//! A script as lines: `;` and line ends separate, outside of quotes and comments.

/// The commands of a script.
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

    #[test]
    fn splits_commands() {
        assert_eq!(commands("status; call x 'a;b'\nstop --yes;;"), ["status", " call x 'a;b'", "stop --yes"]);
        assert_eq!(commands("a\\;b"), ["a\\;b"]);
        assert_eq!(commands("a # b; 'c\nd#e;#f\n g"), ["a ", "d#e", " g"]);
        assert_eq!(commands("'#' \"a\nb\"; c"), ["'#' \"a\nb\"", " c"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _unused = commands(&text);
        }
    }
}
