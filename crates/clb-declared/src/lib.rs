//! Brings load balancers to what a file declares, by the API's Actions (semantics.md 8); no I/O of
//! its own.
//!
//! [`read`] makes [`LoadBalancer`]s of `[[load_balancers]]`, [`observe`] makes them of the answers
//! of a gateway, [`plan`](plan::plan) tells what one lacks to be the other, [`reconcile()`] calls what
//! that takes, and [`mod@write`] writes what runs as a file. clbd and clbctl use it alike: the one calls
//! itself, the other over the network.

pub mod fields;
pub mod observe;
mod order;
pub mod plan;
pub mod read;
pub mod reconcile;
pub mod shape;
pub mod write;

#[cfg(test)]
mod tests;

pub use observe::{Others, Target};
pub use plan::{Call, Step};
pub use reconcile::{Calls, Outcome, Refusal, differences, reconcile};
pub use shape::{Backend, Listener, LoadBalancer, Place, Redirect, Rule, Settings};
