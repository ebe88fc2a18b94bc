//! Drives the pure [`crate::cluster`] with the [`crate::link`]s: what every face holds.
