//! What clb.toml declared.

use serde::{Deserialize, Serialize};

use crate::id::LbId;

/// A load balancer that clb.toml declares, as it was applied last (semantics.md 8). It stays when
/// the load balancer is deleted through the API: the file speaks again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name in the file.
    pub name: String,
    /// The load balancer.
    pub load_balancer: LbId,
    /// Of what was declared; empty when that was not reached, and is to be tried again.
    pub fingerprint: String,
}
