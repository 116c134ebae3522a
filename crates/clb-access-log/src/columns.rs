//! Columns of a block: numbers in as few octets as they need, texts as a list of the different ones
//! and a number for each row; each part compressed by itself.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use crate::row::{push_number, take_number};

/// What is known of a part without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Part {
    /// Numbers: the least of them.
    pub(crate) base: u64,
    /// Numbers: octets of each one above the least; 0: all are the same.
    pub(crate) width: u8,
    /// Octets when it is not compressed.
    pub(crate) raw: u32,
    /// Octets in the file; as many as `raw`: it is not compressed.
    pub(crate) stored: u32,
    /// Check sum of those in the file.
    pub(crate) sum: u32,
}

/// The width of codes that are the rows' own places: every row has a text of its own.
const OWN: u8 = u8::MAX;

/// Where the parts of a block are made; used for one block after the other, so that the program's
/// memory is not a megabyte more whenever one is closed.
#[derive(Default)]
pub(crate) struct Press {
    /// The parts, one after the other.
    content: Vec<u8>,
    /// A part before it is compressed.
    raw: Vec<u8>,
    codes: Vec<u64>,
    /// The different texts of a column: the first row that has one, and its code.
    known: HashTable<(usize, u64)>,
    hasher: foldhash::fast::RandomState,
    table: CompressTable,
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press")
            .field("content", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl Press {
    /// Forgets the last block.
    pub(crate) fn clear(&mut self) {
        self.content.clear();
    }

    /// The parts, one after the other.
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Octets that it holds for the next block.
    pub(crate) fn capacity(&self) -> usize {
        let codes = self.codes.capacity() * size_of::<u64>();
        let known = self.known.capacity() * size_of::<(usize, u64)>();
        self.content.capacity() + self.raw.capacity() + codes + known
    }

    /// Appends what is in `raw`.
    fn store(&mut self, base: u64, width: u8) -> Part {
        let start = self.content.len();
        let most = get_maximum_output_size(self.raw.len());
        self.content.resize(start + most, 0);
        let room = self.content.get_mut(start..).unwrap_or_default();
        let compressed = compress_into_with_table(&self.raw, room, &mut self.table);
        match compressed {
            Ok(length) if length < self.raw.len() => self.content.truncate(start + length),
            _ => {
                self.content.truncate(start);
                self.content.extend_from_slice(&self.raw);
            }
        }
        let stored = self.content.get(start..).unwrap_or_default();
        let length = |data: &[u8]| u32::try_from(data.len()).unwrap_or(u32::MAX);
        Part {
            base,
            width,
            raw: length(&self.raw),
            stored: length(stored),
            sum: crc32fast::hash(stored),
        }
    }

    /// Appends numbers.
    pub(crate) fn numbers(&mut self, numbers: &[u64]) -> Part {
        let base = numbers.iter().copied().min().unwrap_or(0);
        let most = numbers.iter().copied().max().unwrap_or(0) - base;
        let width = usize::try_from((u64::BITS - most.leading_zeros()).div_ceil(8)).unwrap_or(8);
        // All lowest octets first: they differ, while those above often are the same in all rows,
        // which compresses to nothing.
        self.raw.clear();
        self.raw.reserve(numbers.len() * width);
        for octet in 0..width {
            self.raw.extend(
                numbers
                    .iter()
                    .map(|number| ((number - base) >> (8 * octet)) as u8),
            );
        }
        self.store(base, width as u8)
    }

    /// Appends texts: the different ones, and which one each row has.
    pub(crate) fn texts(&mut self, texts: &[&[u8]], are_ids: bool) -> [Part; 2] {
        self.raw.clear();
        if are_ids {
            // No two are the same.
            texts.iter().for_each(|text| push_text(text, &mut self.raw));
            let entries = self.store(0, 0);
            let codes = Part {
                width: OWN,
                ..Part::default()
            };
            return [entries, codes];
        }
        let mut codes = std::mem::take(&mut self.codes);
        codes.clear();
        self.known.clear();
        let mut last: Option<(&[u8], u64)> = None;
        for (row, &text) in texts.iter().enumerate() {
            let code = match last {
                // Cheaper than looking it up, and of most columns most rows are as the one before.
                Some((before, code)) if before == text => code,
                _ => self.code(texts, row, text),
            };
            last = Some((text, code));
            codes.push(code);
        }
        let entries = self.store(0, 0);
        let numbers = self.numbers(&codes);
        self.codes = codes;
        [entries, numbers]
    }

    /// The code of a row's text, which is appended to `raw` if it is the first of its kind.
    fn code(&mut self, texts: &[&[u8]], row: usize, text: &[u8]) -> u64 {
        let next = self.known.len() as u64;
        let of = |row: usize| texts.get(row).copied().unwrap_or_default();
        let entry = self.known.entry(
            self.hasher.hash_one(text),
            |&(first, _)| of(first) == text,
            |&(first, _)| self.hasher.hash_one(of(first)),
        );
        match entry {
            Entry::Occupied(known) => known.get().1,
            Entry::Vacant(place) => {
                place.insert((row, next));
                push_text(text, &mut self.raw);
                next
            }
        }
    }
}

impl Part {
    /// Whether the part has nothing to be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.stored == 0
    }

    /// What the part was before it was compressed; `None` if it is damaged.
    fn load(&self, stored: &[u8]) -> Option<Vec<u8>> {
        if crc32fast::hash(stored) != self.sum {
            return None;
        }
        let raw = usize::try_from(self.raw).ok()?;
        match self.stored == self.raw {
            true => Some(stored.to_vec()),
            false => lz4_flex::block::decompress(stored, raw).ok(),
        }
    }

    /// The numbers of all rows.
    pub(crate) fn numbers(&self, stored: &[u8], rows: usize) -> Option<Vec<u64>> {
        if self.width == OWN {
            return Some((0..rows as u64).collect());
        }
        let mut numbers = vec![self.base; rows];
        if self.width == 0 {
            return Some(numbers);
        }
        let raw = self.load(stored)?;
        if raw.len() != rows.checked_mul(self.width.into())? {
            return None;
        }
        for (octet, plane) in raw.chunks_exact(rows.max(1)).enumerate() {
            for (number, value) in numbers.iter_mut().zip(plane) {
                *number = number.wrapping_add(u64::from(*value) << (8 * octet));
            }
        }
        Some(numbers)
    }

    /// The different texts.
    pub(crate) fn texts(&self, stored: &[u8]) -> Option<Texts> {
        let raw = self.load(stored)?;
        let (mut ends, mut octets) = (Vec::new(), Vec::with_capacity(raw.len()));
        let mut rest = raw.as_slice();
        while !rest.is_empty() {
            take_text(&mut rest, &mut octets)?;
            ends.push(octets.len());
        }
        Some(Texts { ends, octets })
    }
}

/// A list of texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    ends: Vec<usize>,
    octets: Vec<u8>,
}

impl Texts {
    pub(crate) fn get(&self, place: u64) -> Option<&[u8]> {
        let place = usize::try_from(place).ok()?;
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.octets.get(start..*self.ends.get(place)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u64).filter_map(|place| self.get(place))
    }
}

/// Digits of an id of the gateway's own.
const ID_DIGITS: usize = 32;

/// Appends a text with its length; the gateway's own ids, which are half of what a block has, in
/// half of the octets.
fn push_text(text: &[u8], out: &mut Vec<u8>) {
    if text.len() == ID_DIGITS
        && let Some(octets) = packed(text)
    {
        out.push(1);
        return out.extend_from_slice(&octets);
    }
    push_number((text.len() as u64) << 1, out);
    out.extend_from_slice(text);
}

fn take_text(data: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let head = take_number(data)?;
    let is_packed = head & 1 == 1;
    let length = match is_packed {
        true => ID_DIGITS / 2,
        false => usize::try_from(head >> 1).ok()?,
    };
    let (text, rest) = data.split_at_checked(length)?;
    *data = rest;
    if !is_packed {
        out.extend_from_slice(text);
        return Some(());
    }
    let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8);
    out.extend(
        text.iter()
            .flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]),
    );
    Some(())
}

/// The value of each octet that is a lowercase hexadecimal digit.
#[expect(
    clippy::indexing_slicing,
    reason = "of a constant, so the compiler would say it"
)]
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xff;

/// Lowercase hexadecimal digits as octets.
fn packed(text: &[u8]) -> Option<[u8; ID_DIGITS / 2]> {
    let digit = |octet: u8| DIGITS.get(usize::from(octet)).copied().unwrap_or(NO_DIGIT);
    let (mut octets, mut all) = ([0; ID_DIGITS / 2], 0);
    let (pairs, _) = text.as_chunks::<2>();
    for (place, [high, low]) in octets.iter_mut().zip(pairs) {
        let (high, low) = (digit(*high), digit(*low));
        all |= high | low;
        *place = high << 4 | low;
    }
    (all < 16).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_the_same_in_all_rows_takes_no_room() {
        let mut press = Press::default();
        let part = press.numbers(&[7; 1_000]);
        assert!(press.content().is_empty() && part.is_empty());
        assert_eq!(part.numbers(&[], 3), Some(vec![7; 3]));
    }

    #[test]
    fn an_id_takes_half_of_its_digits() {
        let id = b"0123456789abcdef0123456789abcdef";
        let mut out = Vec::new();
        push_text(id, &mut out);
        assert_eq!(out.len(), 17);
        let upper = b"0123456789ABCDEF0123456789abcdef";
        push_text(upper, &mut out);
        let (mut rest, mut back) = (out.as_slice(), Vec::new());
        take_text(&mut rest, &mut back);
        take_text(&mut rest, &mut back);
        assert_eq!(back, [*id, *upper].concat());
    }

    #[test]
    fn damage_is_seen() {
        let mut press = Press::default();
        let part = press.numbers(&[1, 2, 3, 400]);
        let mut out = press.content().to_vec();
        assert!(part.numbers(&out, 4).is_some());
        out[1] ^= 1;
        assert_eq!(part.numbers(&out, 4), None);
    }

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 1..300), shift in 0u32..64) {
            let numbers: Vec<u64> = numbers.iter().map(|number| number >> shift).collect();
            let mut press = Press::default();
            let part = press.numbers(&numbers);
            prop_assert_eq!(part.numbers(press.content(), numbers.len()), Some(numbers));
        }

        #[test]
        fn texts_come_back(
            columns in prop::collection::vec(
                (prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..300), any::<bool>()),
                1..4,
            ),
        ) {
            // One press for all: nothing of a column is left for the next.
            let mut press = Press::default();
            for (texts, are_ids) in columns {
                let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
                press.clear();
                let [entries, codes] = press.texts(&texts, are_ids);
                let (first, second) = press.content().split_at(entries.stored as usize);
                let list = entries.texts(first).unwrap();
                let codes = codes.numbers(second, texts.len()).unwrap();
                let back: Vec<&[u8]> = codes.iter().map(|&code| list.get(code).unwrap()).collect();
                prop_assert_eq!(back, texts);
            }
        }
    }
}
