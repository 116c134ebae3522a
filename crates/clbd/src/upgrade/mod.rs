//! Replacing the running program by a new one (SIGUSR2) without dropping a connection.
//!
//! The old process starts the new one with one end of a channel as its standard input. The new one
//! reads its configuration and says hello; the old one ends what it does to the state, hands its
//! lock over and names its listeners; the new one reads the state, compiles, and says that it is
//! prepared. Until then nothing has changed for clients. Now the old one stops accepting and sends
//! the sockets with all that hangs on them; the new one serves, says so, and the old one drains. A
//! new process that fails on the way is ended, and the old one goes on as if nothing had been. See
//! ADR 32.

mod message;
mod predecessor;
mod program;
mod successor;

pub use predecessor::{Parts, replace};
pub use program::remember;
pub use successor::Inheritance;
