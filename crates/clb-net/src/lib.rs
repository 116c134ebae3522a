//! Sockets: listening groups, resets, options, the process's descriptor limit.
//!
//! This is the one crate that may hold `unsafe` code; so far safe wrappers have been enough, and
//! it holds none.

mod io;
mod listen;
mod options;
mod pipe;
mod resources;

pub use io::{peek, recv, send, send_vectored};
pub use listen::{BACKLOG, bind_listeners};
pub use options::{Keepalive, set_keepalive, set_linger_zero, set_nodelay, shutdown_write};
pub use pipe::Pipe;
pub use resources::{Exhausted, exhausted, raise_nofile_limit, reserve_descriptors};
