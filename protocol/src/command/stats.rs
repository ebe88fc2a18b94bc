//! `stats`: whose figures.
//!
//! `tally` is an extension, which stock overlooks: the reply then also counts what became of each
//! watcher's processes. A client sees by the key in the reply whether the daemon knows it.

use super::StatsQuery;
use super::arguments::Arguments;
use crate::number::int;
use crate::reply::Refusal;

/// The arguments of `stats`; `process` and `extended` count only with a name.
pub(super) fn stats(arguments: &Arguments<'_>) -> Result<StatsQuery, Refusal> {
    let tally = arguments.says_true("tally");
    let Some(name) = arguments.find_name()? else {
        return Ok(StatsQuery { name: None, process: None, extended: false, tally });
    };
    let process = match arguments.find("process")? {
        Some(value) => Some((value.clone(), int(value)?)),
        None => None,
    };
    let extended = arguments.flag("extended", false)?;
    Ok(StatsQuery { name: Some(name), process, extended, tally })
}
