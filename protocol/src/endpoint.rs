//! Placeholder.
/// a
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint;
