//! What the rest of the program sees of the access log.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::query::{Page, Query, Source, run};
use crate::ring::{End, Home, Sender};
use crate::row::Row;
use crate::targets::Targets;
use crate::writer::{Order, Shared, Sink, Writer, lock};

/// How long a query waits for the rows that are in the rings, should the disk be slow.
const FRESH: Duration = Duration::from_secs(2);

/// The domain that a [number](crate::name_number) stands for.
pub type Names = Box<dyn Fn(u32) -> Option<Arc<str>> + Send>;

/// Who is told of rows that have a [trace](crate::Text::Trace), in the log's own thread.
pub type Observer = Box<dyn FnMut(&Row<'_>) + Send>;

/// `[access_log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether workers hand rows over.
    pub enabled: bool,
    /// How long rows are kept.
    pub retention: Duration,
    /// Octets of all segments.
    pub max_bytes: u64,
    /// Octets of each worker's ring (`limits.access_log_ring`).
    pub ring_bytes: usize,
    /// Where rows go besides.
    pub targets: Targets,
}

/// Why the log can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The folder of the segments.
    #[error("access log: {path}: {source}", path = folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `access_log.file` or `access_log.syslog`.
    #[error("access_log.{0}: {1}")]
    Target(&'static str, #[source] io::Error),
    /// The thread.
    #[error("access log: the thread can not be started: {0}")]
    Thread(#[source] io::Error),
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Rows that were taken from the rings.
    pub written: u64,
    /// Rows that found their ring full.
    pub dropped_ring: u64,
    /// Rows that could not be written to a segment.
    pub dropped_disk: u64,
    /// Lines that could not be written to an extra target.
    pub dropped_target: u64,
    /// Octets of all segments.
    pub bytes: u64,
    /// Rows that can be asked for.
    pub rows: u64,
}

/// The access log of one gateway.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    senders: Vec<Home>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Makes the folder if it is not there, and starts the thread. Rows wait, as far as there is
    /// room, until the folder is [opened](Self::open). `rule` shows the number of a rule as its
    /// id.
    ///
    /// # Errors
    /// [`AccessLogError`]
    pub fn start(
        dir: &Path,
        settings: Settings,
        workers: usize,
        names: Names,
        observer: Option<Observer>,
        rule: fn(u64) -> String,
        hostname: &str,
    ) -> Result<Self, AccessLogError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| AccessLogError::Folder {
                folder: dir.to_owned(),
                source,
            })?;
        let ring_bytes = settings.ring_bytes;
        let shared = Arc::new(Shared::new(settings));
        let bell = &shared.bell;
        let rings = (0..workers).map(|_| End::new(ring_bytes, bell));
        let (senders, rings): (Vec<_>, Vec<_>) = rings.unzip();
        let shown = (rule, hostname);
        let writer = Writer::new(&shared, rings, dir, (names, observer), shown);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())
            .map_err(AccessLogError::Thread)?;
        bell.set_thread(thread.thread().clone());
        Ok(Self {
            shared,
            senders: senders
                .into_iter()
                .map(|end| Arc::new(Mutex::new(Some(end))))
                .collect(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Opens what is in the folder, and the extra targets; at the start, and again when a process
    /// to which they were [handed over](Self::hand_over) has gone. One process at a time.
    ///
    /// # Errors
    /// [`AccessLogError`]
    pub fn open(&self) -> Result<(), AccessLogError> {
        let (done, is_done) = sync_channel(1);
        self.order(Order::Open(done));
        let gone = |_| AccessLogError::Thread(io::Error::other("it has ended"));
        is_done.recv().map_err(gone)?
    }

    /// Writes down what there is and leaves the folder and the targets to another process; `sink`
    /// takes what is recorded from now on. Rows that it does not take wait, as far as there is
    /// room.
    pub fn hand_over(&self, sink: Sink) {
        let (done, is_done) = sync_channel(1);
        self.order(Order::HandOver(sink, done));
        // An error means that the thread has ended and all is written down.
        let _ = is_done.recv();
    }

    /// Takes rows in from another process's [sink](Self::hand_over).
    pub fn take_in(&self, rows: Vec<u8>) {
        self.order(Order::TakeIn(rows));
    }

    fn order(&self, order: Order) {
        lock(&self.shared.orders).push(order);
        self.shared.bell.wake();
    }

    /// A worker's end of its ring, unless somebody has it.
    #[must_use]
    pub fn sender(&self, worker: usize) -> Option<Sender> {
        Sender::take(self.senders.get(worker)?)
    }

    /// Answers a query, with all rows that were handed over before. Blocks while files are read.
    ///
    /// # Errors
    /// What reading a segment gives.
    pub fn query(&self, query: &Query) -> io::Result<Page> {
        self.refresh();
        let sources = {
            let state = lock(&self.shared.state);
            let blocks = state.blocks.iter().cloned().map(Source::Block);
            let chunks = state.open.iter().cloned().map(Source::Chunk);
            blocks.chain(chunks).collect()
        };
        run(sources, query)
    }

    /// Has the rings emptied.
    fn refresh(&self) {
        let (done, is_done) = sync_channel(1);
        lock(&self.shared.waiting).push(done);
        self.shared.bell.wake();
        // An error means that it took too long, or that the thread has stopped and all is there.
        let _ = is_done.recv_timeout(FRESH);
    }

    /// The last requests that failed, the latest first.
    #[must_use]
    pub fn failing(&self) -> Page {
        self.refresh();
        Page::of(lock(&self.shared.notable).failing())
    }

    /// The slowest requests of the last minutes, the slowest first.
    #[must_use]
    pub fn slowest(&self, minutes: u64) -> Page {
        self.refresh();
        Page::of(lock(&self.shared.notable).slowest(now_us(), minutes))
    }

    /// Whether workers hand rows over.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.bell.is_enabled.load(Ordering::Relaxed)
    }

    /// Takes new settings over, except for the size of the rings, and follows a file that was
    /// renamed. What can not be opened is logged, and the old target stays.
    pub fn reload(&self, settings: Settings) {
        let is_enabled = settings.enabled;
        *lock(&self.shared.settings) = (settings, true);
        self.shared
            .bell
            .is_enabled
            .store(is_enabled, Ordering::Relaxed);
        self.shared.bell.wake();
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (bytes, rows) = {
            let state = lock(&self.shared.state);
            let blocks: usize = state.blocks.iter().map(|block| block.rows).sum();
            let open: usize = state.open.iter().map(|chunk| chunk.rows).sum();
            (state.bytes, blocks + open)
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            written: read(&self.shared.written),
            dropped_ring: read(&self.shared.bell.dropped),
            dropped_disk: read(&self.shared.dropped_disk),
            dropped_target: read(&self.shared.dropped_target),
            bytes,
            rows: rows as u64,
        }
    }

    /// Writes down what is there and ends the thread; for when the workers have ended.
    pub fn stop(&self) {
        self.shared.stops.store(true, Ordering::Release);
        self.shared.bell.wake();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's thread panicked");
        }
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
