//! What becomes of the open rows: the journal, then a block.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Shared, Writer, lock};
use crate::access_log::now_us;
use crate::chunk::{Chunk, in_order};
use crate::segments::Keep;

/// Rows of a block: enough to compress well, few enough that one is quickly read.
const BLOCK_ROWS: usize = 8_192;
/// Octets of rows after which a block is closed whatever it has.
const BLOCK_BYTES: usize = 8 * 1024 * 1024;
/// Octets of rows that wait at most while there is no folder to write them to.
const MOST_WAITING: usize = 4 * BLOCK_BYTES;
/// Rows of the largest block whose room is kept.
const MOST_ROOM: usize = 4 * BLOCK_ROWS;
/// Octets of what its content was made in, at most, if that is kept.
const MOST_PRESS: usize = BLOCK_BYTES / 2;
/// A block spans no more time, so that what is old can be removed.
const BLOCK_SPAN_US: u64 = 3_600 * 1_000_000;

fn keep(shared: &Shared) -> Keep {
    let (settings, _) = &*lock(&shared.settings);
    Keep {
        retention: settings.retention,
        max_bytes: settings.max_bytes,
    }
}

/// What of the chunks lies beyond so many octets: where in each it begins.
pub(super) fn beyond(
    chunks: &[Arc<Chunk>],
    octets: usize,
) -> impl Iterator<Item = (&Arc<Chunk>, usize)> {
    let mut before = 0;
    chunks.iter().filter_map(move |chunk| {
        let start = octets.saturating_sub(before);
        before += chunk.data.len();
        (start < chunk.data.len()).then_some((chunk, start))
    })
}

impl Writer {
    /// Adds rows to the open block and closes it when it is full. Gives back what they lay in, if
    /// they were copied.
    pub(super) fn add(&mut self, mut chunk: Chunk) -> Option<Vec<u8>> {
        let mut left = None;
        let is_full = {
            let mut state = lock(&self.shared.state);
            // A query may have the last chunk. Those that are sent away one by one are small.
            let last = state.open.last_mut().and_then(Arc::get_mut);
            let last = last.filter(|_| self.disk.is_some());
            if last.is_some_and(|last| last.append(&chunk)) {
                chunk.data.clear();
                left = Some(chunk.data);
            } else {
                chunk.make_room();
                state.open.push(Arc::new(chunk));
            }
            let rows: usize = state.open.iter().map(|chunk| chunk.rows).sum();
            let bytes: usize = state.open.iter().map(|chunk| chunk.data.len()).sum();
            rows >= BLOCK_ROWS || bytes >= BLOCK_BYTES
        };
        if is_full {
            self.close();
        }
        left
    }

    /// Makes a block of what is open; without a folder, loses what is too much.
    fn close(&mut self) {
        let Some(disk) = &mut self.disk else {
            return self.lose_oldest();
        };
        let chunks = lock(&self.shared.state).open.clone();
        let keep = keep(&self.shared);
        let (written, lost) = in_order(&chunks, &mut self.room, |rows, press| {
            (disk.segments.append(rows, press, &keep), rows.len() as u64)
        });
        {
            let mut state = lock(&self.shared.state);
            state.open.drain(..chunks.len());
            state.blocks = disk.segments.blocks().cloned().collect();
            state.bytes = disk.segments.bytes();
        }
        disk.journal.begin(disk.segments.next());
        self.journaled = 0;
        if let Err(error) = written {
            self.shared.dropped_disk.fetch_add(lost, Ordering::Relaxed);
            self.complain("the access log can not be written, rows are lost", &error);
        }
        self.keep_room(chunks);
    }

    /// There is no folder to write to, for a moment or for a successor that has gone.
    fn lose_oldest(&mut self) {
        let mut state = lock(&self.shared.state);
        let mut octets: usize = state.open.iter().map(|chunk| chunk.data.len()).sum();
        let mut lost = 0;
        while octets > MOST_WAITING {
            let chunk = state.open.remove(0);
            octets -= chunk.data.len();
            lost += chunk.rows as u64;
        }
        drop(state);
        self.shared.dropped_disk.fetch_add(lost, Ordering::Relaxed);
    }

    /// Keeps the room of what is in a block now, but for what was unusually large.
    fn keep_room(&mut self, chunks: Vec<Arc<Chunk>>) {
        self.room.shrink_to(MOST_ROOM, MOST_PRESS);
        let mut octets: usize = self.spare.iter().map(Vec::capacity).sum();
        // A query may still have some of them.
        for chunk in chunks.into_iter().filter_map(Arc::into_inner) {
            octets += chunk.data.capacity();
            if octets > BLOCK_BYTES {
                return;
            }
            let mut data = chunk.data;
            data.clear();
            self.spare.push(data);
        }
    }

    pub(super) fn write_journal(&mut self) {
        let Some(disk) = &mut self.disk else {
            return;
        };
        let chunks = lock(&self.shared.state).open.clone();
        let mut fresh = Vec::new();
        // With the domains in them: numbers mean nothing after a restart.
        for (chunk, start) in beyond(&chunks, self.journaled) {
            let rows = chunk.rows_from(start);
            rows.for_each(|row| row.write(&mut fresh));
        }
        if fresh.is_empty() {
            return;
        }
        match disk.journal.append(&fresh) {
            Ok(()) => self.journaled = chunks.iter().map(|chunk| chunk.data.len()).sum(),
            // They are still in memory, and the next second tries again.
            Err(error) => self.complain("the access log's journal can not be written", &error),
        }
    }

    pub(super) fn expire(&mut self) {
        let (keep, now) = (keep(&self.shared), now_us());
        let first = lock(&self.shared.state)
            .open
            .first()
            .map(|chunk| chunk.times.0);
        if first.is_some_and(|first| now.saturating_sub(first) > BLOCK_SPAN_US) {
            self.close();
        }
        let Some(disk) = &mut self.disk else {
            return;
        };
        disk.segments.expire(now, &keep);
        let mut state = lock(&self.shared.state);
        state.blocks = disk.segments.blocks().cloned().collect();
        state.bytes = disk.segments.bytes();
    }
}
