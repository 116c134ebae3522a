//! Sockets for datagrams: groups that share an address, batches of datagrams in one call, and what
//! the network says of those that did not arrive.

mod address;
mod batch;
mod fixed;
pub(crate) mod options;
mod send;
mod sockets;
mod train;
mod undelivered;

pub use batch::{BATCH, Batch, DATAGRAM_BYTES, Outgoing};
pub use sockets::{bind_group, dropped, join_group, open};
pub use undelivered::{Undelivered, take_undelivered};
