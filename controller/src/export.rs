//! `export`: the figures of all nodes for Prometheus.
//!
//! ```text
//!  GET /metrics ─► waits for a reading (one for all who ask at the same time) ─► exposition (text)
//!  GET /sd      ─► the last reading ─► targets for http_sd_config
//!                    ▲
//!                    └── gatherer: the fleet, asked only when somebody wants to know
//! ```
//!
//! Nothing is stored: history, alerts and plots are Prometheus' and Grafana's business.

pub mod exposition;
pub mod metrics;

mod gather;
mod server;

pub use server::{ExportArgs, export};
