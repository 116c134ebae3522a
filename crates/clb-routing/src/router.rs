//! All rules of a listener.

use std::fmt;
use std::sync::Arc;

use clb_model::{DomainKind, DomainPattern, PATTERN_CHARS, UrlPattern};
use regex_automata::PatternSet;

use crate::domain::{Domain, Location, lookup_name};
use crate::error::{PatternError, RouteError};
use crate::list::{self, Entry, List};
use crate::matcher::Matcher;
use crate::table::{Named, Table};
use crate::tree::Met;
use crate::{host, path};

/// Domains that end in one name.
pub(crate) struct Suffix<T> {
    name: Box<str>,
    /// `*.x`
    under: Option<Arc<Domain<T>>>,
    /// `.x`
    whole: Option<Arc<Domain<T>>>,
}

impl<T> Named for Arc<Suffix<T>> {
    fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

impl<T: Clone> Suffix<T> {
    /// Both mean the same for a host under the name: the older one has it.
    fn for_under(&self) -> Option<&Arc<Domain<T>>> {
        let both = [&self.under, &self.whole].into_iter().flatten();
        both.min_by_key(|domain| domain.order())
    }
}

/// Which rule a request belongs to, decided as nginx decides it.
///
/// Immutable; [`Router::with`] and [`Router::without`] make a new one that shares all but what has
/// changed, at a cost that does not grow with the rules left alone. What it answers depends on the
/// rules in it alone, not on the way it was made. `T` is what a rule points to and is cloned with
/// little ado, such as an `Arc`.
pub struct Router<T> {
    exact: Table<Arc<Domain<T>>>,
    suffix: Table<Arc<Suffix<T>>>,
    prefix: Table<Arc<Domain<T>>>,
    pub(crate) regexes: List<Arc<Domain<T>>>,
    len: usize,
}

/// A rule of a [`Router`].
pub struct Route<'r, T> {
    /// Its domain. Rules whose domains differ in case only share the spelling of one of them.
    pub domain: &'r DomainPattern,
    /// What it points to.
    pub value: &'r T,
    /// Neither it nor the `Arc` is looked at for a request: they are in no cache (ADR 19).
    location: &'r Arc<Location<T>>,
}

/// Buffers for [`Router::route`], one set a thread: with them it allocates nothing once they have
/// grown to the longest host and path.
pub struct Scratch {
    pub(crate) host: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) found: PatternSet,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            host: Vec::new(),
            path: Vec::new(),
            found: list::pattern_set(),
        }
    }
}

impl<T: Clone> Router<T> {
    /// Without rules: every request is [`RouteError::NoDomain`], if it is not refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All rules, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Route<'_, T>> {
        self.domains()
            .flat_map(|domain| (domain.iter()).map(|location| Route::new(domain, location.into())))
    }

    /// Adds a rule, or replaces the rule with this domain and url.
    ///
    /// `order` says which of two regular expressions is asked first: that with the smaller one. Of
    /// two domains it is the smallest of their rules. A domain is known by
    /// [`DomainPattern::key`], a url by its text.
    ///
    /// # Errors
    /// [`PatternError`] when one of the two is a regular expression that does not compile.
    pub fn with(
        &self,
        domain: &DomainPattern,
        url: &UrlPattern,
        order: u64,
        value: T,
    ) -> Result<Self, PatternError> {
        let before = self.domain(domain);
        let (after, replaced) = match before {
            Some(before) => before.with(url, order, value)?,
            None => Domain::new(domain.clone()).with(url, order, value)?,
        };
        let mut router = self.with_domain(domain, before, Some(Arc::new(after)))?;
        router.len += usize::from(!replaced);
        Ok(router)
    }

    /// The same without the rule of this domain and url; unchanged when there is none.
    #[must_use]
    pub fn without(&self, domain: &DomainPattern, url: &UrlPattern) -> Self {
        let before = self.domain(domain);
        let Some(after) = before.and_then(|domain| domain.without(url)) else {
            return self.clone();
        };
        let after = (after.order().is_some()).then(|| Arc::new(after));
        match self.with_domain(domain, before, after) {
            Ok(mut router) => {
                router.len = router.len.saturating_sub(1);
                router
            }
            // It compiled when it came in.
            Err(_) => self.clone(),
        }
    }

    /// The rule of a request.
    ///
    /// `host` is the host as sent: the authority of an absolute-form target, `:authority`, else the
    /// `Host` field, with port and in any case. Empty stands for "none was sent" (HTTP/1.0); that
    /// nginx answers 400 to a `Host` field that is there and empty is the caller's matter.
    /// `target` is the request target as sent, without scheme and authority.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn route<'r>(
        &'r self,
        host: &[u8],
        target: &[u8],
        scratch: &mut Scratch,
    ) -> Result<Route<'r, T>, RouteError> {
        self.route_visiting(host, target, scratch, |_| {})
    }

    /// As [`route`](Self::route). `visit` is given cache lines that will soon be looked at, for the
    /// processor to fetch side by side: with thousands of domains they are in no cache (ADR 19). The
    /// addresses are for that only.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn route_visiting<'r>(
        &'r self,
        host: &[u8],
        target: &[u8],
        scratch: &mut Scratch,
        visit: impl Fn(*const u8) + Copy,
    ) -> Result<Route<'r, T>, RouteError> {
        let path = path::resolve_path(target, &mut scratch.path)?;
        if host.is_empty() {
            return Err(RouteError::NoDomain);
        }
        host::normalise(host, &mut scratch.host)?;
        let domain = self.find_domain(&scratch.host, &mut scratch.found, visit)?;
        let met = domain.find(path, &mut scratch.found)?;
        Ok(Route::new(domain, met))
    }

    /// The domain of a normalised host.
    pub(crate) fn find_domain(
        &self,
        host: &[u8],
        found: &mut PatternSet,
        visit: impl Fn(*const u8) + Copy,
    ) -> Result<&Arc<Domain<T>>, RouteError> {
        if let Some(domain) = self.plain_domains(host, visit).next() {
            return Ok(domain);
        }
        let first = self.regexes.first(host, found)?;
        first.map(|entry| &entry.value).ok_or(RouteError::NoDomain)
    }

    /// The domains that match a host and are no regular expressions, the best first.
    pub(crate) fn plain_domains<'r>(
        &'r self,
        host: &[u8],
        visit: impl Fn(*const u8) + Copy,
    ) -> impl Iterator<Item = &'r Arc<Domain<T>>> {
        // Longer names are in no table.
        let short = |name: &&[u8]| name.len() <= PATTERN_CHARS;
        let whole = Some(host).filter(short);
        let exact = whole.and_then(|host| self.exact.get_visiting(host, visit));
        let dotted = whole
            .and_then(|host| self.suffix.get(host))
            .and_then(|suffix| suffix.whole.as_ref());
        let under = after_dots(host)
            .filter(short)
            .filter_map(|name| self.suffix.get(name)?.for_under());
        let prefixes = before_dots(host)
            .filter(short)
            .filter_map(move |name| self.prefix.get_visiting(name, visit));
        (exact.into_iter().chain(dotted))
            .chain(under)
            .chain(prefixes)
    }

    fn domains(&self) -> impl Iterator<Item = &Arc<Domain<T>>> {
        let suffix = self.suffix.iter();
        (self.exact.iter().chain(self.prefix.iter()))
            .chain(suffix.flat_map(|suffix| suffix.under.iter().chain(&suffix.whole)))
            .chain(self.regexes.iter().map(|entry| &entry.value))
    }

    fn domain(&self, pattern: &DomainPattern) -> Option<&Arc<Domain<T>>> {
        let name = lookup_name(pattern);
        match pattern.kind() {
            DomainKind::Exact => self.exact.get(name.as_bytes()),
            DomainKind::WildcardEnd => self.prefix.get(name.as_bytes()),
            DomainKind::Suffix => self.suffix.get(name.as_bytes())?.whole.as_ref(),
            DomainKind::WildcardStart => self.suffix.get(name.as_bytes())?.under.as_ref(),
            DomainKind::Regex => self.regexes.get(&name).map(|entry| &entry.value),
        }
    }

    fn with_domain(
        &self,
        pattern: &DomainPattern,
        before: Option<&Arc<Domain<T>>>,
        after: Option<Arc<Domain<T>>>,
    ) -> Result<Self, PatternError> {
        let mut router = self.clone();
        let name = lookup_name(pattern);
        let key = name.as_bytes();
        match pattern.kind() {
            DomainKind::Exact => router.exact = self.exact.with(key, after),
            DomainKind::WildcardEnd => router.prefix = self.prefix.with(key, after),
            DomainKind::Suffix | DomainKind::WildcardStart => {
                let old = self.suffix.get(key);
                let (mut under, mut whole) =
                    old.map_or((None, None), |old| (old.under.clone(), old.whole.clone()));
                match pattern.kind() {
                    DomainKind::Suffix => whole = after,
                    _ => under = after,
                }
                let empty = under.is_none() && whole.is_none();
                let name = name.clone().into();
                let suffix = (!empty).then(|| Arc::new(Suffix { name, under, whole }));
                router.suffix = self.suffix.with(key, suffix);
            }
            DomainKind::Regex => router.regexes = self.regexes_with(pattern, before, after)?,
        }
        Ok(router)
    }

    fn regexes_with(
        &self,
        pattern: &DomainPattern,
        before: Option<&Arc<Domain<T>>>,
        after: Option<Arc<Domain<T>>>,
    ) -> Result<List<Arc<Domain<T>>>, PatternError> {
        let text = pattern.as_str();
        let old = before.and_then(|domain| domain.order());
        let new = after.as_ref().and_then(|domain| domain.order());
        let mut regexes = self.regexes.clone();
        let mut matcher = None;
        if let Some(order) = old {
            if old == new || new.is_none() {
                return Ok(regexes.edited((order, text), after));
            }
            matcher = regexes.get(text).map(|entry| Arc::clone(&entry.matcher));
            regexes = regexes.edited((order, text), None);
        }
        if matcher.is_none() {
            matcher = Matcher::domain(pattern).transpose()?.map(Arc::new);
        }
        if let (Some(order), Some(matcher), Some(value)) = (new, matcher, after) {
            let entry = Entry {
                order,
                matcher,
                value,
            };
            regexes = regexes.with(entry);
        }
        Ok(regexes)
    }
}

/// What stands after each dot, the longest first.
fn after_dots(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host.iter().enumerate().filter(|&(_, &byte)| byte == b'.');
    dots.filter_map(|(at, _)| host.get(at + 1..))
}

/// What stands before each dot, the longest first.
fn before_dots(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host.iter().enumerate().rev();
    let dots = dots.filter(|&(_, &byte)| byte == b'.');
    dots.filter_map(|(at, _)| host.get(..at))
}

impl<'r, T> Route<'r, T> {
    fn new(domain: &'r Domain<T>, met: Met<'r, T>) -> Self {
        Self {
            domain: &domain.pattern,
            value: met.value,
            location: met.location,
        }
    }

    /// Its url.
    #[must_use]
    pub fn url(&self) -> &'r UrlPattern {
        &self.location.url
    }

    /// When the rule was made, compared with others.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.location.order
    }
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Self {
        Self {
            exact: self.exact.clone(),
            suffix: self.suffix.clone(),
            prefix: self.prefix.clone(),
            regexes: self.regexes.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self {
            exact: Table::default(),
            suffix: Table::default(),
            prefix: Table::default(),
            regexes: List::default(),
            len: 0,
        }
    }
}

impl<T> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router of {} rules", self.len)
    }
}

impl<T> fmt::Debug for Route<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.domain, self.url())
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}
