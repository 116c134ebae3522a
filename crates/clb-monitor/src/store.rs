//! The points on disk: an embedded database of their own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clb_model::Protocol;
use clb_snapshot::{Listener, Rule};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::point::{Point, push, take};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS series (
        id INTEGER PRIMARY KEY,
        lb INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        protocol TEXT NOT NULL,
        listen_port INTEGER NOT NULL,
        domain TEXT NOT NULL,
        url TEXT NOT NULL,
        ip TEXT NOT NULL,
        port INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        UNIQUE (lb, kind, protocol, listen_port, domain, url, ip, port)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS samples (
        period INTEGER NOT NULL,
        end INTEGER NOT NULL,
        PRIMARY KEY (period, end)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS points (
        period INTEGER NOT NULL,
        lb INTEGER NOT NULL,
        end INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (period, lb, end)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS points_by_end ON points (period, end);
";

/// The most memory of SQLite's page cache, in KiB: with its own default of 2,000 memory would rise
/// for hours, as points are added.
const CACHE_KIB: i32 = 256;

/// How often the names of series that are still there are marked as such.
const SEEN_EVERY: u64 = 24 * 3_600;

/// The length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// 60 seconds; kept for a day.
    Minute,
    /// 300 seconds; kept for a week.
    FiveMinutes,
}

impl Period {
    /// Of so many seconds.
    #[must_use]
    pub fn of_seconds(seconds: i64) -> Option<Self> {
        match seconds {
            60 => Some(Self::Minute),
            300 => Some(Self::FiveMinutes),
            _ => None,
        }
    }

    /// Its seconds.
    #[must_use]
    pub fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
        }
    }

    /// How long its points are kept, with an hour for those who ask late.
    fn kept(self) -> u64 {
        match self {
            Self::Minute => 25 * 3_600,
            Self::FiveMinutes => (7 * 24 + 1) * 3_600,
        }
    }
}

/// Of what a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// A listener: its connections, and the requests that belong to no rule.
    Listener,
    /// A rule.
    Rule,
    /// A backend of a rule, or of a listener without rules.
    Member,
}

impl Level {
    fn number(self) -> i64 {
        self as i64
    }
}

/// What a series is called by; an object that is made again with the same names goes on with its
/// series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) lb: u64,
    level: Level,
    protocol: &'static str,
    listen_port: u16,
    domain: String,
    url: String,
    backend: Option<SocketAddr>,
}

impl Identity {
    pub(crate) fn listener(listener: &Listener) -> Self {
        Self {
            lb: listener.lb.to_bits(),
            level: Level::Listener,
            protocol: listener.protocol.word(),
            listen_port: listener.addr.port(),
            domain: String::new(),
            url: String::new(),
            backend: None,
        }
    }

    pub(crate) fn rule(&self, rule: &Rule) -> Self {
        Self {
            level: Level::Rule,
            domain: rule.domain.to_string(),
            url: rule.url.to_string(),
            ..self.clone()
        }
    }

    /// Whether it is a backend of this address.
    pub(crate) fn is_of(&self, backend: SocketAddr) -> bool {
        self.backend == Some(backend)
    }

    pub(crate) fn member(&self, backend: SocketAddr) -> Self {
        Self {
            level: Level::Member,
            backend: Some(backend),
            ..self.clone()
        }
    }
}

/// Which series are asked for; what is `None` may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The load balancer, by the bits of its id.
    pub lb: Option<u64>,
    /// The listener: protocol in lower case, and port.
    pub listener: Option<(String, u16)>,
    /// The rule's domain.
    pub domain: Option<String>,
    /// The rule's url.
    pub url: Option<String>,
    /// The backend's address.
    pub ip: Option<String>,
    /// The backend's port.
    pub port: Option<u16>,
}

impl Selection {
    /// The levels whose points make up the answer, and whether only their requests count: a
    /// listener's connections are counted once, its requests at its rules.
    fn levels(&self) -> Vec<(Level, bool)> {
        if self.ip.is_some() {
            vec![(Level::Member, false)]
        } else if self.domain.is_some() {
            vec![(Level::Rule, false)]
        } else {
            vec![(Level::Listener, false), (Level::Rule, true)]
        }
    }
}

/// The database.
#[derive(Debug)]
pub(crate) struct PointStore {
    connection: Connection,
    /// The numbers of series.
    series: HashMap<Identity, i64>,
    /// When the series that are there were marked last.
    marked: u64,
}

impl PointStore {
    /// Opens `monitor.db` in the folder; one that is damaged is replaced.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, rusqlite::Error> {
        let path = state_dir.join("monitor.db");
        let connection = match connect(&path) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "monitor.db is begun anew");
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.clone().into_os_string();
                    file.push(suffix);
                    let _ = std::fs::remove_file(file);
                }
                connect(&path)?
            }
        };
        Ok(Self {
            connection,
            series: HashMap::new(),
            marked: 0,
        })
    }

    /// A connection of one's own, to read.
    pub(crate) fn reader(state_dir: &Path) -> Result<Connection, rusqlite::Error> {
        connect(&state_dir.join("monitor.db"))
    }

    /// The end of the latest minute that was sampled.
    pub(crate) fn last_minute(&self) -> Result<u64, rusqlite::Error> {
        let last: Option<i64> = self.connection.query_row(
            "SELECT max(end) FROM samples WHERE period = 60",
            [],
            |row| row.get(0),
        )?;
        Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or(0))
    }

    /// Adds what happened in the minute that ends at `end` (Unix seconds), to what is there of it
    /// already: the gateway may have been stopped and started within it.
    pub(crate) fn add_minute(
        &mut self,
        end: u64,
        points: Vec<(Identity, Point)>,
    ) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        let mut by_lb: HashMap<u64, BTreeMap<i64, Point>> = HashMap::new();
        let marks = end >= self.marked + SEEN_EVERY;
        for (identity, point) in points {
            if point.is_empty() && !marks {
                continue;
            }
            let lb = identity.lb;
            let id = match self.series.get(&identity) {
                Some(id) => *id,
                None => {
                    let id = series_of(&transaction, &identity, end)?;
                    self.series.insert(identity, id);
                    id
                }
            };
            if marks {
                transaction
                    .prepare_cached("UPDATE series SET seen = ?2 WHERE id = ?1")?
                    .execute(params![id, signed(end)])?;
            }
            if !point.is_empty() {
                by_lb
                    .entry(lb)
                    .or_default()
                    .entry(id)
                    .or_default()
                    .add(&point);
            }
        }
        if marks {
            self.marked = end;
        }
        for lb in rows_at(&transaction, end)? {
            by_lb.entry(lb).or_default();
        }
        for (lb, points) in by_lb {
            let mut row = read_row(&transaction, Period::Minute, lb, end)?;
            row.values_mut().for_each(|earlier| earlier.connections = 0);
            for (id, point) in points {
                row.entry(id).or_default().then(&point);
            }
            write_row(&transaction, Period::Minute, lb, end, &row)?;
        }
        mark_sampled(&transaction, Period::Minute, end)?;
        transaction.commit()
    }

    /// Makes the points of five minutes that are over at `now` from those of one.
    pub(crate) fn gather(&mut self, now: u64) -> Result<(), rusqlite::Error> {
        let length = u64::from(Period::FiveMinutes.seconds());
        let missing: Vec<u64> = {
            let mut statement = self.connection.prepare_cached(
                "SELECT DISTINCT (end + 299) / 300 * 300 FROM samples WHERE period = 60
                 EXCEPT SELECT end FROM samples WHERE period = 300",
            )?;
            let ends = statement.query_map([], |row| row.get::<_, i64>(0))?;
            let ends: Vec<i64> = ends.collect::<Result<_, _>>()?;
            let ends = ends.into_iter().filter_map(|end| u64::try_from(end).ok());
            ends.filter(|end| *end <= now).collect()
        };
        for end in missing {
            let transaction = self.connection.transaction()?;
            let mut by_lb: HashMap<i64, BTreeMap<i64, Point>> = HashMap::new();
            {
                let mut statement = transaction.prepare_cached(
                    "SELECT lb, data FROM points WHERE period = 60 AND end > ?1 AND end <= ?2 ORDER BY end",
                )?;
                let mut rows = statement.query(params![signed(end - length), signed(end)])?;
                while let Some(row) = rows.next()? {
                    let (lb, data): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
                    let sums = by_lb.entry(lb).or_default();
                    for (id, point) in decode(&data) {
                        sums.entry(id).or_default().then(&point);
                    }
                }
            }
            for (lb, mut points) in by_lb {
                // Who has no row in the last minute has no connections any more.
                let ended = last_of(&transaction, lb, end)?;
                points.iter_mut().for_each(|(id, point)| {
                    if !ended.contains(id) {
                        point.connections = 0;
                    }
                });
                write_row(
                    &transaction,
                    Period::FiveMinutes,
                    lb.cast_unsigned(),
                    end,
                    &points,
                )?;
            }
            mark_sampled(&transaction, Period::FiveMinutes, end)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: u64) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        for period in [Period::Minute, Period::FiveMinutes] {
            let oldest = signed(now.saturating_sub(period.kept()));
            for table in ["points", "samples"] {
                transaction.execute(
                    &format!("DELETE FROM {table} WHERE period = ?1 AND end < ?2"),
                    params![period.seconds(), oldest],
                )?;
            }
        }
        let unseen = now.saturating_sub(Period::FiveMinutes.kept() + SEEN_EVERY);
        let gone = transaction.execute(
            "DELETE FROM series WHERE seen < ?1",
            params![signed(unseen)],
        )?;
        transaction.commit()?;
        if gone > 0 {
            self.series.clear();
        }
        Ok(())
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may cost the last minutes, but never the file.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// SQLite's integers are signed; times and the bits of ids are far below its largest.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn series_of(
    transaction: &Transaction<'_>,
    identity: &Identity,
    now: u64,
) -> Result<i64, rusqlite::Error> {
    let (ip, port) = match identity.backend {
        Some(backend) => (backend.ip().to_string(), backend.port()),
        None => (String::new(), 0),
    };
    transaction
        .prepare_cached(
            "INSERT INTO series (lb, kind, protocol, listen_port, domain, url, ip, port, seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET seen = excluded.seen RETURNING id",
        )?
        .query_row(
            params![
                signed(identity.lb),
                identity.level.number(),
                identity.protocol,
                identity.listen_port,
                identity.domain,
                identity.url,
                ip,
                port,
                signed(now),
            ],
            |row| row.get(0),
        )
}

fn mark_sampled(
    transaction: &Transaction<'_>,
    period: Period,
    end: u64,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO samples (period, end) VALUES (?1, ?2)")?
        .execute(params![period.seconds(), signed(end)])?;
    Ok(())
}

/// The load balancers that have a row of this minute already.
fn rows_at(transaction: &Transaction<'_>, end: u64) -> Result<Vec<u64>, rusqlite::Error> {
    let mut statement =
        transaction.prepare_cached("SELECT lb FROM points WHERE period = 60 AND end = ?1")?;
    let lbs = statement.query_map(params![signed(end)], |row| row.get::<_, i64>(0))?;
    lbs.map(|lb| lb.map(i64::cast_unsigned)).collect()
}

/// The series that have a row in the last minute of five.
fn last_of(
    transaction: &Transaction<'_>,
    lb: i64,
    end: u64,
) -> Result<HashSet<i64>, rusqlite::Error> {
    let last: Option<i64> = transaction.query_row(
        "SELECT max(end) FROM samples WHERE period = 60 AND end > ?1 AND end <= ?2",
        params![signed(end - 300), signed(end)],
        |row| row.get(0),
    )?;
    let Some(last) = last else {
        return Ok(HashSet::new());
    };
    let data: Option<Vec<u8>> = transaction
        .query_row(
            "SELECT data FROM points WHERE period = 60 AND lb = ?1 AND end = ?2",
            params![lb, last],
            |row| row.get(0),
        )
        .optional()?;
    Ok(data.map_or_else(HashSet::new, |data| decode(&data).into_keys().collect()))
}

fn read_row(
    transaction: &Transaction<'_>,
    period: Period,
    lb: u64,
    end: u64,
) -> Result<BTreeMap<i64, Point>, rusqlite::Error> {
    let data: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT data FROM points WHERE period = ?1 AND lb = ?2 AND end = ?3")?
        .query_row(params![period.seconds(), signed(lb), signed(end)], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(data.map_or_else(BTreeMap::new, |data| decode(&data)))
}

fn write_row(
    transaction: &Transaction<'_>,
    period: Period,
    lb: u64,
    end: u64,
    points: &BTreeMap<i64, Point>,
) -> Result<(), rusqlite::Error> {
    let (mut data, mut before) = (Vec::new(), 0);
    for (id, point) in points.iter().filter(|(_, point)| !point.is_empty()) {
        push(id.abs_diff(before), &mut data);
        before = *id;
        point.write(&mut data);
    }
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO points (period, lb, end, data) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![period.seconds(), signed(lb), signed(end), data])?;
    Ok(())
}

/// The points of a row by series; what is damaged ends it.
fn decode(mut data: &[u8]) -> BTreeMap<i64, Point> {
    let (mut points, mut id) = (BTreeMap::new(), 0i64);
    let data = &mut data;
    while let Some(more) = take(data) {
        id = id.saturating_add_unsigned(more);
        let Some(point) = Point::read(data) else {
            break;
        };
        points.insert(id, point);
    }
    points
}

/// Which periods were sampled, of those that end after `from` and not after `to`.
pub(crate) fn sampled(
    connection: &Connection,
    period: Period,
    from: u64,
    to: u64,
) -> Result<HashSet<u64>, rusqlite::Error> {
    let mut statement = connection
        .prepare_cached("SELECT end FROM samples WHERE period = ?1 AND end > ?2 AND end <= ?3")?;
    let ends = statement.query_map(params![period.seconds(), signed(from), signed(to)], |row| {
        row.get::<_, i64>(0)
    })?;
    ends.map(|end| end.map(i64::cast_unsigned)).collect()
}

/// The points of the selected series, added up.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// By the ends of their periods.
    pub(crate) points: HashMap<u64, Point>,
    /// Whether there is one of a UDP listener among them.
    pub(crate) counts_packets: bool,
}

/// Adds up the points of the selected series.
pub(crate) fn points(
    connection: &Connection,
    period: Period,
    selection: &Selection,
    from: u64,
    to: u64,
) -> Result<Sums, rusqlite::Error> {
    let mut sums = Sums::default();
    let mut wanted: HashMap<i64, bool> = HashMap::new();
    let mut lbs: HashSet<i64> = HashSet::new();
    for (level, requests_only) in selection.levels() {
        let mut statement = connection.prepare_cached(
            "SELECT id, lb, protocol FROM series WHERE kind = ?1
             AND (?2 IS NULL OR lb = ?2)
             AND (?3 IS NULL OR (protocol = ?3 AND listen_port = ?4))
             AND (?5 IS NULL OR domain = ?5)
             AND (?6 IS NULL OR url = ?6)
             AND (?7 IS NULL OR ip = ?7)
             AND (?8 IS NULL OR port = ?8)",
        )?;
        let (protocol, listen_port) = match &selection.listener {
            Some((protocol, port)) => (Some(protocol.as_str()), Some(*port)),
            None => (None, None),
        };
        let mut rows = statement.query(params![
            level.number(),
            selection.lb.map(signed),
            protocol,
            listen_port,
            selection.domain,
            selection.url,
            selection.ip,
            selection.port,
        ])?;
        while let Some(row) = rows.next()? {
            wanted.insert(row.get(0)?, requests_only);
            lbs.insert(row.get(1)?);
            sums.counts_packets |= row.get::<_, String>(2)? == Protocol::Udp.word();
        }
    }
    let mut statement = connection.prepare_cached(
        "SELECT end, data FROM points WHERE period = ?1 AND lb = ?2 AND end > ?3 AND end <= ?4",
    )?;
    for lb in lbs {
        let mut rows = statement.query(params![period.seconds(), lb, signed(from), signed(to)])?;
        while let Some(row) = rows.next()? {
            let (end, data): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let sum = sums.points.entry(end.cast_unsigned()).or_default();
            for (id, point) in decode(&data) {
                match wanted.get(&id) {
                    Some(true) => sum.add(&point.requests_only()),
                    Some(false) => sum.add(&point),
                    None => {}
                }
            }
        }
    }
    Ok(sums)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
