//! A compiled rule of an application-based layer-7 listener.

use std::sync::Arc;

use clb_model::{DomainPattern, RuleId, UrlPattern};

use crate::pool::Pool;
use crate::redirect::Redirect;
use crate::rule_name::RuleName;

/// A rule as the workers serve it. Immutable; a changed rule is a new value that carries over its
/// pool, which has its counts.
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
    /// Where its requests go, and where they are counted.
    pub pool: Arc<Pool>,
    /// What the access log calls its domain by.
    pub name: RuleName,
}

/// What a router has for a rule. A request that goes to the pool touches nothing else of the rule:
/// with thousands of them, none of it would be in a cache (ADR 19).
#[derive(Debug, Clone)]
pub enum Routed {
    /// Its requests go to its pool; the number is its [name's](Rule::name).
    To(Arc<Pool>, u32, Arc<Rule>),
    /// They are sent away to another address.
    Away(Arc<Rule>),
}

impl Routed {
    /// The rule itself.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        match self {
            Self::To(_, _, rule) | Self::Away(rule) => rule,
        }
    }
}

impl From<Arc<Rule>> for Routed {
    fn from(rule: Arc<Rule>) -> Self {
        match rule.redirect {
            Some(_) => Self::Away(rule),
            None => Self::To(Arc::clone(&rule.pool), rule.name.number(), rule),
        }
    }
}
