//! The urls of a domain that are no regular expressions, while they are few: side by side in
//! memory. With thousands of domains none of it is in a cache, and finding a url here waits for
//! memory once, not at each node of a tree (ADR 19).

use std::cmp::Reverse;
use std::sync::Arc;

use clb_model::{PATTERN_CHARS, UrlModifier, UrlPattern};
use smallvec::SmallVec;

use crate::domain::Location;
use crate::tree::{Found, Met};

/// How many are few. Each is compared with the path, in a few nanoseconds.
pub(crate) const FEW: usize = 16;

// A text's length is written down as one octet; a url that did not begin with "/" got one.
const _: () = assert!(PATTERN_CHARS < u8::MAX as usize);

pub(crate) struct Few<T> {
    /// Exact urls first, then the prefixes, the longest first: the first that fits is the one. Each
    /// text stands behind its length.
    texts: SmallVec<[u8; 128]>,
    /// In the same order what they point to: a request that meets one wants nothing else of it.
    values: SmallVec<[T; 12]>,
    /// In the same order; of two of one kind and text the older one first.
    locations: Box<[Arc<Location<T>>]>,
    /// How many of them are exact.
    exact: usize,
    min_order: u64,
}

impl<T: Clone> Clone for Few<T> {
    fn clone(&self) -> Self {
        Self {
            texts: self.texts.clone(),
            values: self.values.clone(),
            locations: self.locations.clone(),
            ..*self
        }
    }
}

impl<T: Clone> Default for Few<T> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

/// What the locations are sorted by.
fn place<T>(location: &Location<T>) -> impl Ord + use<'_, T> {
    let text = location.url.expression();
    let length = Reverse(text.len());
    (Reverse(is_exact(location)), length, text, location.place())
}

fn is_exact<T>(location: &Location<T>) -> bool {
    location.url.modifier() == UrlModifier::Exact
}

impl<T: Clone> Few<T> {
    /// Of sorted ones.
    fn of(locations: Vec<Arc<Location<T>>>) -> Self {
        let mut texts = SmallVec::new();
        for location in &locations {
            let text = location.url.expression().as_bytes();
            texts.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            texts.extend_from_slice(text);
        }
        let orders = locations.iter().map(|location| location.order);
        let values = locations.iter().map(|location| location.value.clone());
        Self {
            texts,
            values: values.collect(),
            exact: locations.iter().filter(|one| is_exact(one)).count(),
            min_order: orders.min().unwrap_or(u64::MAX),
            locations: locations.into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.locations.len()
    }

    pub(crate) fn find(&self, path: &[u8]) -> Found<'_, T> {
        let at = self.fitting(path).next();
        let met = at.and_then(|at| {
            Some(Met {
                location: self.locations.get(at)?,
                value: self.values.get(at)?,
            })
        });
        match at.is_some_and(|at| at < self.exact) {
            true => Found {
                exact: met,
                prefix: None,
            },
            false => Found {
                exact: None,
                prefix: met,
            },
        }
    }

    /// The places of those that fit.
    fn fitting(&self, path: &[u8]) -> impl Iterator<Item = usize> {
        let mut rest = self.texts.as_slice();
        let texts = std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            Some(text)
        });
        texts.enumerate().filter_map(|(at, text)| {
            // Urls of one domain mostly begin alike, and their last octets differ.
            let last = text.len().checked_sub(1)?;
            let fits = path.get(last) == text.get(last)
                && (at >= self.exact || path.len() == text.len())
                && path.starts_with(text);
            fits.then_some(at)
        })
    }

    /// Every url that fits the path, the shortest first: for the explanation.
    pub(crate) fn all(&self, path: &[u8]) -> Vec<&Arc<Location<T>>> {
        let fitting = |at| self.locations.get(at);
        let mut all: Vec<_> = self.fitting(path).filter_map(fitting).collect();
        // Those of one text stay as they are.
        all.sort_by_key(|location| (is_exact(location), location.url.expression().len()));
        all
    }

    /// The order of the oldest.
    pub(crate) fn min_order(&self) -> Option<u64> {
        (!self.locations.is_empty()).then_some(self.min_order)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Location<T>>> {
        self.locations.iter()
    }

    /// Adds a url, or replaces the one of the same text; says whether there was one.
    pub(crate) fn with(&self, location: Arc<Location<T>>) -> (Self, bool) {
        let mut locations = self.locations.to_vec();
        locations.retain(|other| other.url != location.url);
        let replaced = locations.len() < self.locations.len();
        let at = locations.partition_point(|other| place(other) < place(&location));
        locations.insert(at, location);
        (Self::of(locations), replaced)
    }

    /// Takes the url of that text away; `None` when there is none.
    pub(crate) fn without(&self, url: &UrlPattern) -> Option<Self> {
        let mut locations = self.locations.to_vec();
        locations.retain(|other| other.url != *url);
        (locations.len() < self.locations.len()).then(|| Self::of(locations))
    }
}
