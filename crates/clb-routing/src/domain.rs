//! A domain with its urls.

use std::sync::Arc;

use clb_model::{DomainKind, DomainPattern, UrlModifier, UrlPattern};
use regex_automata::PatternSet;
use smallvec::SmallVec;

use crate::error::{PatternError, RouteError};
use crate::list::{Entry, List};
use crate::matcher::Matcher;
use crate::table::Named;
use crate::tree::Met;
use crate::urls::Urls;

/// Octets.
const CACHE_LINE: usize = 64;

/// One rule.
pub(crate) struct Location<T> {
    pub(crate) order: u64,
    pub(crate) url: UrlPattern,
    pub(crate) value: T,
    /// `^~`: no regular expression is asked when this is the longest prefix.
    is_last: bool,
}

impl<T> Location<T> {
    pub(crate) fn new(url: UrlPattern, order: u64, value: T) -> Self {
        Self {
            is_last: url.modifier() == UrlModifier::PrefixNoRegex,
            url,
            order,
            value,
        }
    }

    /// Which comes first: the older one; the text decides between equals.
    pub(crate) fn place(&self) -> (u64, &str) {
        (self.order, self.url.as_str())
    }
}

/// What a request looks at comes first and lies side by side (ADR 19).
#[repr(C)]
pub(crate) struct Domain<T> {
    name: SmallVec<[u8; 32]>,
    urls: Urls<T>,
    pub(crate) regexes: List<Arc<Location<T>>>,
    /// As the first rule of it spelled it.
    pub(crate) pattern: DomainPattern,
}

impl<T> Named for Arc<Domain<T>> {
    fn name(&self) -> &[u8] {
        &self.name
    }

    fn visit_lines(&self, mut visit: impl FnMut(*const u8)) {
        let domain = Arc::as_ptr(self).cast::<u8>();
        // The first one is looked at at once.
        for offset in (CACHE_LINE..size_of::<Domain<T>>()).step_by(CACHE_LINE) {
            visit(domain.wrapping_add(offset));
        }
    }
}

/// What a domain is looked up by: lower case, without wildcard.
pub(crate) fn lookup_name(pattern: &DomainPattern) -> String {
    let key = pattern.key();
    match pattern.kind() {
        DomainKind::Exact | DomainKind::Regex => key,
        DomainKind::Suffix => key.trim_start_matches('.').to_owned(),
        DomainKind::WildcardStart => key.trim_start_matches("*.").to_owned(),
        DomainKind::WildcardEnd => key.trim_end_matches(".*").to_owned(),
    }
}

impl<T: Clone> Domain<T> {
    pub(crate) fn new(pattern: DomainPattern) -> Self {
        Self {
            name: lookup_name(&pattern).into_bytes().into(),
            pattern,
            urls: Urls::default(),
            regexes: List::default(),
        }
    }

    /// The order of its oldest rule.
    pub(crate) fn order(&self) -> Option<u64> {
        let orders = [self.urls.min_order(), self.regexes.min_order()];
        orders.into_iter().flatten().min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Location<T>>> {
        (self.urls.iter()).chain(self.regexes.iter().map(|entry| &entry.value))
    }

    /// All that fit the path and are no regular expressions, the shortest first.
    pub(crate) fn plain(&self, path: &[u8]) -> Vec<&Arc<Location<T>>> {
        self.urls.all(path)
    }

    /// The rule for a normalised path.
    ///
    /// # Errors
    /// [`RouteError::NoLocation`], [`RouteError::MatchLimit`].
    pub(crate) fn find(
        &self,
        path: &[u8],
        found: &mut PatternSet,
    ) -> Result<Met<'_, T>, RouteError> {
        let plain = self.urls.find(path);
        if let Some(exact) = plain.exact {
            return Ok(exact);
        }
        let is_last = |met: &Met<'_, T>| met.location.is_last;
        if !self.regexes.is_empty()
            && !plain.prefix.as_ref().is_some_and(is_last)
            && let Some(entry) = self.regexes.first(path, found)?
        {
            return Ok(Met::from(&entry.value));
        }
        plain.prefix.ok_or(RouteError::NoLocation)
    }

    /// Adds a rule, or replaces the one with this url; says whether there was one.
    pub(crate) fn with(
        &self,
        url: &UrlPattern,
        order: u64,
        value: T,
    ) -> Result<(Self, bool), PatternError> {
        let location = Arc::new(Location::new(url.clone(), order, value));
        let (mut urls, mut regexes) = (self.urls.clone(), self.regexes.clone());
        let there;
        if url.modifier().is_regex() {
            let before = regexes.get(url.as_str()).map(|entry| entry.order);
            there = before.is_some();
            if before == Some(order) {
                regexes = regexes.edited((order, url.as_str()), Some(location));
            } else {
                if let Some(before) = before {
                    regexes = regexes.edited((before, url.as_str()), None);
                }
                if let Some(matcher) = Matcher::url(url) {
                    regexes = regexes.with(Entry {
                        order,
                        matcher: Arc::new(matcher?),
                        value: location,
                    });
                }
            }
        } else {
            (urls, there) = urls.with(location);
        }
        Ok((self.changed(urls, regexes), there))
    }

    /// Takes the rule with this url away; `None` when there is none.
    pub(crate) fn without(&self, url: &UrlPattern) -> Option<Self> {
        if url.modifier().is_regex() {
            let order = self.regexes.get(url.as_str())?.order;
            let regexes = self.regexes.edited((order, url.as_str()), None);
            return Some(self.changed(self.urls.clone(), regexes));
        }
        Some(self.changed(self.urls.without(url)?, self.regexes.clone()))
    }

    fn changed(&self, urls: Urls<T>, regexes: List<Arc<Location<T>>>) -> Self {
        Self {
            pattern: self.pattern.clone(),
            name: self.name.clone(),
            urls,
            regexes,
        }
    }
}
