//! `stats`: whose figures.

use super::StatsQuery;
use super::arguments::Arguments;
use crate::number::int;
use crate::reply::Refusal;

/// The arguments of `stats`; `process` and `extended` count only with a name.
pub(super) fn stats(arguments: &Arguments<'_>) -> Result<StatsQuery, Refusal> {
    let Some(name) = arguments.find_name()? else {
        return Ok(StatsQuery { name: None, process: None, extended: false });
    };
    let process = match arguments.find("process")? {
        Some(value) => Some((value.clone(), int(value)?)),
        None => None,
    };
    Ok(StatsQuery { name: Some(name), process, extended: arguments.flag("extended", false)? })
}
