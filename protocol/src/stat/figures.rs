//! The figures of one process, in circus' units and spelling.

use serde_json::{Map, Value};

use super::{StatError, UNAVAILABLE};
use crate::json;

/// A process' scheduling niceness, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nice {
    /// The number.
    Value(i64),
    /// The process is dead and not yet collected.
    Zombie,
    /// Not to be read.
    Unavailable,
}

/// The figures of one process. What could not be read is `None`, or `N/A` where circus has text.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessFigures {
    /// Resident memory as text ([`memory_text`]).
    pub mem_info1: String,
    /// Virtual memory as text.
    pub mem_info2: String,
    /// Percent of one processor since the last look.
    pub cpu: Option<f64>,
    /// Percent of the physical memory.
    pub mem: Option<f64>,
    /// Processor time as `M:SS.ff`.
    pub ctime: String,
    /// The process.
    pub pid: i64,
    /// Its owner.
    pub username: String,
    /// Its niceness.
    pub nice: Nice,
    /// When it began, Unix time.
    pub create_time: Option<f64>,
    /// For how many seconds it has been there.
    pub age: Option<f64>,
    /// The base name of its program.
    pub cmdline: String,
    /// Its direct children, each without children.
    pub children: Vec<ProcessFigures>,
    /// When circusd began to fork it; only in the reply to `stats`, only for a watcher's process.
    pub started: Option<f64>,
    /// Its number in the watcher; as `started`.
    pub wid: Option<u32>,
}

/// How many members an object has at most.
const KEYS: usize = 14;

impl ProcessFigures {
    /// The object on the wire, keys in circus' order.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::with_capacity(KEYS);
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        let optional = |figure: Option<f64>| figure.map_or_else(|| UNAVAILABLE.into(), json::float);
        put("mem_info1", self.mem_info1.as_str().into());
        put("mem_info2", self.mem_info2.as_str().into());
        put("cpu", optional(self.cpu));
        put("mem", optional(self.mem));
        put("ctime", self.ctime.as_str().into());
        put("pid", self.pid.into());
        put("username", self.username.as_str().into());
        put(
            "nice",
            match self.nice {
                Nice::Value(nice) => nice.into(),
                Nice::Zombie => "Zombie".into(),
                Nice::Unavailable => UNAVAILABLE.into(),
            },
        );
        put("create_time", optional(self.create_time));
        put("age", optional(self.age));
        put("cmdline", self.cmdline.as_str().into());
        put("children", self.children.iter().map(|child| Value::Object(child.to_map())).collect());
        if let Some(started) = self.started {
            put("started", json::float(started));
        }
        if let Some(wid) = self.wid {
            put("wid", wid.into());
        }
        map
    }

    /// Appends the object as text, the same as of [`Self::to_map`]: a feed prints thousands in a second.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_members(out);
        out.push(b'}');
    }

    /// As [`Self::write`] without the braces, so that more members can follow.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        let key = |out: &mut Vec<u8>, key: &str| {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b": ");
        };
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            key(out, name);
            json::write_str(out, value);
        };
        let optional = |out: &mut Vec<u8>, name: &str, figure: Option<f64>| {
            key(out, name);
            match figure {
                Some(figure) => json::write_float(out, figure),
                None => json::write_str(out, UNAVAILABLE),
            }
        };
        text(out, r#""mem_info1""#, &self.mem_info1);
        text(out, r#", "mem_info2""#, &self.mem_info2);
        optional(out, r#", "cpu""#, self.cpu);
        optional(out, r#", "mem""#, self.mem);
        text(out, r#", "ctime""#, &self.ctime);
        key(out, r#", "pid""#);
        out.extend_from_slice(self.pid.to_string().as_bytes());
        text(out, r#", "username""#, &self.username);
        match self.nice {
            Nice::Value(nice) => {
                key(out, r#", "nice""#);
                out.extend_from_slice(nice.to_string().as_bytes());
            }
            Nice::Zombie => text(out, r#", "nice""#, "Zombie"),
            Nice::Unavailable => text(out, r#", "nice""#, UNAVAILABLE),
        }
        optional(out, r#", "create_time""#, self.create_time);
        optional(out, r#", "age""#, self.age);
        text(out, r#", "cmdline""#, &self.cmdline);
        key(out, r#", "children""#);
        self.write_children(out);
        if let Some(started) = self.started {
            key(out, r#", "started""#);
            json::write_float(out, started);
        }
        if let Some(wid) = self.wid {
            key(out, r#", "wid""#);
            out.extend_from_slice(wid.to_string().as_bytes());
        }
    }

    fn write_children(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, child) in self.children.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            child.write(out);
        }
        out.push(b']');
    }

    /// Reads the object.
    ///
    /// # Errors
    ///
    /// Without a pid it is nobody's. Anything else that is missing counts as not to be read.
    pub fn from_map(map: &Map<String, Value>) -> Result<Self, StatError> {
        let text = |key: &str| map.get(key).map_or_else(|| UNAVAILABLE.to_owned(), json::python_str);
        let children = match map.get("children") {
            Some(Value::Array(items)) => {
                items.iter().filter_map(Value::as_object).map(Self::from_map).collect::<Result<_, _>>()?
            }
            Some(_) | None => Vec::new(),
        };
        Ok(Self {
            mem_info1: text("mem_info1"),
            mem_info2: text("mem_info2"),
            cpu: figure(map, "cpu"),
            mem: figure(map, "mem"),
            ctime: text("ctime"),
            pid: map.get("pid").and_then(Value::as_i64).ok_or(StatError::Without("pid"))?,
            username: text("username"),
            nice: nice(map.get("nice")),
            create_time: figure(map, "create_time"),
            age: figure(map, "age"),
            cmdline: text("cmdline"),
            children,
            started: figure(map, "started"),
            wid: map.get("wid").and_then(Value::as_u64).and_then(|wid| u32::try_from(wid).ok()),
        })
    }
}

fn nice(value: Option<&Value>) -> Nice {
    match value {
        Some(Value::Number(number)) => number.as_i64().map_or(Nice::Unavailable, Nice::Value),
        Some(Value::String(text)) if text == "Zombie" => Nice::Zombie,
        Some(_) | None => Nice::Unavailable,
    }
}

/// A number, unless it is text (`N/A`) or absent.
pub(super) fn figure(map: &Map<String, Value>, key: &str) -> Option<f64> {
    match map.get(key) {
        Some(Value::Number(number)) => json::as_float(number),
        Some(_) | None => None,
    }
}

/// Bytes as circus prints them: `512B`, `1.47M`. The stock plugins read this text back.
#[must_use]
pub fn memory_text(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P", "E"];
    let fits = |power: &u32| bytes >= 1024_u64.saturating_pow(*power);
    match (1_u32..).zip(units).take_while(|(power, _)| fits(power)).last() {
        None => format!("{bytes}B"),
        Some((power, unit)) => {
            #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
            let value = bytes as f64 / 1024_f64.powi(i32::try_from(power).unwrap_or_default());
            format!("{value:.2}{unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_object() {
        let plain = ProcessFigures {
            mem_info1: "1.45M".to_owned(),
            mem_info2: "2.44M".to_owned(),
            cpu: Some(0.0),
            mem: Some(1e-5),
            ctime: "0:00.0".to_owned(),
            pid: 4711,
            username: "j\u{f6}rg".to_owned(),
            nice: Nice::Value(-5),
            create_time: Some(1_700_000_000.25),
            age: Some(12.345_678_901),
            cmdline: "a \"b\\".to_owned(),
            children: Vec::new(),
            started: None,
            wid: None,
        };
        let strange = ProcessFigures {
            cpu: None,
            age: Some(f64::NAN),
            nice: Nice::Zombie,
            children: vec![plain.clone(), ProcessFigures { nice: Nice::Unavailable, ..plain.clone() }],
            started: Some(3.0),
            wid: Some(2),
            ..plain.clone()
        };
        for figures in [plain, strange] {
            let mut text = Vec::new();
            figures.write(&mut text);
            let expected = json::to_vec(&Value::Object(figures.to_map()));
            assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected));
        }
    }
}
