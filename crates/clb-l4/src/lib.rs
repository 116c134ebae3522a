//! The TCP and UDP proxies, and the loop of a worker.
//!
//! A worker is a thread with a current-thread runtime. Its [loop](worker) follows the snapshots of
//! the [`Board`](clb_snapshot::Board) and starts and stops what serves each listener on its own
//! sockets; [`tcp`] serves TCP listeners: accept, choose, connect, relay;
//! [`udp`] serves UDP listeners: sessions by client.

mod accept;
mod connect;
pub mod io;
mod leg;
mod proxy_header;
mod relay;
mod splice;
pub mod tcp;
pub mod udp;
pub mod worker;

pub use accept::{Accepted, accept, count_exhausted};
pub use connect::{Source, connect};
pub use relay::{Ahead, Broken, Session, relay};
pub use splice::PIPE_DESCRIPTORS;
pub use worker::{run_worker, spawn_worker};
