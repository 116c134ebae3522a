//! Monitoring series, for GetMonitorData and the console.
//!
//! A thread looks at the board's counters every few seconds and, at the end of each minute, stores
//! how far each object's have come since: one row a minute and load balancer, with what is not 0.
//! Rows of five minutes are made from those of one. See ADR 29.

mod metric;
mod monitor;
mod point;
mod sampler;
mod store;

pub use metric::Metric;
pub use monitor::{Monitor, MonitorError, Series};
pub use point::Point;
pub use store::{Level, Period, Selection};
