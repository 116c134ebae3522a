//! Sockets: listening groups, resets, options, datagrams in batches, the process's descriptor
//! limit, and the channel over which sockets go to another process.
//!
//! This is the one crate that may hold `unsafe` code, each block with the reason why it is sound.
//! All of it is in [`udp`] and [`prefetch`]: calls that no safe wrapper has.

mod channel;
mod io;
mod listen;
mod options;
mod pipe;
mod prefetch;
mod resources;
pub mod udp;

pub use channel::{Channel, MESSAGE_BYTES, MESSAGE_FILES};
pub use io::{peek, recv, send, send_vectored};
pub use listen::{BACKLOG, bind_listeners, join_listeners};
pub use options::{
    Keepalive, choose_port_late, may_be_transparent, round_trip_time, set_keepalive,
    set_linger_zero, set_nodelay, set_transparent, set_user_timeout, shutdown_write,
};
pub use pipe::Pipe;
pub use prefetch::prefetch;
pub use resources::{
    Exhausted, MemoryGauge, exhausted, forbid_core_files, may_be_chosen, memory_there_is,
    raise_nofile_limit, reserve_descriptors,
};
