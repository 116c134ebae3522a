//! The thread that samples, and the answers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clb_snapshot::Board;

use crate::metric::Metric;
use crate::point::Point;
use crate::sampler::Sampler;
use crate::store::{Period, PointStore, Selection, points, sampled};

/// How often the counters are looked at: an object that comes and goes between two looks is missed.
const LOOK: u64 = 10;
const MINUTE: u64 = 60;
/// How long an answer waits for a minute that is over but not stored yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often old points are looked for, seconds.
const EXPIRY: u64 = 600;

/// Why monitoring can not start, or not answer.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The database.
    #[error("monitor.db: {0}")]
    Store(#[from] rusqlite::Error),
    /// The thread.
    #[error("monitoring: the thread can not be started: {0}")]
    Thread(#[source] io::Error),
}

/// A series of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Where the first period begins, Unix seconds.
    pub start: u64,
    /// Where the last one ends.
    pub end: u64,
    /// One for each period; `None` where nothing is known.
    pub values: Vec<Option<f64>>,
}

#[derive(Debug)]
struct Shared {
    state_dir: PathBuf,
    /// The end of the first minute that this run stores.
    first: u64,
    /// The end of the last minute that was stored.
    stored: Mutex<u64>,
    was_stored: Condvar,
    stops: AtomicBool,
    /// Another process keeps the database; this one only adds to it.
    has_left: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The monitoring of one gateway.
#[derive(Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The end of the minute that holds this second.
fn end_of_minute(seconds: u64) -> u64 {
    (seconds / MINUTE + 1) * MINUTE
}

impl Monitor {
    /// Opens `monitor.db` in the folder and starts to sample.
    ///
    /// # Errors
    /// [`MonitorError`]
    pub fn start(state_dir: &Path, board: Arc<Board>) -> Result<Self, MonitorError> {
        let store = PointStore::open(state_dir)?;
        let first = end_of_minute(unix_now().as_secs());
        let shared = Arc::new(Shared {
            state_dir: state_dir.to_owned(),
            first,
            stored: Mutex::new(store.last_minute()?),
            was_stored: Condvar::new(),
            stops: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
        });
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            sampler: Sampler::new(board),
            store,
            minute: first,
            expired: 0,
        };
        let thread = thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(move || keeper.run())
            .map_err(MonitorError::Thread)?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The points of the selected series: one for each period, from the one that holds `from` to
    /// the last that ends at or before `to` (Unix seconds). Those before `since` are not known,
    /// nor are those in which nobody sampled. Reads the database, and may wait a moment for a
    /// minute that has just ended.
    ///
    /// # Errors
    /// [`MonitorError::Store`]
    pub fn series(
        &self,
        metric: Metric,
        period: Period,
        selection: &Selection,
        (from, to): (u64, u64),
        since: u64,
    ) -> Result<Series, MonitorError> {
        let length = u64::from(period.seconds());
        let (start, end) = (from / length * length, to / length * length);
        let end = end.max(start);
        self.wait_for(end);
        let connection = PointStore::reader(&self.shared.state_dir)?;
        let sums = points(&connection, period, selection, start, end)?;
        let sampled = sampled(&connection, period, start, end)?;
        let ends = (start + length..=end).step_by(usize::try_from(length).unwrap_or(60));
        let nothing = Point::default();
        let values = ends.map(|end| {
            if end <= since || !sampled.contains(&end) {
                return None;
            }
            let point = sums.points.get(&end).unwrap_or(&nothing);
            metric.value(point, period.seconds(), sums.counts_packets)
        });
        Ok(Series {
            start,
            end,
            values: values.collect(),
        })
    }

    /// Waits for the points of a minute that is over.
    fn wait_for(&self, end: u64) {
        let now = unix_now().as_secs();
        let due = end.min(now / MINUTE * MINUTE);
        if due < self.shared.first {
            return;
        }
        let stored = lock(&self.shared.stored);
        let is_missing = |stored: &mut u64| {
            *stored < due
                && now.saturating_sub(due) < MINUTE
                && !self.shared.stops.load(Ordering::Relaxed)
        };
        // What is missing after that is told as unknown.
        let _ = self
            .shared
            .was_stored
            .wait_timeout_while(stored, PATIENCE, is_missing);
    }

    /// Another process keeps the database from now on: makes rows of five minutes and removes old
    /// ones. What still happens here is added.
    pub fn leave(&self) {
        self.shared.has_left.store(true, Ordering::Release);
    }

    /// Stores what has happened in the minute so far, and ends the thread.
    pub fn stop(&self) {
        self.shared.stops.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the monitoring thread panicked");
            }
        }
    }
}

struct Keeper {
    shared: Arc<Shared>,
    sampler: Sampler,
    store: PointStore,
    /// The end of the minute that is running.
    minute: u64,
    expired: u64,
}

impl Keeper {
    fn run(mut self) {
        self.gather();
        loop {
            let now = unix_now();
            let seconds = now.as_secs();
            if self.shared.stops.load(Ordering::Acquire) {
                self.store_minute();
                return;
            }
            if seconds >= self.minute {
                self.store_minute();
                self.gather();
                self.expire(seconds);
                self.minute = end_of_minute(seconds);
                continue;
            }
            if seconds + MINUTE < self.minute {
                // The clock was set back: what was counted since belongs to now.
                self.minute = end_of_minute(seconds);
            }
            self.sampler.look();
            let next = ((seconds / LOOK + 1) * LOOK).min(self.minute);
            let wait = Duration::from_secs(next).saturating_sub(unix_now());
            thread::park_timeout(wait.max(Duration::from_millis(1)));
        }
    }

    /// Stores what has happened since the last time.
    fn store_minute(&mut self) {
        complain(self.store.add_minute(self.minute, self.sampler.take()));
        *lock(&self.shared.stored) = self.minute;
        self.shared.was_stored.notify_all();
    }

    fn gather(&mut self) {
        if self.shared.has_left.load(Ordering::Acquire) {
            return;
        }
        complain(self.store.gather(unix_now().as_secs()));
    }

    fn expire(&mut self, now: u64) {
        if now >= self.expired + EXPIRY && !self.shared.has_left.load(Ordering::Acquire) {
            self.expired = now;
            complain(self.store.expire(now));
        }
    }
}

/// A disk that can not be written costs points, and a line a minute.
fn complain(result: Result<(), rusqlite::Error>) {
    if let Err(error) = result {
        tracing::error!(%error, "monitor.db can not be written, points are lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::tests::board;
    use std::time::Instant;

    #[test]
    fn nobody_waits_for_minutes_before_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Monitor::start(dir.path(), board()).unwrap();
        let now = unix_now().as_secs();
        let began = Instant::now();
        let selection = Selection::default();
        let window = (now - 600, now);
        let series = monitor
            .series(Metric::Connections, Period::Minute, &selection, window, 0)
            .unwrap();
        assert!(series.values.iter().all(Option::is_none));
        assert_eq!(series.values.len() as u64, now / 60 - (now - 600) / 60);
        // Unless a minute has ended just now, of which there is something to wait for.
        assert!(began.elapsed() < PATIENCE || unix_now().as_secs() / 60 > now / 60);
        monitor.stop();
        // Stopped within a minute, it has stored what there was of it.
        let store = PointStore::open(dir.path()).unwrap();
        assert!(store.last_minute().unwrap() > now);
    }
}
