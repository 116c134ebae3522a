//! Weighted round robin, least_conn and layer-4 session persistence; no I/O, no clock.
//!
//! Everything here is shared by all workers and lock-free but for [`Persistence`], whose locks
//! are sharded. Members are named by their index in the pool; what an index stands for is the
//! caller's matter.

mod cursor;
mod least_conn;
mod persistence;
mod sequence;

pub use cursor::Cursor;
pub use least_conn::{LeastConn, Member};
pub use persistence::Persistence;
pub use sequence::{Occurrences, Sequence};
