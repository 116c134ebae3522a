//! A compiled rule of an application-based layer-7 listener.

use std::sync::Arc;

use clb_model::{DomainPattern, RuleId, UrlPattern};

use crate::pool::Pool;
use crate::redirect::Redirect;
use crate::rule_live::RuleLive;

/// A rule as the workers serve it. Immutable; a changed rule is a new value that carries over its
/// pool and `live`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// The hosts that it matches.
    pub domain: DomainPattern,
    /// The paths that it matches.
    pub url: UrlPattern,
    /// Where its requests are sent away to; the pool gets none of them then.
    pub redirect: Option<Box<Redirect>>,
    /// Where its requests go.
    pub pool: Arc<Pool>,
    /// Its live state.
    pub live: Arc<RuleLive>,
}
