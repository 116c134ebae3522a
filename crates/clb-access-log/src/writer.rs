//! The thread that takes rows from the rings, and what the rest of the program sees of it.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use rtrb::Consumer;
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use crate::block::{Block, Columns};
use crate::journal::Journal;
use crate::notable::Notable;
use crate::query::{Chunk, Page, Query, Source, run};
use crate::ring::{Bell, Sender, take};
use crate::row::{Front, Row, Text};
use crate::segments::{Keep, Segments};
use crate::targets::{Open, Targets};

/// Rows of a block: enough to compress well, few enough that one is quickly read.
const BLOCK_ROWS: usize = 8_192;
/// Octets of rows after which a block is closed whatever it has.
const BLOCK_BYTES: usize = 8 * 1024 * 1024;
/// A block spans no more time, so that what is old can be removed.
const BLOCK_SPAN_US: u64 = 3_600 * 1_000_000;
/// How long rows are gathered in the rings while there are any.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the journal is written, and how long the thread sleeps at most: a worker's bell may go
/// unheard.
const JOURNAL: Duration = Duration::from_secs(1);
/// How often old segments are looked for.
const EXPIRY: Duration = Duration::from_secs(60);
/// How long a query waits for the rows that are in the rings, should the disk be slow.
const FRESH: Duration = Duration::from_secs(2);
/// The thread's priority (nice(2)): a quarter of a core where two compete, and it needs less.
const PRIORITY: i32 = 5;
/// Domains that are kept at hand.
const KNOWN_DOMAINS: usize = 65_536;
/// How often a failure is logged.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// The domain that a [number](crate::name_number) stands for.
pub type Names = Box<dyn Fn(u32) -> Option<Arc<str>> + Send>;

/// Who is told of rows that have a [trace](Text::Trace), in the log's own thread.
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

#[derive(Debug, Default)]
struct State {
    blocks: Vec<Arc<Block>>,
    /// What is in no block yet, the oldest first.
    open: Vec<Arc<Chunk>>,
    bytes: u64,
}

#[derive(Debug)]
struct Shared {
    bell: Arc<Bell>,
    state: Mutex<State>,
    notable: Mutex<Notable>,
    settings: Mutex<(Settings, bool)>,
    waiting: Mutex<Vec<SyncSender<()>>>,
    stops: AtomicBool,
    written: AtomicU64,
    dropped_disk: AtomicU64,
    dropped_target: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The access log of one gateway.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    senders: Vec<Mutex<Option<Sender>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens what is in the folder, which is made if it is not there, and starts the thread. `rule`
    /// shows the number of a rule as its id.
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
        let folder = |source| AccessLogError::Folder {
            folder: dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(folder)?;
        let segments = Segments::open(dir).map_err(folder)?;
        let (journal, data) = Journal::open(dir, segments.next()).map_err(folder)?;
        let targets = open_targets(settings.targets.clone(), rule, hostname)?;
        let bell = Arc::new(Bell::default());
        bell.is_enabled.store(settings.enabled, Ordering::Relaxed);
        let rings = (0..workers).map(|_| Sender::new(settings.ring_bytes, &bell));
        let (senders, rings): (Vec<_>, Vec<_>) = rings.unzip();
        let shared = Arc::new(Shared {
            bell: Arc::clone(&bell),
            state: Mutex::default(),
            notable: Mutex::default(),
            settings: Mutex::new((settings, false)),
            waiting: Mutex::default(),
            stops: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped_disk: AtomicU64::new(0),
            dropped_target: AtomicU64::new(0),
        });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            rings,
            segments,
            journal,
            targets,
            names,
            observer,
            domains: HashMap::new(),
            rule,
            hostname: hostname.to_owned(),
            usual: 0,
            journaled: 0,
            journal_due: Instant::now(),
            expiry_due: Instant::now(),
            complained: None,
        };
        writer.recover(&data);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())
            .map_err(AccessLogError::Thread)?;
        bell.set_thread(thread.thread().clone());
        Ok(Self {
            shared,
            senders: senders
                .into_iter()
                .map(|one| Mutex::new(Some(one)))
                .collect(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A worker's end of its ring, once.
    #[must_use]
    pub fn sender(&self, worker: usize) -> Option<Sender> {
        lock(self.senders.get(worker)?).take()
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
            let blocks: usize = state.blocks.iter().map(|block| block.head.rows).sum();
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
fn now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

fn open_targets(
    targets: Targets,
    rule: fn(u64) -> String,
    hostname: &str,
) -> Result<Open, AccessLogError> {
    let has_file = targets.file.is_some();
    Open::new(targets, TimeZone::system(), rule, hostname)
        .map_err(|error| AccessLogError::Target(if has_file { "file" } else { "syslog" }, error))
}

struct Writer {
    shared: Arc<Shared>,
    rings: Vec<Consumer<u8>>,
    segments: Segments,
    journal: Journal,
    targets: Open,
    names: Names,
    observer: Option<Observer>,
    domains: HashMap<u32, Arc<str>>,
    rule: fn(u64) -> String,
    hostname: String,
    /// Octets that were in the rings the last time.
    usual: usize,
    /// Of the open chunks, how many the journal has.
    journaled: usize,
    journal_due: Instant,
    expiry_due: Instant,
    /// When a failure was logged last.
    complained: Option<Instant>,
}

impl Writer {
    /// Takes in what the last run has left.
    fn recover(&mut self, journal: &[u8]) {
        let mut chunk = Chunk::default();
        let mut data = journal;
        while let Some(row) = Row::read(&mut data) {
            chunk.push(&row);
        }
        let mut state = lock(&self.shared.state);
        state.blocks = self.segments.blocks().cloned().collect();
        state.bytes = self.segments.bytes();
        if chunk.rows > 0 {
            state.open.push(Arc::new(chunk));
            self.journaled = 1;
        }
    }

    fn run(mut self) {
        // Where it has to share a core with a worker, the worker comes first. It fails only where
        // priorities are not allowed at all.
        let _ = setpriority_process(Some(gettid()), PRIORITY);
        loop {
            let stops = self.shared.stops.load(Ordering::Acquire);
            let waiting = std::mem::take(&mut *lock(&self.shared.waiting));
            let is_busy = self.drain();
            waiting.into_iter().for_each(|done| {
                // Whoever has stopped waiting has its answer without.
                let _ = done.try_send(());
            });
            if stops {
                self.follow_settings();
                self.write_journal();
                self.flush_targets();
                return;
            }
            self.follow_settings();
            self.keep_house();
            match is_busy {
                true => thread::park_timeout(PAUSE),
                false => self.sleep(),
            }
        }
    }

    /// Sleeps until a worker has a row, or it is time for something.
    fn sleep(&self) {
        self.shared.bell.will_sleep(true);
        let is_quiet = self.rings.iter().all(|ring| ring.slots() == 0)
            && lock(&self.shared.waiting).is_empty();
        if is_quiet {
            thread::park_timeout(JOURNAL);
        }
        self.shared.bell.will_sleep(false);
    }

    /// Takes what is in the rings; whether there was anything.
    fn drain(&mut self) -> bool {
        let mut rows = Vec::with_capacity(self.usual);
        for ring in &mut self.rings {
            take(ring, &mut rows);
        }
        if rows.is_empty() {
            return false;
        }
        self.usual = rows.len();
        let has_targets = self.observer.is_some() || self.targets.targets() != &Targets::default();
        let mut chunk = Chunk::default();
        let mut looked_at = Vec::new();
        let (mut data, mut last_name) = (rows.as_slice(), 0);
        while let Some((front, whole)) = Front::take(&mut data) {
            if front.name != last_name {
                last_name = front.name;
                if front.name != 0 {
                    let domain = self.domain(front.name);
                    chunk.domains.insert(front.name, domain);
                }
            }
            chunk.has(&front);
            if has_targets || lock(&self.shared.notable).wants(&front) {
                looked_at.push((front.time, whole));
            }
        }
        // The workers' rows one among the other.
        looked_at.sort_by_key(|(time, _)| *time);
        for (_, whole) in looked_at {
            self.look_at(&chunk, whole, has_targets);
        }
        self.shared
            .written
            .fetch_add(chunk.rows as u64, Ordering::Relaxed);
        // All of it at once: no row is copied by itself.
        chunk.data = rows;
        self.add(chunk);
        true
    }

    /// What is done with a row besides.
    fn look_at(&mut self, chunk: &Chunk, mut whole: &[u8], has_targets: bool) {
        let Some(row) = Row::read(&mut whole) else {
            return;
        };
        let row = chunk.named(row);
        lock(&self.shared.notable).see(&row);
        if let Some(observer) = &mut self.observer
            && !row.text(Text::Trace).is_empty()
        {
            observer(&row);
        }
        if has_targets && let Err(error) = self.targets.take(&row) {
            self.target_failed(&error);
        }
    }

    fn domain(&mut self, number: u32) -> Arc<str> {
        // What a number stands for never changes.
        if self.domains.len() > KNOWN_DOMAINS {
            self.domains.clear();
        }
        let (domains, names) = (&mut self.domains, &self.names);
        let domain = domains
            .entry(number)
            .or_insert_with(|| names(number).unwrap_or_default());
        Arc::clone(domain)
    }

    fn target_failed(&mut self, error: &io::Error) {
        self.shared.dropped_target.fetch_add(1, Ordering::Relaxed);
        self.complain("access_log.file can not be written", error);
    }

    /// Adds rows to the open block and closes it when it is full.
    fn add(&mut self, chunk: Chunk) {
        let is_full = {
            let mut state = lock(&self.shared.state);
            state.open.push(Arc::new(chunk));
            let rows: usize = state.open.iter().map(|chunk| chunk.rows).sum();
            let bytes: usize = state.open.iter().map(|chunk| chunk.data.len()).sum();
            rows >= BLOCK_ROWS || bytes >= BLOCK_BYTES
        };
        if is_full {
            self.close();
        }
    }

    /// Makes a block of what is open.
    fn close(&mut self) {
        let chunks = lock(&self.shared.state).open.clone();
        let mut order: Vec<(u64, &Chunk, &[u8])> = Vec::new();
        for chunk in &chunks {
            let mut data = chunk.data.as_slice();
            while let Some((front, whole)) = Front::take(&mut data) {
                order.push((front.time, chunk, whole));
            }
        }
        // Those of one worker are in order; the sort takes them as runs.
        order.sort_by_key(|(time, ..)| *time);
        let mut rows = Columns::default();
        for (_, chunk, mut whole) in order {
            if let Some(row) = Row::read(&mut whole) {
                rows.push(&chunk.named(row));
            }
        }
        let keep = self.keep();
        let written = self.segments.append(&rows, &keep);
        let lost = rows.len() as u64;
        {
            let mut state = lock(&self.shared.state);
            state.open.drain(..chunks.len());
            state.blocks = self.segments.blocks().cloned().collect();
            state.bytes = self.segments.bytes();
        }
        if let Err(error) = written {
            self.shared.dropped_disk.fetch_add(lost, Ordering::Relaxed);
            self.complain("the access log can not be written, rows are lost", &error);
        }
        self.journal.begin(self.segments.next());
        self.journaled = 0;
    }

    fn keep(&self) -> Keep {
        let (settings, _) = &*lock(&self.shared.settings);
        Keep {
            retention: settings.retention,
            max_bytes: settings.max_bytes,
        }
    }

    fn keep_house(&mut self) {
        let now = Instant::now();
        if now >= self.journal_due {
            self.journal_due = now + JOURNAL;
            self.write_journal();
            self.flush_targets();
        }
        if now >= self.expiry_due {
            self.expiry_due = now + EXPIRY;
            self.expire();
        }
    }

    fn write_journal(&mut self) {
        let chunks = lock(&self.shared.state).open.clone();
        let mut fresh = Vec::new();
        // With the domains in them: numbers mean nothing after a restart.
        let rows = chunks
            .iter()
            .skip(self.journaled)
            .flat_map(|chunk| chunk.rows());
        rows.for_each(|row| row.write(&mut fresh));
        if fresh.is_empty() {
            return;
        }
        match self.journal.append(&fresh) {
            Ok(()) => self.journaled = chunks.len(),
            // They are still in memory, and the next second tries again.
            Err(error) => self.complain("the access log's journal can not be written", &error),
        }
    }

    fn flush_targets(&mut self) {
        if let Err(error) = self.targets.flush() {
            self.target_failed(&error);
        }
        if let Err(error) = self.targets.follow() {
            self.complain("access_log.file can not be opened anew", &error);
        }
    }

    fn expire(&mut self) {
        let (keep, now) = (self.keep(), now_us());
        let first = lock(&self.shared.state)
            .open
            .first()
            .map(|chunk| chunk.times.0);
        if first.is_some_and(|first| now.saturating_sub(first) > BLOCK_SPAN_US) {
            self.close();
        }
        self.segments.expire(now, &keep);
        let mut state = lock(&self.shared.state);
        state.blocks = self.segments.blocks().cloned().collect();
        state.bytes = self.segments.bytes();
    }

    /// Takes over what [`AccessLog::reload`] has brought.
    fn follow_settings(&mut self) {
        let settings = {
            let mut settings = lock(&self.shared.settings);
            match std::mem::take(&mut settings.1) {
                true => settings.0.clone(),
                false => return,
            }
        };
        if *self.targets.targets() != settings.targets {
            match open_targets(settings.targets, self.rule, &self.hostname) {
                Ok(targets) => {
                    self.flush_targets();
                    self.targets = targets;
                }
                Err(error) => tracing::error!("SIGHUP: the old target stays: {error}"),
            }
        }
        if let Err(error) = self.targets.follow() {
            self.complain("access_log.file can not be opened anew", &error);
        }
        self.expire();
    }

    fn complain(&mut self, what: &str, error: &io::Error) {
        if self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAINTS)
        {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "{what}");
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
