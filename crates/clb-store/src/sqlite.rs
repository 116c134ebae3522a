//! The embedded store: SQLite in WAL mode, `synchronous = FULL`, one row an object, values as JSON
//! so that the file can be read with any SQLite program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clb_model::{Change, ENDED_TASKS_IN_MEMORY, Key, Kind, Object};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::audit::{self, AuditEntry};
use crate::seal::{Sealer, is_sealed, is_secret};
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
", audit::MIGRATION];

/// Tasks that are loaded: what stays in memory and the most that may be pending beside it.
const TASKS_LOADED: usize = ENDED_TASKS_IN_MEMORY + 20_000;

/// The most memory of SQLite's page cache, in KiB. Its own default of 2,000 fills as the file grows,
/// over hours; a page that is not in it comes from the system's cache in microseconds, and a
/// commit waits for the disk a thousand times as long.
const CACHE_KIB: i32 = 512;

/// Entries that the audit log keeps, if nobody says otherwise.
const AUDIT_ENTRIES: u64 = 100_000;

/// The embedded store.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    revision: Revision,
    watchers: Vec<mpsc::UnboundedSender<Committed>>,
    sealer: Option<Sealer>,
    audit_entries: u64,
}

impl SqliteStore {
    /// Opens or creates `state.db` in the folder, and brings its schema up to date. With the key of
    /// `[store] key_file` what holds private keys is encrypted; what was stored in clear until now
    /// is encrypted before this returns.
    ///
    /// # Errors
    /// [`StoreError`], also when a newer clbd made the file, and when it is encrypted and the key
    /// is missing or another one.
    pub fn open(state_dir: &Path, key: Option<&[u8; 32]>) -> Result<Self, StoreError> {
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
        connection
            .pragma_update(None, "cache_size", -CACHE_KIB)
            .map_err(error)?;
        connection.set_prepared_statement_cache_capacity(32);
        migrate(&mut connection, &path)?;
        let revision = stored_revision(&connection).map_err(error)?;
        let mut store = Self {
            connection,
            path,
            revision,
            watchers: Vec::new(),
            sealer: key.and_then(Sealer::new),
            audit_entries: AUDIT_ENTRIES,
        };
        let is_clear = check_key(&store.connection, &store.path, store.sealer.as_ref())?;
        if store.sealer.is_some() {
            store.seal(is_clear)?;
        }
        Ok(store)
    }

    /// How many entries the audit log keeps; 0 keeps none.
    #[must_use]
    pub fn with_audit_entries(mut self, entries: u64) -> Self {
        self.audit_entries = entries;
        self
    }

    /// From now on nothing that was replaced or removed stays in the file, and what was stored in
    /// clear is encrypted. A kill in between leaves the session key in clear, so that the next
    /// start does it all again.
    fn seal(&mut self, is_clear: bool) -> Result<(), StoreError> {
        self.execute("PRAGMA secure_delete = ON")?;
        if is_clear {
            self.execute("VACUUM")?;
            let mut secrets = Vec::new();
            for kind in Kind::ALL {
                secrets.extend(self.load(kind)?.into_iter().filter(is_secret));
            }
            let changes: Vec<_> = secrets.into_iter().map(Change::made).collect();
            let rows = self.rows(&[changes.into()])?;
            // No transaction is counted: nothing has changed for those who follow.
            self.write_rows(0, &rows, &[])
                .map_err(|source| self.error(source))?;
        }
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn execute(&self, statements: &str) -> Result<(), StoreError> {
        self.connection
            .execute_batch(statements)
            .map_err(|source| self.error(source))
    }

    /// Reads everything in a state folder without changing anything, for `--check`; the objects, or
    /// none when there is no database yet. It can be read while a gateway uses it.
    ///
    /// # Errors
    /// The database's fault, else one for each row that can not be read.
    pub fn check(
        state_dir: &Path,
        key: Option<&[u8; 32]>,
    ) -> Result<Option<Vec<Object>>, Vec<StoreError>> {
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
        let (connection, _) = open_read_only(&path).map_err(|problem| vec![problem])?;
        let sealer = key.and_then(Sealer::new);
        check_key(&connection, &path, sealer.as_ref()).map_err(|problem| vec![problem])?;
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
            match kind.map(|kind| parse(kind, id.clone(), &value, sealer.as_ref())) {
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
            parse(kind, id, &value, self.sealer.as_ref())
        })
        .collect()
    }

    fn write(&mut self, transactions: &[Transaction]) -> Result<Revision, StoreError> {
        let rows = self.rows(transactions)?;
        let audit: Vec<_> = transactions
            .iter()
            .filter_map(|transaction| transaction.audit.as_ref())
            .collect();
        self.write_rows(transactions.len(), &rows, &audit)
            .map_err(|source| self.error(source))
    }

    /// What is written, before the transaction begins: sealing may fail.
    fn rows(&self, transactions: &[Transaction]) -> Result<Vec<Row>, StoreError> {
        transactions
            .iter()
            .flat_map(|transaction| &transaction.changes)
            .filter_map(|change| Some((change.key()?, change.after.as_ref())))
            .map(|(key, after)| {
                let (kind, id) = (key.kind(), key.id());
                let value = after.map(|object| self.value(kind, &id, object));
                let value = value.transpose()?;
                Ok(Row { kind, id, value })
            })
            .collect()
    }

    fn value(
        &self,
        kind: Kind,
        id: &str,
        object: &Object,
    ) -> Result<Zeroizing<String>, StoreError> {
        let json = serde_json::to_string(object).map(Zeroizing::new);
        let json = json.map_err(|error| {
            self.error(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
        })?;
        match &self.sealer {
            Some(sealer) if is_secret(object) => sealer
                .seal(kind, id, &json)
                .map(Zeroizing::new)
                .ok_or_else(|| StoreError::NotSealed {
                    kind: kind.name(),
                    id: id.to_owned(),
                }),
            _ => Ok(json),
        }
    }

    fn write_rows(
        &mut self,
        transactions: usize,
        rows: &[Row],
        audit: &[&AuditEntry],
    ) -> Result<Revision, rusqlite::Error> {
        let revision = self.revision.0 + u64::try_from(transactions).unwrap_or(u64::MAX);
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
            for row in rows {
                let (kind, id) = (row.kind.name(), &row.id);
                match &row.value {
                    Some(value) => put.execute(params![kind, id, **value])?,
                    None => delete.execute(params![kind, id])?,
                };
            }
            write
                .prepare_cached("UPDATE revision SET revision = ?1")?
                .execute(params![i64::try_from(revision).unwrap_or(i64::MAX)])?;
        }
        audit::write(&write, audit, self.audit_entries)?;
        write.commit()?;
        Ok(Revision(revision))
    }
}

/// Opens a database without changing it, and tells the version of its schema. A gateway may use it
/// meanwhile.
pub(crate) fn open_read_only(path: &Path) -> Result<(Connection, i64), StoreError> {
    let error = |source| StoreError::Sqlite {
        path: path.display().to_string(),
        source,
    };
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(error)?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(error)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        let path = path.display().to_string();
        return Err(StoreError::NewerSchema { path, found, known });
    }
    Ok((connection, found))
}

/// What is written or, without a value, removed.
struct Row {
    kind: Kind,
    id: String,
    value: Option<Zeroizing<String>>,
}

/// Whether the key is the file's; true when there is one, and the file is still in clear. The
/// session key tells, which every store has from its first start on.
fn check_key(
    connection: &Connection,
    path: &Path,
    sealer: Option<&Sealer>,
) -> Result<bool, StoreError> {
    let kind = Kind::SessionKey;
    let value: Option<String> = connection
        .query_row(
            "SELECT value FROM objects WHERE kind = ?1",
            params![kind.name()],
            |row| row.get(0),
        )
        .optional()
        .map_err(|source| StoreError::Sqlite {
            path: path.display().to_string(),
            source,
        })?;
    let path = || path.display().to_string();
    match (value, sealer) {
        (None, _) => Ok(false),
        (Some(value), sealer) if !is_sealed(&value) => Ok(sealer.is_some()),
        (Some(_), None) => Err(StoreError::KeyMissing { path: path() }),
        (Some(value), Some(sealer)) => match sealer.open(kind, "", &value) {
            Some(_) => Ok(false),
            None => Err(StoreError::KeyWrong { path: path() }),
        },
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

fn parse(
    kind: Kind,
    id: String,
    value: &str,
    sealer: Option<&Sealer>,
) -> Result<Object, StoreError> {
    let unreadable = |reason: String| StoreError::Unreadable {
        kind: kind.name(),
        id: id.clone(),
        reason,
    };
    let opened = match is_sealed(value) {
        true => Some(
            sealer
                .and_then(|sealer| sealer.open(kind, &id, value))
                .ok_or_else(|| unreadable("it can not be decrypted".to_owned()))?,
        ),
        false => None,
    };
    let json = opened.as_ref().map_or(value, |opened| opened.as_str());
    serde_json::from_str(json).map_err(|error| unreadable(error.to_string()))
}

fn stored_revision(connection: &Connection) -> Result<Revision, rusqlite::Error> {
    let revision = connection.query_row("SELECT revision FROM revision", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(Revision(u64::try_from(revision).unwrap_or(0)))
}

impl Store for SqliteStore {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn is_outdated(&mut self) -> Result<bool, StoreError> {
        let stored = stored_revision(&self.connection).map_err(|source| self.error(source))?;
        Ok(stored != self.revision)
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
            .map(|value| parse(key.kind(), key.id(), &value, self.sealer.as_ref()))
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
        self.revision = self.write(&transactions)?;
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
mod tests;
