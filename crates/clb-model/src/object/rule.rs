//! Rules of application-based layer-7 listeners.

use serde::{Deserialize, Serialize};

use super::PoolSettings;
use crate::id::{LbId, ListenerId, RuleId};
use crate::pattern::{DomainPattern, UrlPattern};

/// A rule: requests for its domain and url go to the backends that are bound to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `loc-xxxxxxxx`.
    pub id: RuleId,
    /// The instance of its listener.
    pub load_balancer: LbId,
    /// Its listener.
    pub listener: ListenerId,
    /// Rises with creation; lists and regular expressions are in this order.
    pub order: u64,
    /// Domain, as given.
    pub domain: DomainPattern,
    /// Path, as given; domain and url are unique within the listener.
    pub url: UrlPattern,
    /// How a backend is chosen and checked.
    #[serde(flatten)]
    pub settings: PoolSettings,
    /// The rule of the same instance that its requests are redirected to. Meanwhile its backends
    /// stay bound and get no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<RuleId>,
    /// AutoRewrite made it (`bAutoCreated`): it goes with its redirect, unless it has backends by
    /// then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_created: bool,
}
