//! The thread that takes rows from the rings.

mod blocks;
mod handover;
mod shared;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rtrb::Consumer;
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use crate::access_log::{AccessLogError, Names, Observer};
use crate::chunk::{Chunk, Room};
use crate::journal::Journal;
use crate::ring::take;
use crate::row::{Front, Row, Text};
use crate::segments::Segments;
use crate::targets::{Open, Targets};

pub use shared::Sink;
pub(crate) use shared::{Order, Shared, lock};

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
#[path = "writer/tests.rs"]
mod tests;
