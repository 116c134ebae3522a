//! Which rows, and how many there are.

use std::io;
use std::sync::Arc;

use crate::block::Block;
use crate::chunk::Chunk;
use crate::row::{Number, Row, Text};

/// What a row has to fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A text is this one, but for the case of letters; or is not.
    Text(Text, Vec<u8>, bool),
    /// A number is this one; or is not.
    Number(Number, u64, bool),
    /// It took longer than the first and less than the second, microseconds.
    Took(u64, u64),
}

impl Condition {
    fn holds_for_text(&self, text: &[u8]) -> bool {
        match self {
            Self::Text(_, wanted, is) => text.eq_ignore_ascii_case(wanted) == *is,
            _ => false,
        }
    }

    fn holds_for_number(&self, number: u64) -> bool {
        match *self {
            Self::Number(_, wanted, is) => (number == wanted) == is,
            Self::Took(more, less) => number > more && number < less,
            Self::Text(..) => false,
        }
    }

    fn number(&self) -> Number {
        match self {
            Self::Number(number, ..) => *number,
            _ => Number::Took,
        }
    }

    fn holds(&self, row: &Row<'_>) -> bool {
        match self {
            Self::Text(text, ..) => self.holds_for_text(row.text(*text)),
            _ => self.holds_for_number(row.number(self.number())),
        }
    }
}

/// Which rows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The first and the last time: microseconds since 1970.
    pub times: (u64, u64),
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// In order of time, the latest first; or the other way round.
    pub latest_first: bool,
    /// Rows to pass over.
    pub offset: usize,
    /// Rows to give.
    pub limit: usize,
}

/// The answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// How many rows there are, with those that were passed over or are beyond the limit.
    pub total: u64,
    rows: Vec<Vec<u8>>,
}

impl Page {
    /// A page of these rows, as they travel.
    pub(crate) fn of(rows: Vec<Vec<u8>>) -> Self {
        Self {
            total: rows.len() as u64,
            rows,
        }
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows
            .iter()
            .filter_map(|data| Row::read(&mut data.as_slice()))
    }
}

/// Where rows are.
pub(crate) enum Source {
    Block(Arc<Block>),
    Chunk(Arc<Chunk>),
}

/// Which rows of a source fulfil a query.
enum Found {
    All,
    These(Vec<bool>),
}

impl Found {
    fn count(&self, rows: usize) -> u64 {
        match self {
            Self::All => rows as u64,
            Self::These(which) => which.iter().filter(|is| **is).count() as u64,
        }
    }

    /// Leaves those for which it holds.
    fn retain(&mut self, rows: usize, mut holds: impl FnMut(usize) -> bool) {
        match self {
            Self::All => *self = Self::These((0..rows).map(holds).collect()),
            Self::These(which) => {
                for (place, is) in which.iter_mut().enumerate() {
                    *is = *is && holds(place);
                }
            }
        }
    }

    fn places(&self, rows: usize) -> impl Iterator<Item = usize> + use<'_> {
        (0..rows).filter(move |place| match self {
            Self::All => true,
            Self::These(which) => which.get(*place).copied().unwrap_or(false),
        })
    }
}

impl Source {
    fn times(&self) -> (u64, u64) {
        match self {
            Self::Block(block) => block.times,
            Self::Chunk(chunk) => chunk.times,
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Block(block) => block.rows,
            Self::Chunk(chunk) => chunk.rows,
        }
    }

    fn find(&self, query: &Query) -> io::Result<Found> {
        match self {
            Self::Block(block) => find_in_block(block, query),
            Self::Chunk(chunk) => Ok(Found::These(
                chunk.rows().map(|row| query.fits(&row)).collect(),
            )),
        }
    }

    /// The times of all rows.
    fn all_times(&self) -> io::Result<Vec<u64>> {
        match self {
            Self::Block(block) => block.open()?.numbers(Number::Time),
            Self::Chunk(chunk) => Ok(chunk.rows().map(|row| row.number(Number::Time)).collect()),
        }
    }

    fn give(&self, places: &[usize], each: impl FnMut(&Row<'_>)) -> io::Result<()> {
        match self {
            Self::Block(block) => block.open()?.rows(places, each),
            Self::Chunk(chunk) => {
                let rows: Vec<Row<'_>> = chunk.rows().collect();
                let wanted = places.iter().filter_map(|place| rows.get(*place));
                wanted.for_each(each);
                Ok(())
            }
        }
    }
}

impl Query {
    fn fits(&self, row: &Row<'_>) -> bool {
        let time = row.number(Number::Time);
        (self.times.0..=self.times.1).contains(&time)
            && self.conditions.iter().all(|condition| condition.holds(row))
    }
}

/// Reads those columns only that decide, and of those only what does not follow from the head.
fn find_in_block(block: &Block, query: &Query) -> io::Result<Found> {
    let (rows, (from, to)) = (block.rows, block.times);
    let is_inside = from >= query.times.0 && to <= query.times.1;
    if is_inside && query.conditions.is_empty() {
        return Ok(Found::All);
    }
    let block = block.open()?;
    let mut found = Found::All;
    for condition in &query.conditions {
        if let Condition::Text(text, ..) = condition {
            let texts = block.texts(*text)?;
            let holds: Vec<bool> = texts
                .iter()
                .map(|text| condition.holds_for_text(text))
                .collect();
            if holds.iter().all(|holds| *holds) {
                continue;
            }
            if holds.iter().any(|holds| *holds) {
                let codes = block.codes(*text)?;
                let holds_at = |place: usize| {
                    let code = codes.get(place).copied().unwrap_or(u64::MAX);
                    let code = usize::try_from(code).unwrap_or(usize::MAX);
                    holds.get(code).copied().unwrap_or(false)
                };
                found.retain(rows, holds_at);
                continue;
            }
            return Ok(Found::These(Vec::new()));
        }
        match block.same(condition.number()) {
            Some(number) if condition.holds_for_number(number) => {}
            Some(_) => return Ok(Found::These(Vec::new())),
            None => {
                let numbers = block.numbers(condition.number())?;
                let holds = |place: usize| {
                    let number = numbers.get(place).copied().unwrap_or(0);
                    condition.holds_for_number(number)
                };
                found.retain(rows, holds);
            }
        }
    }
    if !is_inside {
        let times = block.numbers(Number::Time)?;
        let window = query.times.0..=query.times.1;
        found.retain(rows, |place| {
            times.get(place).is_some_and(|time| window.contains(time))
        });
    }
    Ok(found)
}

/// A row that may be on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    time: u64,
    source: usize,
    place: usize,
}

/// Answers a query. Sources may overlap in time.
///
/// # Errors
/// What reading a block gives.
pub(crate) fn run(mut sources: Vec<Source>, query: &Query) -> io::Result<Page> {
    sources.retain(|source| {
        let (from, to) = source.times();
        from <= query.times.1 && to >= query.times.0 && source.rows() > 0
    });
    match query.latest_first {
        true => sources.sort_by_key(|source| std::cmp::Reverse(source.times().1)),
        false => sources.sort_by_key(|source| source.times().0),
    }
    let needed = match query.limit {
        0 => 0,
        limit => query.offset.saturating_add(limit),
    };
    let (mut total, mut candidates) = (0, Candidates::new(needed, query.latest_first));
    for (number, source) in sources.iter().enumerate() {
        let found = source.find(query)?;
        let count = found.count(source.rows());
        total += count;
        if count > 0 && candidates.may_take(source.times()) {
            let times = source.all_times()?;
            candidates.take(found.places(source.rows()).map(|place| Candidate {
                time: times.get(place).copied().unwrap_or(0),
                source: number,
                place,
            }));
        }
    }
    let wanted = candidates.finish(query.offset);
    Ok(Page {
        total,
        rows: collect(&sources, &wanted)?,
    })
}

/// The first so many rows, in order, of those that were seen.
struct Candidates {
    needed: usize,
    latest_first: bool,
    list: Vec<Candidate>,
}

impl Candidates {
    fn new(needed: usize, latest_first: bool) -> Self {
        Self {
            needed,
            latest_first,
            list: Vec::new(),
        }
    }

    /// Whether rows of these times may be among them; the list is in order here.
    fn may_take(&self, (from, to): (u64, u64)) -> bool {
        let last = self.needed.checked_sub(1);
        let Some(last) = last else { return false };
        match self.list.get(last) {
            Some(last) if self.latest_first => to >= last.time,
            Some(last) => from <= last.time,
            None => true,
        }
    }

    fn take(&mut self, more: impl Iterator<Item = Candidate>) {
        self.list.extend(more);
        let key = |one: &Candidate| (one.time, one.source, one.place);
        match self.latest_first {
            // Of one moment the later ones first too: a source's rows are in order.
            true => self.list.sort_by_key(|one| {
                std::cmp::Reverse((one.time, std::cmp::Reverse(one.source), one.place))
            }),
            false => self.list.sort_by_key(key),
        }
        self.list.truncate(self.needed);
    }

    fn finish(mut self, offset: usize) -> Vec<Candidate> {
        self.list.drain(..offset.min(self.list.len()));
        self.list
    }
}

/// The rows themselves, in the order of the candidates; each source is read once.
fn collect(sources: &[Source], wanted: &[Candidate]) -> io::Result<Vec<Vec<u8>>> {
    let mut rows = vec![Vec::new(); wanted.len()];
    for (number, source) in sources.iter().enumerate() {
        let here = wanted.iter().enumerate();
        let (slots, places): (Vec<usize>, Vec<usize>) = here
            .filter(|(_, candidate)| candidate.source == number)
            .map(|(slot, candidate)| (slot, candidate.place))
            .unzip();
        if places.is_empty() {
            continue;
        }
        let mut slots = slots.into_iter();
        source.give(&places, |row| {
            if let Some(to) = slots.next().and_then(|slot| rows.get_mut(slot)) {
                row.write(to);
            }
        })?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Press;
    use crate::segments::{Keep, Segments};
    use proptest::prelude::*;
    use std::time::Duration;

    fn row<'a>(time: u64, status: u64, host: &'a [u8]) -> Row<'a> {
        let mut row = Row::default();
        row.set(Number::Time, time);
        row.set(Number::Status, status);
        row.set(Number::Took, time % 7);
        row.set_text(Text::Host, host);
        row
    }

    fn condition() -> impl Strategy<Value = Condition> {
        prop_oneof![
            (0u64..3, any::<bool>()).prop_map(|(status, is)| Condition::Number(
                Number::Status,
                status,
                is
            )),
            ("[abA]", any::<bool>()).prop_map(|(host, is)| Condition::Text(
                Text::Host,
                host.into_bytes(),
                is
            )),
            (0u64..7, 0u64..7).prop_map(|(more, less)| Condition::Took(more, less)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Blocks and chunks answer as one list of all rows would.
        #[test]
        fn the_answer_is_that_of_all_rows(
            parts in prop::collection::vec(
                (any::<bool>(), prop::collection::vec((0u64..60, 0u64..3, "[ab]"), 1..12)), 0..8),
            conditions in prop::collection::vec(condition(), 0..3),
            times in (0u64..60, 0u64..60),
            latest_first in any::<bool>(),
            offset in 0usize..20,
            limit in 0usize..20,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut segments = Segments::open(dir.path()).unwrap();
            let keep = Keep { retention: Duration::from_secs(1), max_bytes: u64::MAX };
            let (mut sources, mut all) = (Vec::new(), Vec::new());
            let mut id = 0u64;
            for (is_block, mut part) in parts {
                part.sort_by_key(|(time, ..)| *time);
                let mut rows: Vec<Row<'_>> = Vec::new();
                for (time, status, host) in &part {
                    let mut row = row(*time, *status, host.as_bytes());
                    id += 1;
                    row.set(Number::Sent, id);
                    rows.push(row);
                }
                all.extend(rows.iter().map(|row| {
                    let mut data = Vec::new();
                    row.write(&mut data);
                    data
                }));
                match is_block {
                    true => {
                        let columns = crate::block::Columns::of(&rows);
                        segments.append(&columns, &mut Press::default(), &keep).unwrap();
                    }
                    false => {
                        let mut chunk = Chunk::default();
                        rows.iter().for_each(|row| chunk.push(row));
                        sources.push(Source::Chunk(Arc::new(chunk)));
                    }
                }
            }
            sources.extend(segments.blocks().cloned().map(Source::Block));
            let query = Query { times, conditions, latest_first, offset, limit };
            let page = run(sources, &query).unwrap();

            let all: Vec<Row<'_>> =
                all.iter().map(|data| Row::read(&mut data.as_slice()).unwrap()).collect();
            let mut fitting: Vec<&Row<'_>> = all.iter().filter(|row| query.fits(row)).collect();
            prop_assert_eq!(page.total, fitting.len() as u64);
            fitting.sort_by_key(|row| row.number(Number::Time));
            if latest_first {
                fitting.reverse();
            }
            let expected: Vec<u64> =
                fitting.iter().skip(offset).take(limit).map(|row| row.number(Number::Time)).collect();
            let given: Vec<u64> = page.rows().map(|row| row.number(Number::Time)).collect();
            prop_assert_eq!(given, expected);
            // Each of them fits, and none is there twice.
            let mut ids: Vec<u64> = page.rows().map(|row| row.number(Number::Sent)).collect();
            prop_assert!(page.rows().all(|row| query.fits(&row)));
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), page.rows().count());
        }
    }
}
