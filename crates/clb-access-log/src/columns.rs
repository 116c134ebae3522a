//! Columns of a block: numbers in as few octets as they need, texts as a list of the different ones
//! and a number for each row; each part compressed by itself.

use hashbrown::HashMap;

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

impl Part {
    /// Appends the part to `out`.
    fn store(base: u64, width: u8, raw: &[u8], out: &mut Vec<u8>) -> Self {
        let compressed = lz4_flex::block::compress(raw);
        let stored = match compressed.len() < raw.len() {
            true => compressed.as_slice(),
            false => raw,
        };
        out.extend_from_slice(stored);
        let length = |data: &[u8]| u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self {
            base,
            width,
            raw: length(raw),
            stored: length(stored),
            sum: crc32fast::hash(stored),
        }
    }

    /// Appends numbers to `out`.
    pub(crate) fn of_numbers(numbers: &[u64], out: &mut Vec<u8>) -> Self {
        let base = numbers.iter().copied().min().unwrap_or(0);
        let most = numbers.iter().copied().max().unwrap_or(0) - base;
        let width = usize::try_from((u64::BITS - most.leading_zeros()).div_ceil(8)).unwrap_or(8);
        // All lowest octets first: they differ, while those above often are the same in all rows,
        // which compresses to nothing.
        let mut raw = Vec::with_capacity(numbers.len() * width);
        for octet in 0..width {
            raw.extend(
                numbers
                    .iter()
                    .map(|number| ((number - base) >> (8 * octet)) as u8),
            );
        }
        Self::store(base, width as u8, &raw, out)
    }

    /// Appends texts to `out`: the different ones, and which one each row has.
    pub(crate) fn of_texts(texts: &[&[u8]], are_ids: bool, out: &mut Vec<u8>) -> [Self; 2] {
        let mut list = Vec::new();
        if are_ids {
            // No two are the same.
            texts.iter().for_each(|text| push_text(text, &mut list));
            let entries = Self::store(0, 0, &list, out);
            let codes = Self {
                width: OWN,
                ..Self::default()
            };
            return [entries, codes];
        }
        let mut known: HashMap<&[u8], u64, foldhash::fast::RandomState> = HashMap::default();
        let mut codes = Vec::with_capacity(texts.len());
        let mut last: Option<(&[u8], u64)> = None;
        for &text in texts {
            let code = match last {
                // Cheaper than looking it up, and of most columns most rows are as the one before.
                Some((before, code)) if before == text => code,
                _ => {
                    let next = known.len() as u64;
                    *known.entry(text).or_insert_with(|| {
                        push_text(text, &mut list);
                        next
                    })
                }
            };
            last = Some((text, code));
            codes.push(code);
        }
        let entries = Self::store(0, 0, &list, out);
        [entries, Self::of_numbers(&codes, out)]
    }

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
        let mut out = Vec::new();
        let part = Part::of_numbers(&[7; 1_000], &mut out);
        assert!(out.is_empty() && part.is_empty());
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
        let mut out = Vec::new();
        let part = Part::of_numbers(&[1, 2, 3, 400], &mut out);
        assert!(part.numbers(&out, 4).is_some());
        out[1] ^= 1;
        assert_eq!(part.numbers(&out, 4), None);
    }

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 1..300), shift in 0u32..64) {
            let numbers: Vec<u64> = numbers.iter().map(|number| number >> shift).collect();
            let mut out = Vec::new();
            let part = Part::of_numbers(&numbers, &mut out);
            prop_assert_eq!(part.numbers(&out, numbers.len()), Some(numbers));
        }

        #[test]
        fn texts_come_back(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..300),
            are_ids in any::<bool>(),
        ) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let mut out = Vec::new();
            let [entries, codes] = Part::of_texts(&texts, are_ids, &mut out);
            let (first, second) = out.split_at(entries.stored as usize);
            let list = entries.texts(first).unwrap();
            let codes = codes.numbers(second, texts.len()).unwrap();
            let back: Vec<&[u8]> = codes.iter().map(|&code| list.get(code).unwrap()).collect();
            prop_assert_eq!(back, texts);
        }
    }
}
