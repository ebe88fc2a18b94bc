//! Stats: the figures of processes, watchers and sockets as they are on the wire, both in the reply to
//! `stats` and on the stats endpoint. Plain data; where the figures come from is not known here.

pub mod figures;

use serde_json::{Map, Value};

use crate::json;
pub use figures::{Nice, ProcessFigures, memory_text};

/// What every topic on the stats endpoint begins with.
pub const PREFIX: &str = "stat.";

/// What stands for a figure that could not be read.
pub const UNAVAILABLE: &str = "N/A";

/// What `stats` shows in the place of a process that died and was not yet noticed.
pub const GONE: &str = "No such process (stopped?)";

/// What the figures of one process usually take as text, with some to spare.
const PROCESS_LENGTH: usize = 384;

/// The collector that reports circusd and its helpers, in the place of a watcher's name.
pub const CIRCUS: &str = "circus";

/// The collector that reports sockets, in the place of a watcher's name.
pub const SOCKETS: &str = "sockets";

/// One message on the stats endpoint: two frames, topic and JSON object.
#[derive(Debug, Clone, PartialEq)]
pub enum Stat {
    /// `stat.<watcher>.<pid>`.
    Process {
        /// The watcher, or [`CIRCUS`].
        watcher: String,
        /// `circusd`, `circusd-stats` or `circushttpd` under [`CIRCUS`]; absent for others.
        name: Option<String>,
        /// The figures.
        figures: Box<ProcessFigures>,
    },
    /// `stat.<watcher>`.
    Watcher {
        /// The watcher, or [`CIRCUS`].
        watcher: String,
        /// Its processes.
        pids: Vec<i64>,
        /// Mean of the processes' `cpu`.
        cpu: f64,
        /// Sum of the processes' `mem`.
        mem: f64,
        /// The oldest; `None` without processes.
        age: Option<f64>,
    },
    /// `stat.sockets.<fd>`.
    Socket {
        /// The descriptor in circusd.
        fd: i64,
        /// How often it was found readable in the last second.
        reads: u64,
        /// `host:port`, or the path.
        address: String,
    },
    /// `stat.sockets`.
    Sockets {
        /// Of all sockets.
        addresses: Vec<String>,
        /// Of all sockets together.
        reads: u64,
    },
}

/// Why two frames are no stat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatError {
    /// The topic does not begin with `stat.`.
    #[error("'{0}' is no stat topic")]
    Topic(String),
    /// The payload is not JSON.
    #[error("stat is not json: {0}")]
    Json(#[from] json::JsonError),
    /// The payload misses something, or has it in another type.
    #[error("stat without {0}")]
    Without(&'static str),
}

impl Stat {
    /// The first frame.
    #[must_use]
    pub fn topic(&self) -> String {
        match self {
            Self::Process { watcher, figures, .. } => format!("{PREFIX}{watcher}.{}", figures.pid),
            Self::Watcher { watcher, .. } => format!("{PREFIX}{watcher}"),
            Self::Socket { fd, .. } => format!("{PREFIX}{SOCKETS}.{fd}"),
            Self::Sockets { .. } => format!("{PREFIX}{SOCKETS}"),
        }
    }

    /// The second frame.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut map = Map::new();
        match self {
            Self::Process { name, figures, .. } => return process_payload(name.as_deref(), figures),
            Self::Watcher { pids, cpu, mem, age, .. } => {
                map.insert("pid".to_owned(), pids.as_slice().into());
                map.insert("cpu".to_owned(), json::float(*cpu));
                // A sum over nothing is an integer in Python.
                map.insert("mem".to_owned(), if pids.is_empty() { 0.into() } else { json::float(*mem) });
                map.insert("age".to_owned(), age.map_or_else(|| UNAVAILABLE.into(), json::float));
            }
            Self::Socket { fd, reads, address } => {
                map.insert("fd".to_owned(), (*fd).into());
                map.insert("subtopic".to_owned(), (*fd).into());
                map.insert("reads".to_owned(), (*reads).into());
                map.insert("address".to_owned(), address.as_str().into());
            }
            Self::Sockets { addresses, reads } => {
                map.insert("addresses".to_owned(), addresses.as_slice().into());
                map.insert("reads".to_owned(), (*reads).into());
            }
        }
        json::to_vec(&Value::Object(map))
    }

    /// Reads the two frames of a stat, from any circus. Watcher names may hold dots; the payload says
    /// whether the last part of the topic is a pid.
    ///
    /// # Errors
    ///
    /// Frames that are no stat.
    pub fn decode(topic: &[u8], payload: &[u8]) -> Result<Self, StatError> {
        let lossy = || StatError::Topic(String::from_utf8_lossy(topic).into());
        let rest =
            std::str::from_utf8(topic).ok().and_then(|topic| topic.strip_prefix(PREFIX)).ok_or_else(lossy)?;
        let Value::Object(map) = json::parse(payload)? else { return Err(StatError::Without("an object")) };
        let reads = || map.get("reads").and_then(Value::as_u64).ok_or(StatError::Without("reads"));
        if let Some(addresses) = map.get("addresses").and_then(Value::as_array) {
            let addresses = addresses.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            return Ok(Self::Sockets { addresses, reads: reads()? });
        }
        if let Some(fd) = map.get("fd").and_then(Value::as_i64) {
            let address =
                map.get("address").and_then(Value::as_str).ok_or(StatError::Without("an address"))?;
            return Ok(Self::Socket { fd, reads: reads()?, address: address.to_owned() });
        }
        if map.contains_key("subtopic") {
            let watcher = rest.rsplit_once('.').ok_or_else(lossy)?.0.to_owned();
            let name = map.get("name").and_then(Value::as_str).map(str::to_owned);
            return Ok(Self::Process { watcher, name, figures: Box::new(ProcessFigures::from_map(&map)?) });
        }
        let pids = map.get("pid").and_then(Value::as_array).ok_or(StatError::Without("pid"))?;
        Ok(Self::Watcher {
            watcher: rest.to_owned(),
            pids: pids.iter().filter_map(Value::as_i64).collect(),
            cpu: figures::figure(&map, "cpu").ok_or(StatError::Without("cpu"))?,
            mem: figures::figure(&map, "mem").ok_or(StatError::Without("mem"))?,
            age: figures::figure(&map, "age"),
        })
    }
}

/// Without an object in between, because there is one for each process each second.
fn process_payload(name: Option<&str>, figures: &ProcessFigures) -> Vec<u8> {
    let mut out = Vec::with_capacity(PROCESS_LENGTH);
    out.push(b'{');
    figures.write_members(&mut out);
    out.extend_from_slice(b", \"subtopic\": ");
    out.extend_from_slice(figures.pid.to_string().as_bytes());
    out.extend_from_slice(b", \"name\": ");
    match name {
        Some(name) => json::write_str(&mut out, name),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}
