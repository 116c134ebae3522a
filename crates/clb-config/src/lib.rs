//! Reads and checks clb.toml.
