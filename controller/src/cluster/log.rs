//! Lines of many nodes as one stream in the order of time: stamps, records, merging.
//!
//! ```text
//!  text of a stream ─► lines ─► records (a stack trace stays with its first line) ─► merger ─► order
//!                        stamp − zone − the node's clock offset = corrected time
//! ```
//!
//! Times are Unix seconds by the console's clock and always arguments.

pub mod merge;
pub mod record;
pub mod stamp;
