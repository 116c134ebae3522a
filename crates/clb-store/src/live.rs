//! What should survive a restart but may be lost in a power cut: the health of members.
//!
//! Kept apart from the state, and without syncing, so that it costs no disk flushes. A file that
//! can not be read is begun anew: the worst that follows is that health is detected again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::StoreError;

/// The most memory of SQLite's page cache, in KiB.
const CACHE_KIB: i32 = 256;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS health (
        pool TEXT NOT NULL,
        binding INTEGER NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (pool, binding)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS beat (only INTEGER PRIMARY KEY CHECK (only = 1), at INTEGER NOT NULL) STRICT;
";

/// The health of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedHealth {
    /// The pool's name.
    pub pool: String,
    /// The binding's number.
    pub binding: u64,
    /// The state's word; none removes the row.
    pub state: Option<&'static str>,
}

/// The health of one member as it was saved: pool, binding, state.
pub type LoadedHealth = (String, u64, String);

/// The file of live state.
#[derive(Debug)]
pub struct LiveStore {
    connection: Connection,
    path: PathBuf,
}

impl LiveStore {
    /// Opens `live.db` in the folder; one that is damaged is replaced.
    ///
    /// # Errors
    /// [`StoreError`] when the folder can not be written.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("live.db");
        let connection = match Self::connect(&path) {
            Ok(connection) => connection,
            Err(_) => {
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.clone().into_os_string();
                    file.push(suffix);
                    let _ = std::fs::remove_file(file);
                }
                Self::connect(&path).map_err(|source| StoreError::Sqlite {
                    path: path.display().to_string(),
                    source,
                })?
            }
        };
        Ok(Self { connection, path })
    }

    fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch(SCHEMA)?;
        Ok(connection)
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite {
            path: self.path.display().to_string(),
            source,
        }
    }

    /// Saves what changed, and that everything else was still true at `now` (Unix milliseconds).
    ///
    /// # Errors
    /// [`StoreError`]; the old values stay.
    pub fn save(&mut self, changed: &[SavedHealth], now: i64) -> Result<(), StoreError> {
        self.write(changed, now)
            .map_err(|source| self.error(source))
    }

    fn write(&mut self, changed: &[SavedHealth], now: i64) -> Result<(), rusqlite::Error> {
        let write = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for health in changed {
            let binding = i64::try_from(health.binding).unwrap_or(i64::MAX);
            match health.state {
                Some(state) => write
                    .prepare_cached(
                        "INSERT INTO health (pool, binding, state) VALUES (?1, ?2, ?3)
                         ON CONFLICT (pool, binding) DO UPDATE SET state = excluded.state",
                    )?
                    .execute(params![health.pool, binding, state])?,
                None => write
                    .prepare_cached("DELETE FROM health WHERE pool = ?1 AND binding = ?2")?
                    .execute(params![health.pool, binding])?,
            };
        }
        write
            .prepare_cached(
                "INSERT INTO beat VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET at = excluded.at",
            )?
            .execute(params![now])?;
        write.commit()
    }

    /// What was saved: when it was true last (Unix milliseconds), and the states.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn load(&self) -> Result<(i64, Vec<LoadedHealth>), StoreError> {
        let read = || {
            let at =
                self.connection
                    .query_row("SELECT coalesce(max(at), 0) FROM beat", [], |row| {
                        row.get(0)
                    })?;
            let mut statement = self
                .connection
                .prepare("SELECT pool, binding, state FROM health")?;
            let rows = statement
                .query_map([], |row| {
                    let binding: i64 = row.get(1)?;
                    Ok((
                        row.get(0)?,
                        u64::try_from(binding).unwrap_or(0),
                        row.get(2)?,
                    ))
                })?
                .collect::<Result<Vec<_>, _>>()?;
            Ok((at, rows))
        };
        read().map_err(|source| self.error(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(binding: u64, state: Option<&'static str>) -> SavedHealth {
        SavedHealth {
            pool: "lbl-abcdefgh".to_owned(),
            binding,
            state,
        }
    }

    #[test]
    fn saved_health_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut live = LiveStore::open(dir.path()).unwrap();
        live.save(
            &[health(1, Some("healthy")), health(2, Some("unhealthy"))],
            1000,
        )
        .unwrap();
        live.save(&[health(1, None)], 2000).unwrap();
        drop(live);
        let (at, rows) = LiveStore::open(dir.path()).unwrap().load().unwrap();
        assert_eq!(at, 2000);
        assert_eq!(
            rows,
            [("lbl-abcdefgh".to_owned(), 2, "unhealthy".to_owned())]
        );
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("live.db"), [7u8; 4096]).unwrap();
        let live = LiveStore::open(dir.path()).unwrap();
        assert_eq!(live.load().unwrap(), (0, Vec::new()));
    }
}
