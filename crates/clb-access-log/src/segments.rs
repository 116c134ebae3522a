//! The files of the blocks.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::block::{Block, Columns, Head};
use crate::columns::Press;

/// How much time a segment spans at most, for whole segments are removed.
const SPAN_US: u64 = 3_600 * 1_000_000;
/// And which part of all that is kept.
const SHARE: u64 = 8;

const SUFFIX: &str = "rows";

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) retention: Duration,
    pub(crate) max_bytes: u64,
}

/// A file of blocks.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: Arc<File>,
    /// Octets of whole blocks.
    end: u64,
    blocks: Vec<Arc<Block>>,
}

impl Segment {
    fn times(&self) -> Option<(u64, u64)> {
        let first = self.blocks.iter().map(|block| block.times.0).min()?;
        let last = self.blocks.iter().map(|block| block.times.1).max()?;
        Some((first, last))
    }
}

/// All segments of a folder, the oldest first. One owner at a time: the state folder is locked.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    list: Vec<Segment>,
    /// The number of the next block; a segment is called by that of its first one.
    next: u64,
}

impl Segments {
    /// Opens what is in the folder. What follows the last whole block of a segment, for the machine
    /// went down while it was written, is cut off.
    ///
    /// # Errors
    /// What the folder or a file in it gives.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let mut names: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number = stem.and_then(|stem| stem.parse().ok());
            if let (Some(number), Some(SUFFIX)) =
                (number, path.extension().and_then(|suffix| suffix.to_str()))
            {
                names.push((number, path));
            }
        }
        names.sort();
        let mut segments = Self {
            dir: dir.to_owned(),
            list: Vec::new(),
            next: 0,
        };
        for (number, path) in names {
            let segment = load(path)?;
            segments.next = number.max(segments.next) + segment.blocks.len() as u64;
            segments.list.push(segment);
        }
        Ok(segments)
    }

    /// The number of the next block.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// All blocks, the oldest first.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.list.iter().flat_map(|segment| &segment.blocks)
    }

    /// Octets of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.end).sum()
    }

    /// Writes rows, by way of the press, as one block; removes the oldest segments if there is no
    /// room for it.
    ///
    /// # Errors
    /// What writing gives; then nothing of the block is kept.
    pub(crate) fn append(
        &mut self,
        rows: &Columns<'_>,
        press: &mut Press,
        keep: &Keep,
    ) -> io::Result<()> {
        let head = rows.encode(press);
        let content = press.content();
        let before = head.before(content.len());
        let length = (before.len() + content.len()) as u64;
        self.make_room(length, keep.max_bytes);
        if self.needs_another(&head, keep.max_bytes) {
            self.add_segment()?;
        }
        let Some(segment) = self.list.last_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let offset = segment.end;
        // The head last: what has none is no block.
        let written = segment
            .file
            .write_all_at(content, offset + before.len() as u64)
            .and_then(|()| segment.file.write_all_at(&before, offset));
        if let Err(error) = written {
            // So that the next block follows the last whole one.
            let _ = segment.file.set_len(offset);
            return Err(error);
        }
        segment.end += length;
        let block = Block::written(Arc::clone(&segment.file), offset, &head);
        segment.blocks.push(Arc::new(block));
        self.next += 1;
        Ok(())
    }

    fn needs_another(&self, head: &Head, max_bytes: u64) -> bool {
        let Some(segment) = self.list.last() else {
            return true;
        };
        let spans = |(first, _): (u64, u64)| head.times.1.saturating_sub(first) > SPAN_US;
        segment.end >= max_bytes / SHARE || segment.times().is_some_and(spans)
    }

    fn add_segment(&mut self) -> io::Result<()> {
        let path = self.dir.join(format!("{:016}.{SUFFIX}", self.next));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        self.list.push(Segment {
            path,
            file: Arc::new(file),
            end: 0,
            blocks: Vec::new(),
        });
        Ok(())
    }

    fn make_room(&mut self, bytes: u64, max_bytes: u64) {
        while !self.list.is_empty() && self.bytes() + bytes > max_bytes {
            self.remove_first();
        }
    }

    /// Removes what is too old; `now_us`: microseconds since 1970.
    pub(crate) fn expire(&mut self, now_us: u64, keep: &Keep) {
        let retention = u64::try_from(keep.retention.as_micros()).unwrap_or(u64::MAX);
        let oldest = now_us.saturating_sub(retention);
        while let Some(segment) = self.list.first()
            && segment.times().is_none_or(|(_, last)| last < oldest)
        {
            self.remove_first();
        }
        self.make_room(0, keep.max_bytes);
    }

    fn remove_first(&mut self) {
        let segment = self.list.remove(0);
        if let Err(error) = fs::remove_file(&segment.path) {
            let path = segment.path.display();
            tracing::warn!(%path, %error, "an old segment of the access log can not be removed");
        }
    }
}

fn load(path: PathBuf) -> io::Result<Segment> {
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let length = file.metadata()?.len();
    let file = Arc::new(file);
    let (mut end, mut blocks) = (0, Vec::new());
    while let Some((block, next)) = Block::find(&file, end, length)? {
        blocks.push(Arc::new(block));
        end = next;
    }
    if end < length {
        let (path, octets) = (path.display(), length - end);
        tracing::warn!(%path, octets, "the end of a segment of the access log is no block: cut off");
        file.set_len(end)?;
    }
    Ok(Segment {
        path,
        file,
        end,
        blocks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Number, Row, Text};

    const KEEP: Keep = Keep {
        retention: Duration::from_secs(100),
        max_bytes: 1 << 20,
    };

    fn rows(times: std::ops::Range<u64>) -> Columns<'static> {
        let row = |time| {
            let mut row = Row::default();
            row.set(Number::Time, time);
            row.set_text(Text::Line, b"GET / HTTP/1.1");
            row
        };
        Columns::of(&times.map(row).collect::<Vec<_>>())
    }

    fn times(segments: &Segments) -> Vec<u64> {
        let columns = segments
            .blocks()
            .map(|block| block.open().unwrap().numbers(Number::Time).unwrap());
        columns.flatten().collect()
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        segments
            .append(&rows(0..10), &mut Press::default(), &KEEP)
            .unwrap();
        segments
            .append(&rows(10..20), &mut Press::default(), &KEEP)
            .unwrap();
        let again = Segments::open(dir.path()).unwrap();
        assert_eq!(times(&again), (0..20).collect::<Vec<_>>());
        assert_eq!((again.next(), again.bytes()), (2, segments.bytes()));
        let block = again.blocks().next().unwrap();
        let mut lines = Vec::new();
        let block = block.open().unwrap();
        block
            .rows(&[3], |row| lines.push(row.text(Text::Line).to_vec()))
            .unwrap();
        assert_eq!(lines, [b"GET / HTTP/1.1"]);
    }

    #[test]
    fn half_a_block_is_cut_off_and_the_next_one_follows_the_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        segments
            .append(&rows(0..10), &mut Press::default(), &KEEP)
            .unwrap();
        let whole = segments.bytes();
        segments
            .append(&rows(10..20), &mut Press::default(), &KEEP)
            .unwrap();
        let path = segments.list[0].path.clone();
        for end in whole..segments.bytes() {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(end).unwrap();
            let mut again = Segments::open(dir.path()).unwrap();
            assert_eq!(again.bytes(), whole, "{end}");
            again
                .append(&rows(30..40), &mut Press::default(), &KEEP)
                .unwrap();
            assert_eq!(times(&again), (0..10).chain(30..40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn content_without_its_head_is_no_block() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        let mut press = Press::default();
        segments.append(&rows(0..10), &mut press, &KEEP).unwrap();
        let whole = segments.bytes();
        // The machine went down between the two writes of the next block.
        let head = rows(10..20)
            .encode(&mut press)
            .before(press.content().len());
        let file = &segments.list[0].file;
        file.write_all_at(press.content(), whole + head.len() as u64)
            .unwrap();
        let mut again = Segments::open(dir.path()).unwrap();
        assert_eq!(again.bytes(), whole);
        again.append(&rows(30..40), &mut press, &KEEP).unwrap();
        assert_eq!(times(&again), (0..10).chain(30..40).collect::<Vec<_>>());
    }

    #[test]
    fn the_oldest_segments_go_when_they_are_too_old_or_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        // Each more than an hour after the other, so each in a segment of its own.
        for hour in 0..4 {
            let start = hour * 2 * SPAN_US;
            segments
                .append(&rows(start..start + 10), &mut Press::default(), &KEEP)
                .unwrap();
        }
        let each = segments.bytes() / 4;
        segments.expire(2 * SPAN_US + 100_000_000, &KEEP);
        assert_eq!(segments.list.len(), 3);
        let keep = Keep {
            max_bytes: each * 5 / 2,
            ..KEEP
        };
        segments.expire(0, &keep);
        assert_eq!(segments.list.len(), 2);
        segments
            .append(&rows(0..10), &mut Press::default(), &keep)
            .unwrap();
        assert!(segments.bytes() <= keep.max_bytes);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            segments.list.len()
        );
    }
}
