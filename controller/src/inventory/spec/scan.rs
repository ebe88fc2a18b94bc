//! A line as terms: where each begins and ends, and the operator in front of it. Knows brackets and
//! quotes, not what a term means.

use super::error::Reason;
use super::hosts::Fault;

/// What a term does to the nodes named so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `,`: these as well.
    Add,
    /// `-` in front: not these, wherever it stands.
    Drop,
    /// `!`: without these, of what stands on the left.
    Without,
    /// `&`: only these, of what stands on the left.
    Only,
}

/// One term of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What it does.
    pub op: Op,
    /// As written, with its operator.
    pub text: &'a str,
    /// Without it.
    pub body: &'a str,
}

/// What takes the rest of the line.
const EXEC: &str = "exec:";

/// The terms of one line; with `comments`, a `#` at the beginning of a word ends it.
pub(super) fn scan(line: &str, comments: bool) -> Result<Vec<Piece<'_>>, Fault<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
        if rest.is_empty() || (comments && rest.starts_with('#')) {
            return Ok(pieces);
        }
        let (op, sign) = match rest.chars().next() {
            Some('-') => (Op::Drop, 1),
            Some('!') => (Op::Without, 1),
            Some('&') => (Op::Only, 1),
            _ => (Op::Add, 0),
        };
        let from = rest.get(sign..).unwrap_or_default();
        // Around `!` and `&` there may be blanks, as between words.
        let from = if matches!(op, Op::Without | Op::Only) { from.trim_start() } else { from };
        let length = if is_exec(from) { to_line_end(from) } else { word(from)? };
        let (body, tail) = from.split_at_checked(length).unwrap_or((from, ""));
        let text = rest.get(..rest.len() - tail.len()).unwrap_or(rest);
        if body.is_empty() {
            let sign = rest.chars().next().unwrap_or('-');
            return Err((Reason::Nothing(sign), text));
        }
        pieces.push(Piece { op, text, body });
        rest = tail;
    }
}

/// An `exec:` whose command is not quoted; `exec:22` is a host and its port.
fn is_exec(from: &str) -> bool {
    let ends = |letter: char| matches!(letter, ',' | '!' | '&') || letter.is_whitespace();
    from.strip_prefix(EXEC).is_some_and(|command| {
        let first = command.split(ends).next().unwrap_or_default();
        let port = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
        !command.starts_with(['"', '\'']) && !port
    })
}

fn to_line_end(from: &str) -> usize {
    from.lines().next().unwrap_or_default().trim_end().len()
}

/// How long the word at the beginning is.
fn word(from: &str) -> Result<usize, Fault<'_>> {
    let mut bracket: Option<usize> = None;
    let mut quote: Option<(usize, char)> = None;
    for (at, letter) in from.char_indices() {
        match (quote, bracket, letter) {
            (Some((_, open)), _, _) if letter == open => quote = None,
            (Some(_), _, _) => {}
            (None, _, '"' | '\'') => quote = Some((at, letter)),
            (None, None, '[') => bracket = Some(at),
            (None, Some(_), ']') => bracket = None,
            (None, Some(_), _) => {}
            (None, None, ',' | '!' | '&') => return Ok(at),
            (None, None, _) if letter.is_whitespace() => return Ok(at),
            (None, None, _) => {}
        }
    }
    let unclosed = |at: usize, what| Err((Reason::Open(what), from.get(at..).unwrap_or(from)));
    match (quote, bracket) {
        (Some((at, _)), _) => unclosed(at, "quote"),
        (None, Some(at)) => unclosed(at, "bracket"),
        (None, None) => Ok(from.len()),
    }
}

/// A text without the quotes around it.
pub(crate) fn unquoted(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

/// The command of an `exec:` term; `None`: it is something else.
pub(super) fn exec(body: &str) -> Option<&str> {
    let command = body.strip_prefix(EXEC)?;
    let port = !command.is_empty() && command.bytes().all(|byte| byte.is_ascii_digit());
    (!port).then(|| unquoted(command).trim())
}
