//! Taking the folder, and leaving it to another process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::blocks::beyond;
use super::{Disk, Order, Sink, Writer, lock, open_targets};
use crate::access_log::AccessLogError;
use crate::chunk::Chunk;
use crate::journal::Journal;
use crate::row::Row;
use crate::segments::Segments;

/// Octets after which no more rows are sent away together; the last of them may go beyond it, by
/// 16 KiB at most.
const AWAY_BYTES: usize = 32 * 1024;

/// Rows that were written one after the other; `each` is shown every one.
fn read_rows<'d>(mut data: &'d [u8], mut each: impl FnMut(&'d [u8])) -> Chunk {
    let mut chunk = Chunk::default();
    loop {
        let whole = data;
        let Some(row) = Row::read(&mut data) else {
            return chunk;
        };
        chunk.push(&row);
        each(whole);
    }
}

impl Writer {
    /// Opens the folder and takes in what the last one who had it has left.
    ///
    /// # Errors
    /// [`AccessLogError`]; nothing is open then.
    pub(crate) fn open(&mut self) -> Result<(), AccessLogError> {
        let folder = |source| AccessLogError::Folder {
            folder: self.dir.clone(),
            source,
        };
        let segments = Segments::open(&self.dir).map_err(folder)?;
        let (journal, rows) = Journal::open(&self.dir, segments.next()).map_err(folder)?;
        let targets = lock(&self.shared.settings).0.targets.clone();
        let targets = open_targets(targets, self.rule, &self.hostname)?;
        let chunk = read_rows(&rows, |_| {});
        let mut state = lock(&self.shared.state);
        state.blocks = segments.blocks().cloned().collect();
        state.bytes = segments.bytes();
        self.journaled = 0;
        if chunk.rows > 0 {
            self.journaled = chunk.data.len();
            state.open.insert(0, Arc::new(chunk));
        }
        drop(state);
        self.disk = Some(Disk {
            segments,
            journal,
            targets,
        });
        self.away = None;
        Ok(())
    }

    /// Writes everything down and leaves the folder to another process; rows go there from now on.
    fn hand_over(&mut self, sink: Sink) {
        self.drain();
        self.write_journal();
        self.flush_targets();
        self.disk = None;
        // What the journal has is the other's now.
        let journaled = std::mem::take(&mut self.journaled);
        let mut state = lock(&self.shared.state);
        let open = std::mem::take(&mut state.open);
        let rest = beyond(&open, journaled).map(|(chunk, start)| match start {
            0 => Arc::clone(chunk),
            start => Arc::new(chunk.after(start)),
        });
        state.open = rest.collect();
        drop(state);
        self.away = Some(sink);
    }

    pub(super) fn follow_orders(&mut self) {
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            // Whoever has stopped waiting does not want to know.
            match order {
                Order::Open(done) => drop(done.try_send(self.open())),
                Order::HandOver(sink, done) => {
                    self.hand_over(sink);
                    let _ = done.try_send(());
                }
                Order::TakeIn(rows) => self.take_in(&rows),
            }
        }
    }

    /// Takes rows in that another process has had.
    pub(super) fn take_in(&mut self, rows: &[u8]) {
        let mut shown = Vec::new();
        let chunk = read_rows(rows, |whole| shown.push(whole));
        for whole in shown {
            self.look_at(&chunk, whole, true);
        }
        let count = chunk.rows as u64;
        self.shared.written.fetch_add(count, Ordering::Relaxed);
        if chunk.rows > 0 {
            // Not from `spare`, so it does not go there: that would grow as long as rows come.
            drop(self.add(chunk));
        }
    }

    /// Sends the open rows to the process that has the folder now; they stay while it does not
    /// take them.
    pub(super) fn send_away(&mut self) {
        let Some(sink) = &mut self.away else {
            return;
        };
        let chunks = std::mem::take(&mut lock(&self.shared.state).open);
        let mut sent = 0;
        let mut some = Vec::new();
        for chunk in &chunks {
            let mut rows = chunk.rows();
            let result = loop {
                some.clear();
                while some.len() < AWAY_BYTES
                    && let Some(row) = rows.next()
                {
                    row.write(&mut some);
                }
                match some.is_empty() {
                    true => break Ok(()),
                    false => {
                        if let Err(error) = sink(&some) {
                            break Err(error);
                        }
                    }
                }
            };
            if let Err(error) = result {
                self.complain("the successor does not take rows of the access log", &error);
                break;
            }
            sent += 1;
        }
        let mut state = lock(&self.shared.state);
        let rest = chunks.into_iter().skip(sent);
        state.open = rest.chain(std::mem::take(&mut state.open)).collect();
    }
}
