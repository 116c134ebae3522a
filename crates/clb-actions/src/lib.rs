//! The Action API's language: parameters, signature, errors, envelope; no I/O.
//!
//! A request goes through [`Gatekeeper::admit`], which checks everything that can be said of it
//! alone, in the order that actions.md A.11 gives (steps 1 to 5), and hands out the Action with
//! its typed parameters. What needs the state (step 6) is the caller's. Answers are written with
//! [`envelope::success`] and [`envelope::failure`].
//!
//! The crate is pure: time is an argument, and the only state is the replay memory and the token
//! buckets inside the [`Gatekeeper`].

pub mod caller;
mod check;
mod common;
mod cross;
pub mod echo;
pub mod envelope;
pub mod error;
pub mod form;
pub mod key;
pub mod multipart;
pub mod params;
mod rate;
pub mod recorded_rules;
pub mod region;
mod replay;
pub mod request;
pub mod signature;
mod suggest;
pub mod table;
#[cfg(test)]
mod tests;

pub use caller::Caller;
pub use error::ApiError;
pub use key::{Access, Key};
pub use params::{Element, Params, Value};
pub use request::{Admitted, Gatekeeper, Limits, Method, Received, Triple};
pub use table::{ACTIONS, ActionSpec, Family, Kind, ParamKind, ParamSpec};
