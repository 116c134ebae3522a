//! A block: some thousands of rows in a segment, by column.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::chunk::emptied;
use crate::columns::{Part, Press, Texts};
use crate::row::{Front, NUMBERS, Number, Row, TEXTS, Text, push_number, take_number};

/// What a block begins with: its mark, and the version of its form.
const MARK: [u8; 4] = *b"CLA1";
/// Octets of the mark, of the head's length, of the content's length and of the head's check sum.
pub(crate) const PREFIX: usize = 20;
/// No head is longer.
const LONGEST_HEAD: usize = 64 * 1024;

/// What a block tells before its columns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    rows: usize,
    /// Of the first row, and of the last: microseconds since 1970.
    pub(crate) times: (u64, u64),
    numbers: [Part; NUMBERS],
    /// Entries and codes of each.
    texts: [[Part; 2]; TEXTS],
}

/// A block in a segment. Of its head only what tells whether a query concerns it: a kilobyte for
/// each, as long as the rows are kept, would be a gateway that grows for a month.
#[derive(Debug)]
pub(crate) struct Block {
    file: Arc<File>,
    /// Where it begins.
    offset: u64,
    pub(crate) rows: usize,
    /// Of the first row, and of the last: microseconds since 1970.
    pub(crate) times: (u64, u64),
}

/// A block whose columns can be read.
#[derive(Debug)]
pub(crate) struct OpenBlock<'a> {
    file: &'a File,
    /// Where its content begins.
    content: u64,
    head: Head,
}

/// Rows on their way into a block, by column.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    /// One column after the other.
    numbers: Vec<u64>,
    texts: Vec<&'a [u8]>,
    rows: usize,
    /// There is room for so many.
    capacity: usize,
}

/// Places between two columns that stay free. A row goes to one place in each of 32 columns; were
/// those a power of two apart, they would compete for the same few lines of the cache.
const GAP: usize = 8;

/// Room for columns.
#[derive(Debug, Default)]
pub(crate) struct ColumnRoom {
    numbers: Vec<u64>,
    texts: Vec<&'static [u8]>,
}

impl<'a> Columns<'a> {
    /// Room for so many rows, in that [of the last block](Self::into_room).
    pub(crate) fn with_capacity(capacity: usize, room: ColumnRoom) -> Self {
        let stride = capacity + GAP;
        let mut numbers = room.numbers;
        numbers.resize(stride * NUMBERS, 0);
        let mut texts: Vec<&[u8]> = emptied(room.texts);
        texts.resize(stride * TEXTS, b"");
        Self {
            numbers,
            texts,
            rows: 0,
            capacity,
        }
    }

    /// The room for the next block.
    pub(crate) fn into_room(self) -> ColumnRoom {
        ColumnRoom {
            numbers: self.numbers,
            texts: emptied(self.texts),
        }
    }

    /// Adds a row as it travels, which is not earlier than the last one; `name` is what stands in
    /// the place of a number for the server name. Nothing of what is no row, or has no room.
    pub(crate) fn push_whole(&mut self, front: &Front, whole: &'a [u8], name: Option<&'a [u8]>) {
        if self.rows == self.capacity {
            return;
        }
        let stride = self.capacity + GAP;
        let (mut number_at, mut text_at) = (self.rows, self.rows);
        let read = front.read_rest(
            whole,
            |number| {
                *self.numbers.get_mut(number_at)? = number;
                number_at += stride;
                Some(())
            },
            |text| {
                *self.texts.get_mut(text_at)? = text;
                text_at += stride;
                Some(())
            },
        );
        if read.is_none() {
            return;
        }
        if let Some(name) = name
            && let Some(place) = self
                .texts
                .get_mut(Text::ServerName as usize * stride + self.rows)
        {
            *place = name;
        }
        self.rows += 1;
    }

    /// Of rows in the order of their times.
    #[cfg(test)]
    pub(crate) fn of(rows: &[Row<'a>]) -> Self {
        let mut columns = Self::with_capacity(rows.len(), ColumnRoom::default());
        let stride = columns.capacity + GAP;
        for (at, row) in rows.iter().enumerate() {
            for (which, number) in row.numbers.iter().enumerate() {
                columns.numbers[which * stride + at] = *number;
            }
            for (which, text) in row.texts.iter().enumerate() {
                columns.texts[which * stride + at] = text;
            }
            columns.rows += 1;
        }
        columns
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// One of the columns that lie in `all`.
    fn column<'c, T>(&self, all: &'c [T], which: usize) -> &'c [T] {
        let start = which * (self.capacity + GAP);
        all.get(start..start + self.rows).unwrap_or_default()
    }

    /// Makes the block's content in the press, and its head.
    pub(crate) fn encode(&self, press: &mut Press) -> Head {
        press.clear();
        let numbers =
            Number::ALL.map(|number| press.numbers(self.column(&self.numbers, number as usize)));
        let texts = Text::ALL.map(|text| {
            let column = self.column(&self.texts, text as usize);
            press.texts(column, text == Text::Id)
        });
        let times = self.column(&self.numbers, Number::Time as usize);
        let time = |time: Option<&u64>| time.copied().unwrap_or(0);
        Head {
            rows: self.len(),
            times: (time(times.first()), time(times.last())),
            numbers,
            texts,
        }
    }
}

impl Head {
    /// What stands before so many octets of content.
    pub(crate) fn before(&self, content: usize) -> Vec<u8> {
        let mut head = Vec::new();
        push_number(self.rows as u64, &mut head);
        push_number(self.times.0, &mut head);
        push_number(self.times.1, &mut head);
        for part in self.parts() {
            push_number(part.base, &mut head);
            push_number(part.width.into(), &mut head);
            push_number(part.raw.into(), &mut head);
            push_number(part.stored.into(), &mut head);
            push_number(part.sum.into(), &mut head);
        }
        let mut out = Vec::with_capacity(PREFIX + head.len());
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&(head.len() as u32).to_le_bytes());
        out.extend_from_slice(&(content as u64).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        out.extend_from_slice(&head);
        out
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.numbers.iter().chain(self.texts.iter().flatten())
    }

    fn read(mut data: &[u8]) -> Option<Self> {
        let data = &mut data;
        let mut head = Self {
            rows: usize::try_from(take_number(data)?).ok()?,
            times: (take_number(data)?, take_number(data)?),
            numbers: [Part::default(); NUMBERS],
            texts: [[Part::default(); 2]; TEXTS],
        };
        let parts = head.numbers.iter_mut();
        for part in parts.chain(head.texts.iter_mut().flatten()) {
            *part = Part {
                base: take_number(data)?,
                width: u8::try_from(take_number(data)?).ok()?,
                raw: u32::try_from(take_number(data)?).ok()?,
                stored: u32::try_from(take_number(data)?).ok()?,
                sum: u32::try_from(take_number(data)?).ok()?,
            };
        }
        Some(head)
    }
}

/// Finds the head of the block at `offset`, and where its content begins and ends; `None` where
/// there is none, or not all of the block before `end`.
fn find_head(file: &File, offset: u64, end: u64) -> io::Result<Option<(Head, u64, u64)>> {
    if end.saturating_sub(offset) < PREFIX as u64 {
        return Ok(None);
    }
    let mut prefix = [0; PREFIX];
    file.read_exact_at(&mut prefix, offset)?;
    let [mark @ .., a, b, c, d] = prefix;
    let sum = u32::from_le_bytes([a, b, c, d]);
    let [m0, m1, m2, m3, h0, h1, h2, h3, content @ ..] = mark;
    let length = u64::from(u32::from_le_bytes([h0, h1, h2, h3]));
    let content = u64::from_le_bytes(content);
    let begin = offset + PREFIX as u64 + length;
    let next = begin.checked_add(content);
    let Some(next) = next.filter(|next| *next <= end) else {
        return Ok(None);
    };
    if [m0, m1, m2, m3] != MARK || length > LONGEST_HEAD as u64 {
        return Ok(None);
    }
    let mut head = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut head, offset + PREFIX as u64)?;
    if crc32fast::hash(&head) != sum {
        return Ok(None);
    }
    Ok(Head::read(&head).map(|head| (head, begin, next)))
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a block of the access log is damaged",
    )
}

impl Block {
    /// The block with this head that was written at `offset`.
    pub(crate) fn written(file: Arc<File>, offset: u64, head: &Head) -> Self {
        Self {
            file,
            offset,
            rows: head.rows,
            times: head.times,
        }
    }

    /// Finds the block at `offset`, and where the next one begins; `None` where there is none, or
    /// not all of it.
    ///
    /// # Errors
    /// What reading the file gives.
    pub(crate) fn find(file: &Arc<File>, offset: u64, end: u64) -> io::Result<Option<(Self, u64)>> {
        let found = find_head(file, offset, end)?;
        Ok(found.map(|(head, _, next)| (Self::written(Arc::clone(file), offset, &head), next)))
    }

    /// Reads its head.
    ///
    /// # Errors
    /// What reading the file gives; `InvalidData` for a damaged head.
    pub(crate) fn open(&self) -> io::Result<OpenBlock<'_>> {
        let (head, content, _) =
            find_head(&self.file, self.offset, u64::MAX)?.ok_or_else(damaged)?;
        Ok(OpenBlock {
            file: &self.file,
            content,
            head,
        })
    }
}

impl OpenBlock<'_> {
    /// Reads a part; `which` is its place among all.
    fn part<T>(&self, which: usize, load: impl FnOnce(&Part, &[u8]) -> Option<T>) -> io::Result<T> {
        let before = self.head.parts().take(which);
        let offset: u64 = before.map(|part| u64::from(part.stored)).sum();
        let part = self
            .head
            .parts()
            .nth(which)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut stored = vec![0; usize::try_from(part.stored).unwrap_or(0)];
        if !part.is_empty() {
            self.file
                .read_exact_at(&mut stored, self.content + offset)?;
        }
        load(part, &stored).ok_or_else(damaged)
    }

    /// One number of all rows.
    ///
    /// # Errors
    /// What reading the file gives; `InvalidData` for a damaged block.
    pub(crate) fn numbers(&self, number: Number) -> io::Result<Vec<u64>> {
        self.part(number as usize, |part, data| {
            part.numbers(data, self.head.rows)
        })
    }

    /// The number that all rows have, if they all have the same.
    pub(crate) fn same(&self, number: Number) -> Option<u64> {
        let part = self.head.numbers.get(number as usize)?;
        (part.width == 0).then_some(part.base)
    }

    /// The different texts of a column.
    ///
    /// # Errors
    /// As of [`numbers`](Self::numbers).
    pub(crate) fn texts(&self, text: Text) -> io::Result<Texts> {
        self.part(NUMBERS + 2 * text as usize, Part::texts)
    }

    /// Which of the texts each row has.
    ///
    /// # Errors
    /// As of [`numbers`](Self::numbers).
    pub(crate) fn codes(&self, text: Text) -> io::Result<Vec<u64>> {
        self.part(NUMBERS + 2 * text as usize + 1, |part, data| {
            part.numbers(data, self.head.rows)
        })
    }

    /// Gives some of the rows, in the order in which they are asked for.
    ///
    /// # Errors
    /// As of [`numbers`](Self::numbers).
    pub(crate) fn rows(&self, places: &[usize], mut each: impl FnMut(&Row<'_>)) -> io::Result<()> {
        let numbers = Number::ALL.map(|number| self.numbers(number));
        let numbers: Vec<Vec<u64>> = numbers.into_iter().collect::<io::Result<_>>()?;
        let texts = Text::ALL.map(|text| Ok((self.texts(text)?, self.codes(text)?)));
        let texts: Vec<(Texts, Vec<u64>)> = texts.into_iter().collect::<io::Result<_>>()?;
        for &place in places {
            let mut row = Row::default();
            for (to, column) in row.numbers.iter_mut().zip(&numbers) {
                *to = column.get(place).copied().unwrap_or(0);
            }
            for (to, (list, codes)) in row.texts.iter_mut().zip(&texts) {
                let code = codes.get(place).copied().unwrap_or(0);
                *to = list.get(code).unwrap_or_default();
            }
            each(&row);
        }
        Ok(())
    }
}
