//! The thread that takes rows from the rings.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
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
use crate::chunk::{Chunk, Room, in_order};
use crate::journal::Journal;
use crate::notable::Notable;
use crate::ring::{Bell, take};
use crate::row::{Front, Row, Text};
use crate::segments::{Keep, Segments};
use crate::targets::{Open, Targets};

/// Rows of a block: enough to compress well, few enough that one is quickly read.
const BLOCK_ROWS: usize = 8_192;
/// Octets of rows after which a block is closed whatever it has.
const BLOCK_BYTES: usize = 8 * 1024 * 1024;
/// Octets of rows that wait at most while there is no folder to write them to.
const MOST_WAITING: usize = 4 * BLOCK_BYTES;
/// Octets after which no more rows are sent away together; the last of them may go beyond it, by
/// 16 KiB at most.
const AWAY_BYTES: usize = 32 * 1024;
/// Rows of the largest block whose room is kept.
const MOST_ROOM: usize = 4 * BLOCK_ROWS;
/// Octets of what its content was made in, at most, if that is kept.
const MOST_PRESS: usize = BLOCK_BYTES / 2;
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

/// Takes rows that are written one after the other, each with its domain.
pub type Sink = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// What the thread is to do besides.
pub(crate) enum Order {
    /// Open the folder.
    Open(SyncSender<Result<(), AccessLogError>>),
    /// Leave the folder and the targets to another process.
    HandOver(Sink, SyncSender<()>),
    /// Take rows in that another process has had.
    TakeIn(Vec<u8>),
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::HandOver(..) => "HandOver",
            Self::TakeIn(_) => "TakeIn",
        })
    }
}

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
    /// What the thread is to do besides.
    pub(crate) orders: Mutex<Vec<Order>>,
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

/// What is open in the folder and elsewhere.
pub(crate) struct Disk {
    segments: Segments,
    journal: Journal,
    targets: Open,
}

/// The thread's own.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    rings: Vec<Consumer<u8>>,
    dir: PathBuf,
    /// None while another process has the folder.
    disk: Option<Disk>,
    /// Where rows go meanwhile.
    away: Option<Sink>,
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
    room: Room,
    /// Of the open chunks' octets, how many the journal has.
    journaled: usize,
    journal_due: Instant,
    expiry_due: Instant,
    /// When a failure was logged last.
    complained: Option<Instant>,
}

fn keep(shared: &Shared) -> Keep {
    let (settings, _) = &*lock(&shared.settings);
    Keep {
        retention: settings.retention,
        max_bytes: settings.max_bytes,
    }
}

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

/// What of the chunks lies beyond so many octets: where in each it begins.
fn beyond(chunks: &[Arc<Chunk>], octets: usize) -> impl Iterator<Item = (&Arc<Chunk>, usize)> {
    let mut before = 0;
    chunks.iter().filter_map(move |chunk| {
        let start = octets.saturating_sub(before);
        before += chunk.data.len();
        (start < chunk.data.len()).then_some((chunk, start))
    })
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
            orders: Mutex::default(),
            waiting: Mutex::default(),
            stops: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped_disk: AtomicU64::new(0),
            dropped_target: AtomicU64::new(0),
        }
    }
}

impl Writer {
    /// Nothing is read or written before it is told to [open](Order::Open) the folder.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        rings: Vec<Consumer<u8>>,
        dir: &Path,
        (names, observer): (Names, Option<Observer>),
        (rule, hostname): (fn(u64) -> String, &str),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            rings,
            dir: dir.to_owned(),
            disk: None,
            away: None,
            names,
            observer,
            domains: HashMap::new(),
            rule,
            hostname: hostname.to_owned(),
            usual: 0,
            spare: Vec::new(),
            room: Room::default(),
            journaled: 0,
            journal_due: Instant::now(),
            expiry_due: Instant::now(),
            complained: None,
        }
    }

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

    fn follow_orders(&mut self) {
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
    fn take_in(&mut self, rows: &[u8]) {
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
    fn send_away(&mut self) {
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

    pub(crate) fn run(mut self) {
        // Where it has to share a core with a worker, the worker comes first. It fails only where
        // priorities are not allowed at all.
        let _ = setpriority_process(Some(gettid()), PRIORITY);
        loop {
            let stops = self.shared.stops.load(Ordering::Acquire);
            let waiting = std::mem::take(&mut *lock(&self.shared.waiting));
            let is_busy = self.drain();
            self.follow_orders();
            self.send_away();
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
            && lock(&self.shared.waiting).is_empty()
            && lock(&self.shared.orders).is_empty();
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
        // Whoever has the folder has the targets, too.
        let wants_all = self.away.is_none() && (self.observer.is_some() || self.has_targets());
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
                if wants_all || notable.wants(&front) {
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
            self.look_at(&chunk, whole, wants_all);
        }
        self.shared
            .written
            .fetch_add(chunk.rows as u64, Ordering::Relaxed);
        // All of it at once: no row is copied by itself.
        chunk.data = rows;
        let left = self.add(chunk);
        self.spare.extend(left);
        true
    }

    /// What is done with a row besides.
    fn look_at(&mut self, chunk: &Chunk, mut whole: &[u8], wants_all: bool) {
        let Some(row) = Row::read(&mut whole) else {
            return;
        };
        let row = chunk.named(row);
        lock(&self.shared.notable).see(&row);
        if !wants_all {
            return;
        }
        if let Some(observer) = &mut self.observer
            && !row.text(Text::Trace).is_empty()
        {
            observer(&row);
        }
        let taken = self.disk.as_mut().map(|disk| disk.targets.take(&row));
        if let Some(Err(error)) = taken {
            self.target_failed(&error);
        }
    }

    fn has_targets(&self) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| disk.targets.targets() != &Targets::default())
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

    /// Adds rows to the open block and closes it when it is full. Gives back what they lay in, if
    /// they were copied.
    fn add(&mut self, mut chunk: Chunk) -> Option<Vec<u8>> {
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

    fn flush_targets(&mut self) {
        if let Some(Err(error)) = self.disk.as_mut().map(|disk| disk.targets.flush()) {
            self.target_failed(&error);
        }
        self.follow_target();
    }

    fn follow_target(&mut self) {
        if let Some(Err(error)) = self.disk.as_mut().map(|disk| disk.targets.follow()) {
            self.complain("access_log.file can not be opened anew", &error);
        }
    }

    fn expire(&mut self) {
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

    /// Takes over what [`AccessLog::reload`] has brought.
    fn follow_settings(&mut self) {
        let settings = {
            let mut settings = lock(&self.shared.settings);
            match std::mem::take(&mut settings.1) {
                true => settings.0.clone(),
                false => return,
            }
        };
        let is_open = self
            .disk
            .as_ref()
            .map(|disk| disk.targets.targets().clone());
        if is_open.is_some_and(|open| open != settings.targets) {
            match open_targets(settings.targets, self.rule, &self.hostname) {
                Ok(targets) => {
                    self.flush_targets();
                    if let Some(disk) = &mut self.disk {
                        disk.targets = targets;
                    }
                }
                Err(error) => tracing::error!("SIGHUP: the old target stays: {error}"),
            }
        }
        self.follow_target();
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
mod tests {
    use super::*;
    use crate::row::Number;

    #[test]
    fn rows_of_another_process_leave_no_room_behind() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::new(Settings {
            enabled: true,
            retention: Duration::from_secs(3_600),
            max_bytes: 64 << 20,
            ring_bytes: 1 << 20,
            targets: Targets::default(),
        }));
        let names: Names = Box::new(|_| None);
        let shown: (fn(u64) -> String, &str) = (|rule| rule.to_string(), "gate");
        let mut writer = Writer::new(&shared, Vec::new(), dir.path(), (names, None), shown);
        writer.open().unwrap();
        let (mut row, mut rows) = (Row::default(), Vec::new());
        row.set(Number::Time, now_us());
        row.write(&mut rows);
        for _ in 0..100 {
            writer.take_in(&rows);
        }
        assert_eq!(shared.written.load(Ordering::Relaxed), 100);
        assert_eq!(lock(&shared.state).open.len(), 1, "they follow each other");
        assert_eq!(writer.spare.len(), 0);
        writer.write_journal();
        let before = writer.journaled;
        writer.take_in(&rows);
        let chunks = lock(&shared.state).open.clone();
        let rest: usize = beyond(&chunks, before)
            .map(|(chunk, start)| chunk.rows_from(start).count())
            .sum();
        assert_eq!(rest, 1, "the journal has the others");
    }
}
