//! Reads and checks clb.toml (interfaces.md, "clb.toml").
//!
//! One table of keys ([`keys`]) says what there is; parsing, checking, suggestions and
//! docs/configuration.md are made from it. All problems are found in one run and each has its
//! place in the file.

mod config;
mod document;
mod files;
pub mod keys;
mod man;
mod problems;
mod reference;
mod shape;
mod value;

#[cfg(test)]
mod tests;

pub use config::{load, parse};
pub use files::certificate_warnings;
pub use man::man_page;
pub use problems::Problems;
pub use reference::reference;
pub use shape::{
    Access, AccessLog, AccessLogFormat, Admin, Api, ApiKey, ApiTls, Backends, Certificate, Config,
    Health, Http, HttpMethod, Instance, Limits, Log, LogFormat, LogLevel, Metrics, Prices, Secret,
    Store, StoreKey, Timeouts, Tracing, Vips, Workers,
};
