//! Rows on their way from the rings to a block.

use std::collections::HashMap;
use std::sync::Arc;

use crate::block::{ColumnRoom, Columns};
use crate::columns::Press;
use crate::row::{Front, Number, Row, Text, numbered};

/// Octets of a chunk that others follow in. Were each turn's few rows a piece of memory of their
/// own, of thousands of sizes, the allocator's pages would fill slowly and never be whole again.
const WHOLE: usize = 64 * 1024;
/// Octets up to which rows are copied behind others.
const SMALL: usize = WHOLE / 4;

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
        self.rows_from(0)
    }

    /// The rows after so many octets, which are whole rows.
    pub(crate) fn rows_from(&self, start: usize) -> impl Iterator<Item = Row<'_>> {
        let mut data = self.data.get(start..).unwrap_or_default();
        std::iter::from_fn(move || Some(self.named(Row::read(&mut data)?)))
    }

    /// A chunk of its own of the [rows after](Self::rows_from) so many octets.
    pub(crate) fn after(&self, start: usize) -> Self {
        let mut rest = Self::default();
        self.rows_from(start).for_each(|row| rest.push(&row));
        rest
    }

    /// Appends all rows of a small chunk where there is room for them; whether there was.
    pub(crate) fn append(&mut self, small: &Self) -> bool {
        let room = self.data.capacity() - self.data.len();
        if small.data.len() > SMALL.min(room) {
            return false;
        }
        self.data.extend_from_slice(&small.data);
        for (number, domain) in &small.domains {
            let domain = || Arc::clone(domain);
            self.domains.entry(*number).or_insert_with(domain);
        }
        self.times = match self.rows {
            0 => small.times,
            _ => (
                self.times.0.min(small.times.0),
                self.times.1.max(small.times.1),
            ),
        };
        self.rows += small.rows;
        true
    }

    /// Makes room for small chunks that are to follow in this one.
    pub(crate) fn make_room(&mut self) {
        if self.data.len() <= SMALL {
            self.data.reserve_exact(WHOLE - self.data.len());
        }
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
#[derive(Debug)]
struct Lying<'c> {
    front: Front,
    /// The domain, where the row has a number in its place.
    name: Option<&'c [u8]>,
    whole: &'c [u8],
}

/// Room for the rows of a block, used for one after the other: getting it from the system costs more
/// than filling it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    order: Vec<Lying<'static>>,
    columns: ColumnRoom,
    press: Press,
}

impl Room {
    /// Gives it up if it is larger than for so many rows, or their content than so many octets.
    pub(crate) fn shrink_to(&mut self, rows: usize, octets: usize) {
        if self.order.capacity() > rows || self.press.capacity() > octets {
            *self = Self::default();
        }
    }
}

/// Shows all rows of all chunks as columns, by their times, with what a block is made in.
pub(crate) fn in_order<T>(
    chunks: &[Arc<Chunk>],
    room: &mut Room,
    show: impl FnOnce(&Columns<'_>, &mut Press) -> T,
) -> T {
    let count = chunks.iter().map(|chunk| chunk.rows).sum();
    let mut order = emptied(std::mem::take(&mut room.order));
    order.reserve(count);
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
    let mut rows = Columns::with_capacity(count, std::mem::take(&mut room.columns));
    for row in &order {
        rows.push_whole(&row.front, row.whole, row.name);
    }
    let shown = show(&rows, &mut room.press);
    room.columns = rows.into_room();
    room.order = emptied(order);
    shown
}

/// An empty list in the memory of one whose elements are as large. The library collects in place.
pub(crate) fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().map_while(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(times: &[u64]) -> Chunk {
        let mut chunk = Chunk::default();
        for &time in times {
            let mut row = Row::default();
            row.set(Number::Time, time);
            chunk.push(&row);
        }
        chunk
    }

    fn all(chunk: &Chunk) -> Vec<u64> {
        let rows = chunk.rows();
        rows.map(|row| row.number(Number::Time)).collect()
    }

    #[test]
    fn small_chunks_follow_each_other_while_there_is_room() {
        let mut first = chunk(&[5, 3]);
        assert!(!first.append(&chunk(&[4; 500])), "no room was made");
        first.make_room();
        let capacity = first.data.capacity();
        assert!(first.append(&chunk(&[4, 9])));
        let half = first.data.len();
        assert!(first.append(&chunk(&[1])));
        assert_eq!((first.rows, first.times), (5, (1, 9)));
        assert_eq!(all(&first), [5, 3, 4, 9, 1]);
        assert_eq!(all(&first.after(half)), [1]);
        assert_eq!(first.after(half).times, (1, 1));
        while first.append(&chunk(&[7; 100])) {}
        assert_eq!(first.data.capacity(), capacity, "it never grows");
        let large = chunk(&vec![7; 10_000]);
        assert!(large.data.len() > SMALL);
        let mut other = Chunk::default();
        other.make_room();
        assert!(!other.append(&large), "large ones stay apart");
    }

    #[test]
    fn domains_come_with_their_rows() {
        let named = |number: u32, domain: &str| {
            let mut row = Row::default();
            let name = crate::row::name_number(number);
            row.set_text(Text::ServerName, &name);
            let mut chunk = Chunk::default();
            chunk.push(&row);
            chunk.domains.insert(number, domain.into());
            chunk
        };
        let mut first = named(1, "a");
        first.make_room();
        assert!(first.append(&named(2, "b")) && first.append(&named(1, "a")));
        let domains: Vec<_> = first
            .rows()
            .map(|row| row.text(Text::ServerName).to_vec())
            .collect();
        assert_eq!(domains, [b"a", b"b", b"a"]);
    }

    #[test]
    fn room_is_used_again() {
        let mut room = Room::default();
        for round in 1..4_u64 {
            let chunks = [Arc::new(chunk(&[round + 1, round])), Arc::new(chunk(&[0]))];
            let before = room.order.as_ptr();
            let count = in_order(&chunks, &mut room, |rows, _| rows.len());
            assert_eq!(count, 3);
            assert!(round == 1 || before == room.order.as_ptr());
            assert!(room.order.is_empty() && room.order.capacity() >= 3);
        }
        room.shrink_to(2, usize::MAX);
        assert_eq!(room.order.capacity(), 0);
        in_order(&[Arc::new(chunk(&[0]))], &mut room, |rows, press| {
            rows.encode(press);
        });
        room.shrink_to(2, 0);
        assert_eq!((room.order.capacity(), room.press.capacity()), (0, 0));
    }
}
