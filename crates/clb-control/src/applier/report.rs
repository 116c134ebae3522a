//! What is known of a member's health, for people.

use clb_model::{BindingId, UnixMillis};

/// What is known of one member's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// The member.
    pub binding: BindingId,
    /// Since when it has its state.
    pub since: UnixMillis,
    /// What the latest probe found, and when; none: there was none yet.
    pub last: Option<(UnixMillis, String)>,
    /// All successes and failures since it was added.
    pub results: (u64, u64),
    /// The latest changes of its state, the latest first: when, from what to what, why.
    pub changes: Vec<(UnixMillis, &'static str, &'static str, String)>,
}
