//! Rows on their way from the rings to a block.

use std::collections::HashMap;
use std::sync::Arc;

use crate::block::Columns;
use crate::row::{Front, Number, Row, Text, numbered};

/// Rows that are in no block yet, as they travel one after the other.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) data: Vec<u8>,
    /// The domains that numbers in the rows stand for.
    pub(crate) domains: HashMap<u32, Arc<str>>,
    pub(crate) rows: usize,
    /// The first and the last time: microseconds since 1970.
    pub(crate) times: (u64, u64),
}

impl Chunk {
    /// Appends a row.
    pub(crate) fn push(&mut self, row: &Row<'_>) {
        self.count(row.number(Number::Time));
        row.write(&mut self.data);
    }

    /// Counts a row that is in `data` already; `front` is what it begins with.
    pub(crate) fn has(&mut self, front: &Front) {
        self.count(front.time);
    }

    fn count(&mut self, time: u64) {
        self.times = match self.rows {
            0 => (time, time),
            _ => (self.times.0.min(time), self.times.1.max(time)),
        };
        self.rows += 1;
    }

    /// All rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut data = self.data.as_slice();
        std::iter::from_fn(move || Some(self.named(Row::read(&mut data)?)))
    }

    /// The domain that a number stands for; none for 0.
    pub(crate) fn name(&self, number: u32) -> Option<&[u8]> {
        if number == 0 {
            return None;
        }
        let domain = self.domains.get(&number).map(|domain| domain.as_bytes());
        Some(domain.unwrap_or_default())
    }

    /// The row with its domain in the place of a number.
    pub(crate) fn named<'c>(&'c self, mut row: Row<'c>) -> Row<'c> {
        if let Some(number) = numbered(row.text(Text::ServerName)) {
            let domain = self.domains.get(&number).map(|domain| domain.as_bytes());
            row.set_text(Text::ServerName, domain.unwrap_or_default());
        }
        row
    }
}

/// A row that lies in a [`Chunk`].
struct Lying<'c> {
    front: Front,
    /// The domain, where the row has a number in its place.
    name: Option<&'c [u8]>,
    whole: &'c [u8],
}

/// All rows of all chunks as columns, by their times, in the room of the last block's.
pub(crate) fn in_order(chunks: &[Arc<Chunk>], room: Vec<u64>) -> Columns<'_> {
    let count = chunks.iter().map(|chunk| chunk.rows).sum();
    let mut order = Vec::with_capacity(count);
    for chunk in chunks {
        let mut data = chunk.data.as_slice();
        let (mut last, mut name) = (0, None);
        while let Some((front, whole)) = Front::take(&mut data) {
            if front.name != last {
                (last, name) = (front.name, chunk.name(front.name));
            }
            order.push(Lying { front, name, whole });
        }
    }
    // Those of one worker are in order; the sort takes them as runs.
    order.sort_by_key(|row| row.front.time);
    let mut rows = Columns::with_capacity(count, room);
    for row in order {
        rows.push_whole(&row.front, row.whole, row.name);
    }
    rows
}
