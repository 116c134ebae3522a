//! The HTTP proxy.

pub mod http1;
