//! The domains of rules by a number, for the access log.
//!
//! A request would have to touch its rule to copy the domain, and with thousands of rules that is in
//! no cache (ADR 19). So the router has a number beside each rule's pool, and who reads the log's
//! rows, off the hot path, asks here what it stands for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the domain of a rule's value that is gone can be asked for: requests that were routed by
/// it may not be over yet.
const GRACE: Duration = Duration::from_secs(900);

/// The domains of all rules, by number. A number is never given to another while it can be asked for.
#[derive(Debug, Default)]
pub struct RuleNames {
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    last: u32,
    domains: HashMap<u32, Arc<str>>,
    /// Those that are gone, and since when.
    gone: VecDeque<(Instant, u32)>,
}

/// A rule's number, for as long as there is a rule with it. The default has none.
#[derive(Debug, Clone, Default)]
pub struct RuleName(Option<Arc<Named>>);

#[derive(Debug)]
struct Named {
    number: u32,
    names: Arc<RuleNames>,
}

impl RuleNames {
    /// A number for a rule of this domain.
    #[must_use]
    pub fn add(self: &Arc<Self>, domain: &str) -> RuleName {
        let number = {
            let mut names = self.lock();
            loop {
                // 0 is nobody's.
                names.last = names.last.checked_add(1).unwrap_or(1);
                if !names.domains.contains_key(&names.last) {
                    break;
                }
            }
            let number = names.last;
            names.domains.insert(number, domain.into());
            number
        };
        RuleName(Some(Arc::new(Named {
            number,
            names: Arc::clone(self),
        })))
    }

    /// The domain of a rule that has this number, or had it not long ago.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<Arc<str>> {
        self.lock().domains.get(&number).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, number: u32, now: Instant) {
        let mut names = self.lock();
        names.gone.push_back((now, number));
        while let Some((since, number)) = names.gone.front().copied()
            && now.saturating_duration_since(since) > GRACE
        {
            names.gone.pop_front();
            names.domains.remove(&number);
        }
    }
}

impl RuleName {
    /// The number; 0 without one.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.as_ref().map_or(0, |named| named.number)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.names.leave(self.number, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_asked_for_some_time_after_its_rule_is_gone() {
        let names = Arc::new(RuleNames::default());
        let (first, second) = (names.add("a.com"), names.add("b.com"));
        let number = first.number();
        assert_ne!(number, second.number());
        assert_eq!(RuleName::default().number(), 0);
        drop((first.clone(), first));
        assert_eq!(names.find(number).as_deref(), Some("a.com"));
        let later = Instant::now() + GRACE + Duration::from_secs(1);
        names.leave(second.number(), later);
        assert_eq!(names.find(number), None);
        assert_eq!(names.find(second.number()).as_deref(), Some("b.com"));
    }
}
