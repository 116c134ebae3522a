//! The command-line client of the Action API: every Action as a subcommand, made of the same table
//! as the gateway's own checks.

pub mod arguments;
pub mod audit;
mod backup;
pub mod cli;
pub mod client;
pub mod declared;
pub mod explain;
pub mod names;
pub mod pin;
pub mod settings;
pub mod table;
pub mod tree;
