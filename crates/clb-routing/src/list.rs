//! Regular expressions in order of creation, and the first that matches.
//!
//! They lie in chunks that versions of the list share. Each chunk has its own prefilter, so that
//! one more expression rebuilds one prefilter, and taking one away rebuilds none.

use std::sync::Arc;

use regex_automata::PatternSet;
use regex_syntax::hir::Hir;

use crate::error::RouteError;
use crate::filter::{self, Filter};
use crate::matcher::Matcher;

/// Entries in a chunk: as many as a mask has bits.
pub(crate) const CHUNK: usize = 64;

/// With fewer that a filter could take, asking PCRE2 for each is quicker.
const WORTH_A_FILTER: usize = 4;

/// What an expression that is no longer there has in place of its entry's number.
const GONE: u8 = u8::MAX;

/// A set for [`List::first`].
pub(crate) fn pattern_set() -> PatternSet {
    filter::pattern_set(CHUNK)
}

/// Which comes first: the older one, and of equally old ones the text decides, so that a list
/// depends on what is in it alone.
type Place<'a> = (u64, &'a str);

pub(crate) struct Entry<V> {
    pub(crate) order: u64,
    pub(crate) matcher: Arc<Matcher>,
    pub(crate) value: V,
}

impl<V> Entry<V> {
    fn place(&self) -> Place<'_> {
        (self.order, self.matcher.text())
    }
}

impl<V: Clone> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            order: self.order,
            matcher: Arc::clone(&self.matcher),
            value: self.value.clone(),
        }
    }
}

struct Chunk<V> {
    entries: Vec<Entry<V>>,
    filter: Option<Arc<Filter>>,
    /// For each expression of the filter its entry, or [`GONE`].
    filtered: Vec<u8>,
    /// Entries that PCRE2 is asked for always.
    always: u64,
}

pub(crate) struct List<V> {
    /// None of them is empty.
    chunks: Vec<Arc<Chunk<V>>>,
}

impl<V> Default for List<V> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<V> Clone for List<V> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
        }
    }
}

impl<V: Clone> Chunk<V> {
    fn new(entries: Vec<Entry<V>>) -> Self {
        let candidates: Vec<(u8, &Hir)> = (0..)
            .zip(&entries)
            .filter_map(|(at, entry)| Some((at, entry.matcher.superset()?)))
            .collect();
        let supersets: Vec<&Hir> = candidates.iter().map(|&(_, superset)| superset).collect();
        let filter = match supersets.len() {
            ..WORTH_A_FILTER => None,
            _ => Filter::new(&supersets),
        };
        let filtered = match filter {
            Some(_) => candidates.iter().map(|&(at, _)| at).collect(),
            None => Vec::new(),
        };
        Self::with_filter(entries, filter.map(Arc::new), filtered)
    }

    fn with_filter(entries: Vec<Entry<V>>, filter: Option<Arc<Filter>>, filtered: Vec<u8>) -> Self {
        let all = u64::MAX >> (CHUNK - entries.len().clamp(1, CHUNK));
        let by_filter = filtered.iter().filter(|&&at| at != GONE);
        Self {
            always: all & !by_filter.fold(0, |mask, at| mask | 1 << at),
            entries,
            filter,
            filtered,
        }
    }

    /// The same chunk with another value at an entry, or without the entry. The filter stays.
    fn edited(&self, place: Place<'_>, value: Option<V>) -> Self {
        let mut entries = self.entries.clone();
        let mut filtered = self.filtered.clone();
        let Ok(at) = entries.binary_search_by(|entry| entry.place().cmp(&place)) else {
            return Self::with_filter(entries, self.filter.clone(), filtered);
        };
        match (value, entries.get_mut(at)) {
            (Some(value), Some(entry)) => entry.value = value,
            _ => {
                entries.remove(at);
                for slot in &mut filtered {
                    *slot = match usize::from(*slot) {
                        same if same == at => GONE,
                        later if later > at && *slot != GONE => *slot - 1,
                        _ => *slot,
                    };
                }
            }
        }
        Self::with_filter(entries, self.filter.clone(), filtered)
    }

    fn candidates(&self, subject: &[u8], found: &mut PatternSet) -> u64 {
        let Some(filter) = &self.filter else {
            return self.always;
        };
        if !filter.search(subject, found) {
            return u64::MAX;
        }
        found.iter().fold(self.always, |mask, pattern| {
            match self.filtered.get(pattern.as_usize()) {
                Some(&at) if at != GONE => mask | 1 << at,
                _ => mask,
            }
        })
    }
}

impl<V: Clone> List<V> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<V>> {
        self.chunks.iter().flat_map(|chunk| &chunk.entries)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The order of the oldest.
    pub(crate) fn min_order(&self) -> Option<u64> {
        self.iter().next().map(|entry| entry.order)
    }

    /// The entry of a text. Looks at all of them, in a few nanoseconds each.
    pub(crate) fn get(&self, text: &str) -> Option<&Entry<V>> {
        self.iter().find(|entry| entry.matcher.text() == text)
    }

    /// The oldest entry whose expression matches.
    ///
    /// # Errors
    /// [`RouteError::MatchLimit`] of that one or an older one.
    pub(crate) fn first(
        &self,
        subject: &[u8],
        found: &mut PatternSet,
    ) -> Result<Option<&Entry<V>>, RouteError> {
        for chunk in &self.chunks {
            let mut candidates = chunk.candidates(subject, found);
            while candidates != 0 {
                let at = candidates.trailing_zeros();
                candidates &= candidates - 1;
                let Some(entry) = chunk.entries.get(at as usize) else {
                    break;
                };
                if entry.matcher.is_match(subject)? {
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    /// Adds an entry whose text is not in the list.
    pub(crate) fn with(&self, entry: Entry<V>) -> Self {
        let mut chunks = self.chunks.clone();
        // The last chunk that begins before the entry, or the first.
        let after = chunks.partition_point(|chunk| {
            (chunk.entries.first()).is_some_and(|first| first.place() < entry.place())
        });
        let at = after.saturating_sub(1);
        let mut entries = match chunks.get(at) {
            Some(chunk) => chunk.entries.clone(),
            None => Vec::new(),
        };
        let full = entries.len() >= CHUNK;
        let place = entries.partition_point(|other| other.place() < entry.place());
        entries.insert(place, entry);
        if !full {
            let chunk = Arc::new(Chunk::new(entries));
            match chunks.get_mut(at) {
                Some(slot) => *slot = chunk,
                None => chunks.push(chunk),
            }
            return Self { chunks };
        }
        // New entries are the youngest as a rule: then the full chunk keeps its filter.
        let half = match place {
            CHUNK => CHUNK,
            _ => CHUNK / 2,
        };
        let second = Arc::new(Chunk::new(entries.split_off(half)));
        if half < CHUNK
            && let Some(slot) = chunks.get_mut(at)
        {
            *slot = Arc::new(Chunk::new(entries));
        }
        chunks.insert(at + 1, second);
        Self { chunks }
    }

    /// The same list with another value for the entry of that order and text, or without it.
    pub(crate) fn edited(&self, place: Place<'_>, value: Option<V>) -> Self {
        let mut chunks = self.chunks.clone();
        let after = chunks.partition_point(|chunk| {
            (chunk.entries.first()).is_some_and(|first| first.place() <= place)
        });
        let at = after.saturating_sub(1);
        let Some(slot) = chunks.get_mut(at) else {
            return Self { chunks };
        };
        let edited = slot.edited(place, value);
        let left = edited.entries.len();
        *slot = Arc::new(edited);
        if left == 0 {
            chunks.remove(at);
        } else {
            merge(&mut chunks, at);
            merge(&mut chunks, at.saturating_sub(1));
        }
        Self { chunks }
    }
}

/// Joins a chunk with the next when both together are no more than half full.
fn merge<V: Clone>(chunks: &mut Vec<Arc<Chunk<V>>>, at: usize) {
    let (Some(chunk), Some(next)) = (chunks.get(at), chunks.get(at + 1)) else {
        return;
    };
    if chunk.entries.len() + next.entries.len() > CHUNK / 2 {
        return;
    }
    let entries = chunk.entries.iter().chain(&next.entries).cloned().collect();
    let joined = Arc::new(Chunk::new(entries));
    chunks.remove(at + 1);
    if let Some(slot) = chunks.get_mut(at) {
        *slot = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_model::UrlPattern;
    use proptest::prelude::*;

    fn text(number: u64) -> String {
        // Some have no superset, some match what others match.
        match number % 7 {
            0 => format!("~ ^/(?i:A){}/", number / 7),
            1 => format!("~* ^/A{}", number / 7),
            2 => format!("~ /(?=.)b{}$", number / 7),
            _ => format!("~ ^/x{}[/.]", number % 50),
        }
    }

    fn entry(order: u64, number: u64, value: u64) -> Entry<u64> {
        let url = UrlPattern::parse(&text(number)).unwrap();
        let matcher = Arc::new(Matcher::url(&url).unwrap().unwrap());
        Entry {
            order,
            matcher,
            value,
        }
    }

    fn check(list: &List<u64>) {
        for chunk in &list.chunks {
            assert!((1..=CHUNK).contains(&chunk.entries.len()));
            let alive = chunk.filtered.iter().filter(|&&at| at != GONE).count();
            let always = chunk.always.count_ones() as usize;
            assert_eq!(alive + always, chunk.entries.len());
        }
        assert!(
            list.iter()
                .is_sorted_by(|one, next| one.place() < next.place())
        );
    }

    fn agrees(list: &List<u64>, subject: &str) {
        let bytes = subject.as_bytes();
        let naive = list
            .iter()
            .find(|entry| entry.matcher.is_match(bytes).unwrap());
        let found = list.first(bytes, &mut pattern_set()).unwrap();
        let value = |entry: &Entry<u64>| entry.value;
        assert_eq!(found.map(value), naive.map(value), "{subject}");
    }

    #[test]
    fn young_ones_fill_chunks_and_old_versions_stay() {
        let mut list = List::default();
        for order in 0..200 {
            list = list.with(entry(order, order * 7 + 1, order));
        }
        check(&list);
        assert_eq!(list.chunks.len(), 200_usize.div_ceil(CHUNK));
        let more = list.with(entry(200, 1500, 200));
        let mut shared = list.chunks.iter().zip(&more.chunks);
        assert!(
            shared
                .by_ref()
                .take(3)
                .all(|(old, new)| Arc::ptr_eq(old, new))
        );
        assert!(shared.all(|(old, new)| !Arc::ptr_eq(old, new)));
        let before = list.clone();
        for order in 1..199 {
            list = list.edited((order, &text(order * 7 + 1)), None);
            check(&list);
        }
        let left: Vec<u64> = list.iter().map(|entry| entry.value).collect();
        assert_eq!((left, list.chunks.len()), (vec![0, 199], 1));
        assert_eq!(before.iter().count(), 200);
        agrees(&before, "/a150");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_first_that_matches_is_found(
            steps in prop::collection::vec((0_u64..400, 0_u64..1000, 0..4), 1..300),
            numbers in prop::collection::vec(0_u64..60, 20),
        ) {
            let mut list = List::default();
            for (value, (number, order, kind)) in (0..).zip(steps) {
                let text = text(number);
                let there = list.get(&text).map(|entry| entry.order);
                list = match (there, kind) {
                    (Some(order), 0) => list.edited((order, &text), None),
                    (Some(order), _) => list.edited((order, &text), Some(value)),
                    (None, _) => list.with(entry(order, number, value)),
                };
                check(&list);
                let entry = list.get(&text);
                prop_assert_eq!(entry.is_none(), there.is_some() && kind == 0);
                prop_assert!(entry.is_none_or(|entry| entry.value == value));
            }
            for number in numbers {
                agrees(&list, &format!("/a{number}/"));
                agrees(&list, &format!("/x{number}."));
                agrees(&list, &format!("/b{number}"));
                agrees(&list, &format!("/A{number}"));
            }
        }
    }
}
