//! One pass over the lines of a file. The states are "no section yet", "in a section" and "in a
//! value"; the last two differ in what an indented line means.
//!
//! ```text
//!            title                 key = value
//! no section ─────► in a section ─────────────► in a value ⟲ indented line: continues it
//!     │ anything else    │ no key in the line        │ title: in a section
//!     ▼                  ▼                           ▼ no key in the line
//!   error              error                       error
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::{DEFAULT, Entry, Ini, IniError, MAX_BYTES, Place, Section, is_blank, strip};

/// Where the values of the current title go.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Nowhere,
    Defaults,
    Section(usize),
}

/// What an indented line continues.
#[derive(Clone, Copy)]
enum Open {
    /// Nothing: the first line after a title is read as `key = value` even when it is indented.
    Nothing,
    /// The value of this entry. A repeated key continues its first value, as in circus.
    Entry(usize),
    /// circus owns the key `__name__`; what a file says about it is dropped.
    Dropped,
}

struct Parser {
    file: Arc<str>,
    ini: Ini,
    target: Target,
    open: Open,
    /// Where each section and each key is, because a hostile file may have very many.
    titles: HashMap<String, usize>,
    keys: HashMap<(Target, String), usize>,
    errors: Vec<IniError>,
}

pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Ini, Vec<IniError>> {
    if text.len() > MAX_BYTES {
        return Err(vec![IniError::TooLarge { file: file.clone(), bytes: text.len() }]);
    }
    if text.starts_with('\u{feff}') {
        return Err(vec![IniError::ByteOrderMark { place: Place { file: file.clone(), line: 1 } }]);
    }
    let mut parser = Parser {
        file: file.clone(),
        ini: Ini::default(),
        target: Target::Nowhere,
        open: Open::Nothing,
        titles: HashMap::new(),
        keys: HashMap::new(),
        errors: Vec::new(),
    };
    for (index, line) in lines(text).enumerate() {
        parser.line(index + 1, line);
    }
    if parser.errors.is_empty() { Ok(parser.ini) } else { Err(parser.errors) }
}

/// The error for bytes that are no text, naming the line of the first bad one.
pub(super) fn not_utf8(bytes: &[u8], valid: usize, file: &str) -> IniError {
    let good = bytes.get(..valid).map(String::from_utf8_lossy).unwrap_or_default();
    let line = lines(&good).count().max(1) + usize::from(good.ends_with(['\n', '\r']));
    let text = if good.ends_with(['\n', '\r']) { "" } else { lines(&good).last().unwrap_or("") };
    IniError::NotUtf8 { place: Place { file: Arc::from(file), line }, text: excerpt(text) }
}

/// Lines as Python reads text files: `\n`, `\r\n` and a lone `\r` all end one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest.filter(|left| !left.is_empty())?;
        match current.split_once(['\n', '\r']) {
            Some((line, after)) => {
                let carriage_return = current.as_bytes().get(line.len()) == Some(&b'\r');
                rest = Some(if carriage_return { after.strip_prefix('\n').unwrap_or(after) } else { after });
                Some(line)
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) {
        if is_comment(line) {
            return;
        }
        let indented = line.starts_with(is_blank);
        if indented && self.continued(strip(line)) {
            return;
        }
        if let Some(name) = title(line) {
            self.enter(name, number);
            return;
        }
        if matches!(self.target, Target::Nowhere) {
            // Once is enough: the rest up to the first title suffers from the same cause.
            if self.errors.is_empty() {
                self.errors.push(IniError::NoSection { place: self.place(number), text: excerpt(line) });
            }
            return;
        }
        match key_value(line) {
            Some((key, value)) => self.assign(key, value, number),
            None => self.errors.push(IniError::Junk { place: self.place(number), text: excerpt(line) }),
        }
    }

    fn place(&self, line: usize) -> Place {
        Place { file: self.file.clone(), line }
    }

    fn enter(&mut self, name: &str, line: usize) {
        self.open = Open::Nothing;
        if name == DEFAULT {
            self.target = Target::Defaults;
            return;
        }
        let next = self.ini.sections.len();
        let index = *self.titles.entry(name.to_owned()).or_insert(next);
        if index == next {
            let file = self.file.clone();
            self.ini.sections.push(Section { name: name.to_owned(), file, line, entries: Vec::new() });
        }
        self.target = Target::Section(index);
    }

    fn entries(&mut self) -> Option<&mut Vec<Entry>> {
        match self.target {
            Target::Nowhere => None,
            Target::Defaults => Some(&mut self.ini.defaults),
            Target::Section(index) => self.ini.sections.get_mut(index).map(|section| &mut section.entries),
        }
    }

    /// Takes an indented line for a continuation, if there is something to continue.
    fn continued(&mut self, text: &str) -> bool {
        let index = match self.open {
            Open::Nothing => return false,
            Open::Dropped => return true,
            Open::Entry(index) => index,
        };
        if let Some(entry) = self.entries().and_then(|entries| entries.get_mut(index)) {
            entry.value.push('\n');
            entry.value.push_str(text);
        }
        true
    }

    fn assign(&mut self, key: &str, value: &str, line: usize) {
        if key == "__name__" {
            self.open = Open::Dropped;
            return;
        }
        let (file, target) = (self.file.clone(), self.target);
        let Some(next) = self.entries().map(|entries| entries.len()) else { return };
        let index = *self.keys.entry((target, key.to_owned())).or_insert(next);
        if index == next
            && let Some(entries) = self.entries()
        {
            let (key, value) = (key.to_owned(), clean(value).to_owned());
            entries.push(Entry { key, value, file, line, inherited: false });
        }
        self.open = Open::Entry(index);
    }
}

/// Blank lines too: they neither mean nor end anything.
fn is_comment(line: &str) -> bool {
    if line.starts_with(['#', ';']) || line.chars().all(is_blank) {
        return true;
    }
    line.split(is_blank).next().is_some_and(|word| word.eq_ignore_ascii_case("rem"))
}

/// The name between `[` in column 1 and the *last* `]` of the line; what follows is ignored.
fn title(line: &str) -> Option<&str> {
    let (name, _junk) = line.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// Splits at the first `=` or `:`. Blanks in front stay part of the key, as in circus.
fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(['=', ':'])?;
    Some((key.trim_end_matches(is_blank), value.trim_start_matches(is_blank)))
}

/// Removes the comment and the blanks, and reads `""` as nothing.
fn clean(value: &str) -> &str {
    let value = match value.find(';') {
        // circus looks at the character before; for a `;` that comes first Python takes the last one.
        Some(at) => {
            let before = if at == 0 { value } else { value.get(..at).unwrap_or(value) };
            if before.ends_with(is_blank) { value.get(..at).unwrap_or(value) } else { value }
        }
        None => value,
    };
    match strip(value) {
        r#""""# => "",
        stripped => stripped,
    }
}

/// Enough of a line to recognise it.
fn excerpt(line: &str) -> String {
    const LONGEST: usize = 120;
    let mut text: String = line.chars().take(LONGEST).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
}
