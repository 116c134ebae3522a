//! The embedded store: SQLite in WAL mode, `synchronous = FULL`, one row an object, values as JSON
//! so that the file can be read with any SQLite program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clb_model::{Change, ENDED_TASKS_IN_MEMORY, Key, Kind, Object};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tokio::sync::mpsc;

use crate::{Committed, Revision, Store, StoreError, Transaction, Watch};

/// Each entry takes the schema from the version of its index to the next one.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE objects (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE revision (only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL) STRICT;
    INSERT INTO revision VALUES (1, 0);
"];

/// Tasks that are loaded: what stays in memory and the most that may be pending beside it.
const TASKS_LOADED: usize = ENDED_TASKS_IN_MEMORY + 20_000;

/// The embedded store.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    revision: Revision,
    watchers: Vec<mpsc::UnboundedSender<Committed>>,
}

impl SqliteStore {
    /// Opens or creates `state.db` in the folder, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`], also when a newer clbd made the file.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("state.db");
        let error = |source| StoreError::Sqlite {
            path: path.display().to_string(),
            source,
        };
        let mut connection = Connection::open(&path).map_err(error)?;
        restrict(&path)?;
        connection
            .busy_timeout(std::time::Duration::from_secs(10))
            .map_err(error)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(error)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(error)?;
        connection
            .pragma_update(None, "wal_autocheckpoint", 1000)
            .map_err(error)?;
        connection.set_prepared_statement_cache_capacity(32);
        migrate(&mut connection, &path)?;
        let revision = connection
            .query_row("SELECT revision FROM revision", [], |row| {
                row.get::<_, i64>(0)
            })
            .map_err(error)?;
        let revision = Revision(u64::try_from(revision).unwrap_or(0));
        Ok(Self {
            connection,
            path,
            revision,
            watchers: Vec::new(),
        })
    }

    /// Reads everything in a state folder without changing anything, for `--check`; the objects, or
    /// none when there is no database yet. It can be read while a gateway uses it.
    ///
    /// # Errors
    /// The database's fault, else one for each row that can not be read.
    pub fn check(state_dir: &Path) -> Result<Option<Vec<Object>>, Vec<StoreError>> {
        let path = state_dir.join("state.db");
        if !path.exists() {
            return Ok(None);
        }
        let error = |source| {
            vec![StoreError::Sqlite {
                path: path.display().to_string(),
                source,
            }]
        };
        let connection =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(error)?;
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(error)?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            let path = path.display().to_string();
            return Err(vec![StoreError::NewerSchema { path, found, known }]);
        }
        let mut statement = connection
            .prepare("SELECT kind, id, value FROM objects")
            .map_err(error)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(error)?;
        let mut problems = Vec::new();
        let mut objects = Vec::new();
        for row in rows {
            let (kind, id, value): (String, String, String) = row.map_err(error)?;
            let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
            match kind.map(|kind| parse(kind, id.clone(), &value)) {
                Some(Ok(object)) => objects.push(object),
                Some(Err(problem)) => problems.push(problem),
                None => problems.push(StoreError::Unreadable {
                    kind: "object",
                    id,
                    reason: "its kind is unknown".to_owned(),
                }),
            }
        }
        if problems.is_empty() {
            Ok(Some(objects))
        } else {
            Err(problems)
        }
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite {
            path: self.path.display().to_string(),
            source,
        }
    }

    fn read(
        &self,
        query: &str,
        parameters: &[&dyn rusqlite::ToSql],
        kind: Kind,
    ) -> Result<Vec<Object>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(|source| self.error(source))?;
        let rows = statement
            .query_map(parameters, |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(|source| self.error(source))?;
        rows.map(|row| {
            let (id, value) = row.map_err(|source| self.error(source))?;
            parse(kind, id, &value)
        })
        .collect()
    }

    fn write(&mut self, transactions: &[Transaction]) -> Result<Revision, rusqlite::Error> {
        let revision = self.revision.0 + u64::try_from(transactions.len()).unwrap_or(u64::MAX);
        let write = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = write.prepare_cached(
                "INSERT INTO objects (kind, id, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value",
            )?;
            let mut delete =
                write.prepare_cached("DELETE FROM objects WHERE kind = ?1 AND id = ?2")?;
            for change in transactions
                .iter()
                .flat_map(|transaction| &transaction.changes)
            {
                let Some(key) = change.key() else { continue };
                match &change.after {
                    Some(object) => {
                        let value = serde_json::to_string(object).map_err(|error| {
                            rusqlite::Error::ToSqlConversionFailure(Box::new(error))
                        })?;
                        put.execute(params![key.kind().name(), key.id(), value])?;
                    }
                    None => {
                        delete.execute(params![key.kind().name(), key.id()])?;
                    }
                }
            }
            write
                .prepare_cached("UPDATE revision SET revision = ?1")?
                .execute(params![i64::try_from(revision).unwrap_or(i64::MAX)])?;
        }
        write.commit()?;
        Ok(Revision(revision))
    }
}

/// The file holds keys and secrets: its owner alone may read it.
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|source| {
        StoreError::Io {
            path: path.display().to_string(),
            source,
        }
    })
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let error = |source| StoreError::Sqlite {
        path: path.display().to_string(),
        source,
    };
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(error)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known || found < 0 {
        let path = path.display().to_string();
        return Err(StoreError::NewerSchema { path, found, known });
    }
    let write = connection
        .transaction_with_behavior(TransactionBehavior::Exclusive)
        .map_err(error)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        write.execute_batch(migration).map_err(error)?;
    }
    write
        .pragma_update(None, "user_version", known)
        .map_err(error)?;
    write.commit().map_err(error)
}

fn parse(kind: Kind, id: String, value: &str) -> Result<Object, StoreError> {
    serde_json::from_str(value).map_err(|error| StoreError::Unreadable {
        kind: kind.name(),
        id,
        reason: error.to_string(),
    })
}

impl Store for SqliteStore {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn load(&mut self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        if kind == Kind::Task {
            let limit = i64::try_from(TASKS_LOADED).unwrap_or(i64::MAX);
            let mut tasks = self.read(
                "SELECT id, value FROM objects WHERE kind = ?1 ORDER BY id DESC LIMIT ?2",
                &[&kind.name(), &limit],
                kind,
            )?;
            tasks.reverse();
            return Ok(tasks);
        }
        self.read(
            "SELECT id, value FROM objects WHERE kind = ?1 ORDER BY id",
            &[&kind.name()],
            kind,
        )
    }

    fn get(&mut self, key: &Key) -> Result<Option<Object>, StoreError> {
        let value: Option<String> = self
            .connection
            .prepare_cached("SELECT value FROM objects WHERE kind = ?1 AND id = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![key.kind().name(), key.id()], |row| row.get(0))
                    .optional()
            })
            .map_err(|source| self.error(source))?;
        value
            .map(|value| parse(key.kind(), key.id(), &value))
            .transpose()
    }

    fn first(&mut self, kind: Kind, limit: usize) -> Result<Vec<Object>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(
            "SELECT id, value FROM objects WHERE kind = ?1 ORDER BY id LIMIT ?2",
            &[&kind.name(), &limit],
            kind,
        )
    }

    fn commit(&mut self, transactions: Vec<Transaction>) -> Result<Revision, StoreError> {
        let first = self.revision.0 + 1;
        self.revision = self
            .write(&transactions)
            .map_err(|source| self.error(source))?;
        for (revision, transaction) in (first..).zip(transactions) {
            let changes: Arc<[Change]> = transaction.changes.into();
            let committed = Committed {
                revision: Revision(revision),
                changes,
            };
            self.watchers
                .retain(|watcher| watcher.send(committed.clone()).is_ok());
        }
        Ok(self.revision)
    }

    fn watch(&mut self, from: Revision) -> Result<Watch, StoreError> {
        if from != self.revision {
            return Err(StoreError::Compacted {
                asked: from.0,
                current: self.revision.0,
            });
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.push(sender);
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_model::{Counters, NetworkName};

    fn network(name: &str, number: u64) -> Object {
        Object::Network(NetworkName {
            name: name.to_owned(),
            number,
        })
    }

    fn transaction(changes: Vec<Change>) -> Transaction {
        Transaction { changes }
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path()).unwrap();
        let counters = Object::Counters(Counters::new(u64::MAX));
        store
            .commit(vec![
                transaction(vec![
                    Change::made(network("vpc-a", 1)),
                    Change::made(network("vpc-b", 2)),
                ]),
                transaction(vec![
                    Change::removed(network("vpc-a", 1)),
                    Change::changed(network("vpc-b", 2), network("vpc-b", 3)),
                    Change::made(counters.clone()),
                ]),
            ])
            .unwrap();
        drop(store);
        let mut store = SqliteStore::open(dir.path()).unwrap();
        assert_eq!(store.revision(), Revision(2));
        assert_eq!(store.load(Kind::Network).unwrap(), [network("vpc-b", 3)]);
        assert_eq!(store.get(&Key::Counters).unwrap(), Some(counters));
        assert_eq!(store.get(&Key::Network("vpc-a".to_owned())).unwrap(), None);
    }

    #[test]
    fn the_feed_tells_each_transaction_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path()).unwrap();
        store
            .commit(vec![transaction(vec![Change::made(network("vpc-a", 1))])])
            .unwrap();
        assert!(matches!(
            store.watch(Revision(0)),
            Err(StoreError::Compacted {
                asked: 0,
                current: 1
            })
        ));
        let mut watch = store.watch(Revision(1)).unwrap();
        store
            .commit(vec![
                transaction(vec![Change::made(network("vpc-b", 2))]),
                transaction(vec![Change::made(network("vpc-c", 3))]),
            ])
            .unwrap();
        let told: Vec<u64> = std::iter::from_fn(|| watch.try_recv().ok())
            .map(|committed| committed.revision.0)
            .collect();
        assert_eq!(told, [2, 3]);
    }

    #[test]
    fn a_failed_commit_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path()).unwrap();
        store
            .commit(vec![transaction(vec![Change::made(network("vpc-a", 1))])])
            .unwrap();
        let mut watch = store.watch(Revision(1)).unwrap();
        store
            .connection
            .pragma_update(None, "query_only", true)
            .unwrap();
        let failed = store.commit(vec![transaction(vec![Change::made(network("vpc-b", 2))])]);
        assert!(matches!(failed, Err(StoreError::Sqlite { .. })));
        assert!(watch.try_recv().is_err());
        assert_eq!(store.revision(), Revision(1));
        store
            .connection
            .pragma_update(None, "query_only", false)
            .unwrap();
        assert_eq!(store.load(Kind::Network).unwrap(), [network("vpc-a", 1)]);
    }

    #[test]
    fn checking_reads_everything_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SqliteStore::check(dir.path()).unwrap().is_none());
        assert!(!dir.path().join("state.db").exists());
        let mut store = SqliteStore::open(dir.path()).unwrap();
        store
            .commit(vec![transaction(vec![Change::made(network("vpc-a", 1))])])
            .unwrap();
        assert_eq!(
            SqliteStore::check(dir.path()).unwrap().unwrap(),
            [network("vpc-a", 1)]
        );
        store
            .connection
            .execute_batch(
                "INSERT INTO objects VALUES ('network', 'vpc-b', '{}'), ('ghost', 'x', '1')",
            )
            .unwrap();
        let problems = SqliteStore::check(dir.path()).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("network vpc-b")),
            "{problems:?}"
        );
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        store
            .connection
            .pragma_update(None, "user_version", 99)
            .unwrap();
        drop(store);
        let error = SqliteStore::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("version 99"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state.db"), [7u8; 4096]).unwrap();
        let error = SqliteStore::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("state.db"), "{error}");
    }
}
