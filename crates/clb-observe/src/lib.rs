//! Metrics and the admin address: what operators look at. Reads live counters at each scrape and
//! costs the data plane nothing.

mod admin;
mod metrics;

pub use admin::{Admin, AdminError};
pub use metrics::{ControlFigures, Metrics, MetricsSettings};
