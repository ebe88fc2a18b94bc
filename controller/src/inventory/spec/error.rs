//! Why a text is no SPEC: what is wrong, what to write instead, and the character it is at.
//!
//! ```text
//! "10.0.0.300" is not an IPv4 address; write four numbers from 0 to 255 without leading zeros, …
//!   | node[1-3],10.0.0.300
//!   |           ^^^^^^^^^^
//! ```

use core::fmt;
use core::ops::Range;

use super::{MAX_DEPTH, MAX_NODES, MAX_TEXT};

/// As many characters of a line as are shown.
const MAX_SHOWN: usize = 96;

/// Why a text is no SPEC, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// What is wrong, with the remedy.
    pub reason: Reason,
    /// The part that is wrong; `None`: the text as a whole.
    pub at: Option<Box<At>>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The file or command the line is from; `None`: the SPEC itself.
    pub origin: Option<Origin>,
    /// The line.
    pub line: String,
    /// Which bytes of it, on boundaries of characters.
    pub span: Range<usize>,
}

/// A line of something other than the SPEC itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The path of a file, or `exec:COMMAND`.
    pub path: String,
    /// Its number, from 1.
    pub line: usize,
}

/// What is wrong; each text ends with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing in it, or everything taken away again.
    #[error(
        "the cluster SPEC {spec:?} names no node; write for example 192.168.0.1-192.168.0.32 or node[01-16].lab"
    )]
    Empty {
        /// What was given.
        spec: String,
    },
    /// Too large to be meant.
    #[error("{what} is longer than {MAX_TEXT} bytes; name the nodes by ranges such as node[01-99]")]
    TooLong {
        /// The SPEC, a file or a command's output.
        what: String,
    },
    /// More than [`MAX_NODES`].
    #[error("{part:?} brings the cluster over {MAX_NODES} nodes; name fewer")]
    TooManyNodes {
        /// The term that went over.
        part: String,
    },
    /// The same, before the term is known; reported with it.
    #[error("too many nodes")]
    TooMany,
    /// An exclusion without effect is more likely a typing error than a wish.
    #[error("{part:?} takes away nothing: none of these nodes is named in the rest of the SPEC")]
    ExcludesNothing {
        /// The term.
        part: String,
    },
    /// A bracket or quote that is not closed.
    #[error("the {0} is not closed; write for example node[01-16] or exec:\"list-nodes --up\"")]
    Open(&'static str),
    /// An operator with nothing behind it.
    #[error("nothing follows {0:?}; name the nodes it is about")]
    Nothing(char),
    /// `@` alone.
    #[error("no file or group after @; write @/path/to/nodes, @nodes or @group")]
    NoFile,
    /// An `@FILE` cannot be read.
    #[error("cannot read the node list {path:?}: {why}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// Neither a group nor a file.
    #[error("{name:?} is neither a group ({groups}) nor a node list that can be read ({why})")]
    NoGroup {
        /// What was named.
        name: String,
        /// The groups there are.
        groups: String,
        /// Why there is no such file.
        why: String,
    },
    /// The groups file cannot be used.
    #[error("the groups cannot be read: {0}")]
    Groups(String),
    /// A line of the groups file that defines nothing.
    #[error("no group is defined here; write NAME: SPEC, and begin a line that goes on with a blank")]
    NotAGroup,
    /// Two groups of one name.
    #[error("the group {name:?} is defined already, in line {line}; name it once")]
    Twice {
        /// Its name.
        name: String,
        /// Where it is defined first.
        line: usize,
    },
    /// A group that needs itself.
    #[error("the group {name:?} uses itself: {chain}; take it out of one of them")]
    Cycle {
        /// Its name.
        name: String,
        /// `db (groups:3) uses web (groups:4) uses db`.
        chain: String,
    },
    /// Groups in groups in groups.
    #[error("groups use groups deeper than {MAX_DEPTH} times; name the nodes more directly")]
    TooDeep,
    /// A node list or output without a node.
    #[error("{0} names no node; it must have one address a line")]
    EmptyList(String),
    /// `@` or `exec:` inside of a file or an output.
    #[error("a node list names nodes only, not {0}; write that in the SPEC or in the groups file")]
    Nested(&'static str),
    /// `exec:` in a groups file that others can write.
    #[error(
        "exec: is not run from {0}, because it belongs to somebody else or others can write it; chmod go-w"
    )]
    Untrusted(String),
    /// `exec:` alone.
    #[error("no command after exec:; write exec:COMMAND, or exec:\"COMMAND\" where something follows")]
    NoCommand,
    /// A command or name server had nothing for us.
    #[error("{what}: {reason}")]
    Source {
        /// `exec:…`, `dns:…`, `srv:…`.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// A scheme that is not ours.
    #[error(
        "only tcp:// and ipc:// endpoints can be nodes of a cluster; write tcp://host:port or ipc:///path"
    )]
    Scheme,
    /// A path that no ipc endpoint has.
    #[error("an ipc endpoint has an absolute path of at most 107 bytes; write ipc:///run/circus.sock")]
    IpcPath,
    /// `tcp://host` without port.
    #[error("no port; write tcp://host:port")]
    NoPort,
    /// Not a port.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// Not an IPv6 address.
    #[error("{0:?} is not an IPv6 address; write ::1, or [::1]:5555 with a port")]
    Ipv6(String),
    /// `1.2.3.4-1.2.3.1`.
    #[error("the range ends before it begins; swap its ends")]
    Backwards,
    /// The end of a dash range.
    #[error("{0:?} does not end an IPv4 range; write 192.168.0.1-192.168.0.32 or 192.168.0.1-32")]
    RangeEnd(String),
    /// The length of a network.
    #[error("{0:?} is not a network length from 0 to 32; write for example 192.168.0.0/27")]
    Bits(String),
    /// Host bits set.
    #[error("{network} is the network of that length; write {network}")]
    HostBits {
        /// The corrected network.
        network: String,
    },
    /// What stands in brackets.
    #[error("{0:?} in brackets is not a number or a range; write for example [01-16,20]")]
    Bracket(String),
    /// A step that is none.
    #[error("{0:?} is not a step; write for example [0-30/2]")]
    Step(String),
    /// A step without a range.
    #[error("a step needs a range in front of it; write for example [0-30/2]")]
    StepOfOne,
    /// `a]` or `[[`.
    #[error("brackets do not match; write for example node[01-16]")]
    Unbalanced,
    /// A host name that none can be.
    #[error("{host:?} {reason}")]
    Host {
        /// The host.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl At {
    /// `part` must be a piece of `line`; anything else points at all of the line.
    pub(crate) fn of(line: &str, part: &str, origin: Option<Origin>) -> Self {
        let start = (part.as_ptr() as usize).checked_sub(line.as_ptr() as usize);
        let span = start.map(|start| start..start + part.len());
        let span = span.filter(|span| line.get(span.clone()).is_some()).unwrap_or(0..line.len());
        Self { origin, line: line.to_owned(), span }
    }

    /// The first character that is wrong, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.line.get(..self.span.start).unwrap_or_default().chars().count() + 1
    }

    /// How many characters are wrong.
    #[must_use]
    pub fn length(&self) -> usize {
        self.line.get(self.span.clone()).unwrap_or_default().chars().count()
    }

    /// The line, or as much of it around the wrong part as fits, and the carets below.
    fn excerpt(&self) -> String {
        let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
        let letters: Vec<char> = self.line.chars().map(plain).collect();
        let (start, length) = (self.column() - 1, self.length().max(1));
        // Whatever is wrong is shown; the rest of the room goes to what stands before it.
        let from = if letters.len() <= MAX_SHOWN {
            0
        } else {
            (start + length.min(MAX_SHOWN / 2)).saturating_sub(MAX_SHOWN * 3 / 4).min(start)
        };
        let shown: String = letters.iter().skip(from).take(MAX_SHOWN).collect();
        let before = if from > 0 { "…" } else { "" };
        let after = if letters.len() > from + MAX_SHOWN { "…" } else { "" };
        let indent = " ".repeat(before.chars().count() + start - from);
        let carets = "^".repeat(length.min((from + MAX_SHOWN).saturating_sub(start)).max(1));
        format!("  | {before}{}{after}\n  | {indent}{carets}", shown.trim_end())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.path, self.line)
    }
}

impl SpecError {
    /// About a part.
    pub(crate) fn new(reason: Reason, at: At) -> Self {
        Self { reason, at: Some(Box::new(at)) }
    }

    /// About the text as a whole.
    pub(super) fn whole(reason: Reason) -> Self {
        Self { reason, at: None }
    }

    /// The same, when what was read is only the `part` of a longer text.
    #[must_use]
    pub(crate) fn within(mut self, text: &str, part: &str) -> Self {
        let outer = At::of(text, part, None);
        self.at = match self.at {
            Some(at) if at.origin.is_none() => {
                let start = outer.span.start;
                let span = start + at.span.start..start + at.span.end;
                Some(Box::new(if text.get(span.clone()).is_some() { At { span, ..outer } } else { outer }))
            }
            Some(at) => Some(at),
            None => Some(Box::new(outer)),
        };
        self
    }

    /// On one line: `FILE:LINE: what is wrong; the remedy`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.at.as_ref().and_then(|at| at.origin.as_ref()) {
            Some(origin) => format!("{origin}: {}", self.reason),
            None => self.reason.to_string(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.summary())?;
        match &self.at {
            Some(at) => write!(out, "\n{}", at.excerpt()),
            None => Ok(()),
        }
    }
}

impl core::error::Error for SpecError {}
