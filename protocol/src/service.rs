//! Placeholder.
/// a
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Services;
/// a
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigureJob;
/// a
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResetJob;
/// a
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigureOutcome;
/// a
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResetOutcome;
