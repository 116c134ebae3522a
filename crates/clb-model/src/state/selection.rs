//! Which rules of a listener `locationIds`, `domain` and `url` select (actions.md D).

use std::ops::Bound;
use std::sync::Arc;

use super::{RulePlace, State};
use crate::command::RuleSelection;
use crate::error::ModelError;
use crate::id::ListenerId;
use crate::object::Rule;
use crate::pattern::{DomainPattern, UrlPattern};

impl State {
    /// The rules of a listener with this domain, in order of creation. Plain and wildcard domains
    /// are the same in any case.
    #[must_use]
    pub fn rules_with_domain(&self, listener: ListenerId, domain: &str) -> Vec<&Arc<Rule>> {
        let Ok(domain) = DomainPattern::parse(domain) else {
            return Vec::new();
        };
        let first = RulePlace {
            listener,
            domain: domain.key(),
            url: String::new(),
        };
        let mut rules: Vec<&Arc<Rule>> = self
            .rule_places
            .range((Bound::Included(&first), Bound::Unbounded))
            .take_while(|(place, _)| place.listener == listener && place.domain == first.domain)
            .filter_map(|(_, id)| self.rule(*id))
            .collect();
        rules.sort_unstable_by_key(|rule| rule.order);
        rules
    }

    /// The rules of a listener that match all of the selection, in order of creation; without any
    /// condition all of them.
    ///
    /// # Errors
    /// [`ModelError::RuleNotFound`] for an id that is not the listener's, and
    /// [`ModelError::NoRuleSelected`] when conditions were given and nothing matches them.
    pub fn select_rules(
        &self,
        listener: ListenerId,
        selection: &RuleSelection,
    ) -> Result<Vec<&Arc<Rule>>, ModelError> {
        let mut rules: Vec<&Arc<Rule>> = match (&*selection.rules, &selection.domain) {
            ([], None) => self.rules_of(listener).collect(),
            ([], Some(domain)) => self.rules_with_domain(listener, domain),
            (ids, _) => ids
                .iter()
                .map(|id| {
                    self.rule(*id)
                        .filter(|rule| rule.listener == listener)
                        .ok_or_else(|| ModelError::RuleNotFound {
                            rule: id.to_string(),
                            listener,
                        })
                })
                .collect::<Result<_, _>>()?,
        };
        if let Some(domain) = &selection.domain {
            let domain = DomainPattern::parse(domain).map(|domain| domain.key());
            rules.retain(|rule| domain.as_ref() == Ok(&rule.domain.key()));
        }
        if let Some(url) = &selection.url {
            let url = UrlPattern::parse(url).map(|url| url.key());
            rules.retain(|rule| url.as_ref() == Ok(&rule.url.key()));
        }
        rules.sort_unstable_by_key(|rule| rule.order);
        rules.dedup_by_key(|rule| rule.id);
        if rules.is_empty() && !selection.is_all() {
            return Err(ModelError::NoRuleSelected {
                listener,
                selection: selection.clone(),
            });
        }
        Ok(rules)
    }
}
