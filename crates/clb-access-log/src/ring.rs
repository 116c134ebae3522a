//! From a worker to the thread that writes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::row::Row;
use crate::writer::lock;

/// How the workers wake the thread that writes, and what they tell it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// It sleeps until somebody rings.
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
    pub(crate) is_enabled: AtomicBool,
    /// Rows that found no room.
    pub(crate) dropped: AtomicU64,
}

impl Bell {
    /// The thread that is woken from now on.
    pub(crate) fn set_thread(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// To be said before the last look at the rings; whoever pushes afterwards rings.
    pub(crate) fn will_sleep(&self, sleeps: bool) {
        self.sleeps.store(sleeps, Ordering::SeqCst);
    }

    pub(crate) fn ring(&self) {
        // Relaxed, so that it costs a request nothing while the thread is at work. A ring that is
        // missed for it is made good by the thread's own clock, which wakes it once a second.
        if self.sleeps.load(Ordering::Relaxed) && self.sleeps.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The end of a ring into which rows are put.
#[derive(Debug)]
pub(crate) struct End {
    ring: Producer<u8>,
    bell: Arc<Bell>,
    row: Vec<u8>,
}

impl End {
    /// A ring of `bytes` octets.
    pub(crate) fn new(bytes: usize, bell: &Arc<Bell>) -> (Self, Consumer<u8>) {
        let (ring, consumer) = RingBuffer::new(bytes);
        let end = Self {
            ring,
            bell: Arc::clone(bell),
            row: Vec::new(),
        };
        (end, consumer)
    }

    fn send(&mut self, row: &Row<'_>) {
        self.row.clear();
        row.write(&mut self.row);
        match self.ring.push_entire_slice(&self.row) {
            Ok(()) => self.bell.ring(),
            Err(_) => {
                self.bell.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Where the end of a worker's ring lies while no worker has it.
pub(crate) type Home = Arc<Mutex<Option<End>>>;

/// A worker's end of its ring. It goes back when this is dropped: a worker that is started anew
/// takes it again.
#[derive(Debug)]
pub struct Sender {
    end: Option<End>,
    home: Home,
}

impl Sender {
    /// Takes the end, if it is there.
    pub(crate) fn take(home: &Home) -> Option<Self> {
        let end = lock(home).take()?;
        Some(Self {
            end: Some(end),
            home: Arc::clone(home),
        })
    }

    /// Whether rows are wanted (`access_log.enabled`).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        let end = self.end.as_ref();
        end.is_some_and(|end| end.bell.is_enabled.load(Ordering::Relaxed))
    }

    /// Hands a row over. Never waits: where there is no room, the row is counted as dropped.
    pub fn send(&mut self, row: &Row<'_>) {
        if let Some(end) = &mut self.end {
            end.send(row);
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        *lock(&self.home) = self.end.take();
    }
}

/// Appends all that a ring has to `out`; how many
/// octets that were. Rows are pushed whole, so what is there ends with one.
pub(crate) fn take(ring: &mut Consumer<u8>, out: &mut Vec<u8>) -> usize {
    let length = ring.slots();
    let Ok(chunk) = ring.read_chunk(length) else {
        return 0;
    };
    let (first, second) = chunk.as_slices();
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    chunk.commit_all();
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Number;

    #[test]
    fn a_full_ring_drops_and_counts_and_goes_on_afterwards() {
        let bell = Arc::new(Bell::default());
        let (mut sender, mut ring) = End::new(100, &bell);
        let mut row = Row::default();
        for number in 0..10 {
            row.set(Number::Time, number);
            sender.send(&row);
        }
        let dropped = bell.dropped.load(Ordering::Relaxed);
        assert!(dropped > 0 && dropped < 10);
        let mut out = Vec::new();
        take(&mut ring, &mut out);
        let mut data = out.as_slice();
        let mut times = Vec::new();
        while let Some(row) = Row::read(&mut data) {
            times.push(row.number(Number::Time));
        }
        assert_eq!(times, (0..10 - dropped).collect::<Vec<_>>());
        sender.send(&row);
        assert_eq!(bell.dropped.load(Ordering::Relaxed), dropped);
        assert!(take(&mut ring, &mut out) > 0);
    }
}
