//! The thread that takes rows from the rings.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rtrb::Consumer;
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use crate::access_log::{AccessLogError, Names, Observer, Settings, now_us};
use crate::block::Block;
use crate::chunk::{Chunk, in_order};
use crate::journal::Journal;
use crate::notable::Notable;
use crate::ring::{Bell, take};
use crate::row::{Front, NUMBERS, Row, Text};
use crate::segments::{Keep, Segments};
use crate::targets::{Open, Targets};

/// Rows of a block: enough to compress well, few enough that one is quickly read.
const BLOCK_ROWS: usize = 8_192;
/// Octets of rows after which a block is closed whatever it has.
const BLOCK_BYTES: usize = 8 * 1024 * 1024;
/// Numbers of the largest block whose room is kept.
const MOST_ROOM: usize = 4 * BLOCK_ROWS * NUMBERS;
/// A block spans no more time, so that what is old can be removed.
const BLOCK_SPAN_US: u64 = 3_600 * 1_000_000;
/// How long rows are gathered in the rings while there are any.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the journal is written, and how long the thread sleeps at most: a worker's bell may go
/// unheard.
const JOURNAL: Duration = Duration::from_secs(1);
/// How often old segments are looked for.
const EXPIRY: Duration = Duration::from_secs(60);
/// The thread's priority (nice(2)): a quarter of a core where two compete, and it needs less.
const PRIORITY: i32 = 5;
/// Domains that are kept at hand.
const KNOWN_DOMAINS: usize = 65_536;
/// How often a failure is logged.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// The rows that can be asked for.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blocks: Vec<Arc<Block>>,
    /// What is in no block yet, the oldest first.
    pub(crate) open: Vec<Arc<Chunk>>,
    pub(crate) bytes: u64,
}

/// What the thread and the [`AccessLog`](crate::AccessLog) have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bell: Arc<Bell>,
    pub(crate) state: Mutex<State>,
    pub(crate) notable: Mutex<Notable>,
    /// With whether they are new.
    pub(crate) settings: Mutex<(Settings, bool)>,
    /// Whom to tell that the rings have been emptied.
    pub(crate) waiting: Mutex<Vec<SyncSender<()>>>,
    pub(crate) stops: AtomicBool,
    pub(crate) written: AtomicU64,
    pub(crate) dropped_disk: AtomicU64,
    pub(crate) dropped_target: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the extra targets.
pub(crate) fn open_targets(
    targets: Targets,
    rule: fn(u64) -> String,
    hostname: &str,
) -> Result<Open, AccessLogError> {
    let has_file = targets.file.is_some();
    Open::new(targets, TimeZone::system(), rule, hostname)
        .map_err(|error| AccessLogError::Target(if has_file { "file" } else { "syslog" }, error))
}

/// The thread's own.
pub(crate) struct Writer {
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
    /// Room for chunks and for a block, from the last ones: getting it from the system time and
    /// again would cost more than filling it.
    spare: Vec<Vec<u8>>,
    room: Vec<u64>,
    /// Of the open chunks, how many the journal has.
    journaled: usize,
    journal_due: Instant,
    expiry_due: Instant,
    /// When a failure was logged last.
    complained: Option<Instant>,
}

impl Shared {
    /// Nothing was counted yet.
    pub(crate) fn new(settings: Settings) -> Self {
        let bell = Bell::default();
        bell.is_enabled.store(settings.enabled, Ordering::Relaxed);
        Self {
            bell: Arc::new(bell),
            state: Mutex::default(),
            notable: Mutex::default(),
            settings: Mutex::new((settings, false)),
            waiting: Mutex::default(),
            stops: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped_disk: AtomicU64::new(0),
            dropped_target: AtomicU64::new(0),
        }
    }
}

impl Writer {
    /// Nothing is read or written yet.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        rings: Vec<Consumer<u8>>,
        (segments, journal, targets): (Segments, Journal, Open),
        (names, observer): (Names, Option<Observer>),
        (rule, hostname): (fn(u64) -> String, &str),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
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
            spare: Vec::new(),
            room: Vec::new(),
            journaled: 0,
            journal_due: Instant::now(),
            expiry_due: Instant::now(),
            complained: None,
        }
    }

    /// Takes in what the last run has left.
    pub(crate) fn recover(&mut self, journal: &[u8]) {
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

    pub(crate) fn run(mut self) {
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
        let mut rows = self.spare.pop().unwrap_or_default();
        rows.reserve(self.usual);
        for ring in &mut self.rings {
            take(ring, &mut rows);
        }
        if rows.is_empty() {
            self.spare.push(rows);
            return false;
        }
        self.usual = rows.len();
        let has_targets = self.observer.is_some() || self.targets.targets() != &Targets::default();
        let mut chunk = Chunk::default();
        let mut looked_at = Vec::new();
        let (mut data, mut last_name) = (rows.as_slice(), 0);
        let mut names = Vec::new();
        {
            let notable = lock(&self.shared.notable);
            while let Some((front, whole)) = Front::take(&mut data) {
                if front.name != last_name {
                    last_name = front.name;
                    names.push(front.name);
                }
                chunk.has(&front);
                if has_targets || notable.wants(&front) {
                    looked_at.push((front.time, whole));
                }
            }
        }
        for name in names.into_iter().filter(|name| *name != 0) {
            let domain = self.domain(name);
            chunk.domains.insert(name, domain);
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
        let keep = self.keep();
        let rows = in_order(&chunks, std::mem::take(&mut self.room));
        let written = self.segments.append(&rows, &keep);
        let lost = rows.len() as u64;
        self.room = rows.into_numbers();
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
        self.keep_room(chunks);
    }

    /// Keeps the room of what is in a block now, but for what was unusually large.
    fn keep_room(&mut self, chunks: Vec<Arc<Chunk>>) {
        if self.room.len() > MOST_ROOM {
            self.room = Vec::new();
        }
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
