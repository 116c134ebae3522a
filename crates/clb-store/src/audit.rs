//! The audit log: who asked for which change, when, and what came of it.
//!
//! An entry is written in the transaction of the change that it tells of, so that neither is there
//! without the other. What was refused has a transaction of its own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clb_model::{Key, Object, TaskId, TaskState, UnixMillis};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use crate::StoreError;
use crate::sqlite::open_read_only;

/// Schema version from which on there is an audit log.
const SCHEMA: i64 = 2;
/// What [`SCHEMA`] adds.
pub(crate) const MIGRATION: &str = "
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        secret_id TEXT NOT NULL,
        peer TEXT NOT NULL,
        client TEXT NOT NULL,
        action TEXT NOT NULL,
        parameters TEXT NOT NULL,
        code INTEGER NOT NULL,
        message TEXT NOT NULL,
        task INTEGER
    ) STRICT;
";

/// One call of an Action that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it came.
    pub at: UnixMillis,
    /// The key that signed it.
    pub secret_id: String,
    /// Where it came from; none if that is unknown.
    pub peer: Option<IpAddr>,
    /// What its client calls itself (RequestClient), or empty.
    pub client: String,
    /// The Action.
    pub action: String,
    /// Its own parameters as they came, without private keys.
    pub parameters: Vec<(String, String)>,
    /// The code that was answered; 0 for a change that was accepted.
    pub code: u32,
    /// The message that was answered.
    pub message: String,
    /// The task of a change that was accepted.
    pub task: Option<TaskId>,
}

/// What became of a change that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was refused, or its task is no longer kept.
    Unknown,
    /// Its task has not ended.
    Pending,
    /// It is in force.
    Succeeded,
    /// It was taken back whole, for this reason.
    Failed(String),
}

/// An entry as it is found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its number: entries are counted in the order in which they were written.
    pub number: u64,
    /// What was written.
    pub entry: AuditEntry,
    /// How its task has ended.
    pub outcome: Outcome,
}

/// Which entries are wanted; all that is given must match.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The key's SecretId.
    pub secret_id: Option<String>,
    /// The Action.
    pub action: Option<String>,
    /// Not earlier than this.
    pub since: Option<UnixMillis>,
    /// Only what was refused.
    pub refused: bool,
    /// Entries before this number.
    pub before: Option<u64>,
}

/// Writes entries into an open transaction, and keeps the newest `kept` of them; 0 keeps none.
pub(crate) fn write(
    connection: &Connection,
    entries: &[&AuditEntry],
    kept: u64,
) -> Result<(), rusqlite::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    {
        let mut insert = connection.prepare_cached(
            "INSERT INTO audit (at, secret_id, peer, client, action, parameters, code, message, task)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for entry in entries {
            insert.execute(params![
                entry.at.0,
                entry.secret_id,
                entry.peer.map(|peer| peer.to_string()).unwrap_or_default(),
                entry.client,
                entry.action,
                parameters_text(entry)?,
                entry.code,
                entry.message,
                entry.task.map(|task| number(task.0)),
            ])?;
        }
    }
    connection
        .prepare_cached("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1")?
        .execute(params![number(kept)])?;
    Ok(())
}

fn parameters_text(entry: &AuditEntry) -> Result<String, rusqlite::Error> {
    serde_json::to_string(&entry.parameters)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// SQLite has no unsigned integers.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The audit log of a state folder, to be read while a gateway uses it.
#[derive(Debug)]
pub struct AuditLog {
    connection: Connection,
    path: PathBuf,
    is_there: bool,
}

impl AuditLog {
    /// Opens `state.db` in the folder and changes nothing. What an older clbd made has no entries.
    ///
    /// # Errors
    /// [`StoreError`], also when a newer clbd made the file.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("state.db");
        let (connection, version) = open_read_only(&path)?;
        Ok(Self {
            connection,
            path,
            is_there: version >= SCHEMA,
        })
    }

    /// At most `limit` entries, the newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<Audited>, StoreError> {
        if !self.is_there {
            return Ok(Vec::new());
        }
        self.select(filter, limit)
            .map_err(|source| StoreError::Sqlite {
                path: self.path.display().to_string(),
                source,
            })
    }

    fn select(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<Audited>, rusqlite::Error> {
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        let conditions = [
            ("secret_id = ?", text(&filter.secret_id)),
            ("action = ?", text(&filter.action)),
            ("at >= ?", filter.since.map(|at| Value::Integer(at.0))),
            ("code <> ?", filter.refused.then_some(Value::Integer(0))),
            ("id < ?", filter.before.map(|id| Value::Integer(number(id)))),
        ];
        let (texts, mut values): (Vec<_>, Vec<_>) = conditions
            .into_iter()
            .filter_map(|(text, value)| Some((text, value?)))
            .unzip();
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let conditions = match texts.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", texts.join(" AND ")),
        };
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, at, secret_id, peer, client, action, parameters, code, message, task
             FROM audit {conditions} ORDER BY id DESC LIMIT ?"
        ))?;
        let entries = statement.query_map(params_from_iter(values), read_row)?;
        let mut found = Vec::new();
        for row in entries {
            let (number, entry) = row?;
            let outcome = self.outcome(entry.task)?;
            found.push(Audited {
                number,
                entry,
                outcome,
            });
        }
        Ok(found)
    }

    fn outcome(&self, task: Option<TaskId>) -> Result<Outcome, rusqlite::Error> {
        let Some(task) = task else {
            return Ok(Outcome::Unknown);
        };
        let key = Key::Task(task);
        let value: Option<String> = self
            .connection
            .prepare_cached("SELECT value FROM objects WHERE kind = ?1 AND id = ?2")?
            .query_row(params![key.kind().name(), key.id()], |row| row.get(0))
            .optional()?;
        // A pending task's changes may be encrypted: then it can not be read, and is pending.
        Ok(match value.map(|value| serde_json::from_str(&value)) {
            None => Outcome::Unknown,
            Some(Ok(Object::Task(task))) => match &task.state {
                TaskState::Pending { .. } => Outcome::Pending,
                TaskState::Succeeded => Outcome::Succeeded,
                TaskState::Failed { message } => Outcome::Failed(message.clone()),
            },
            Some(_) => Outcome::Pending,
        })
    }
}

fn read_row(row: &Row<'_>) -> Result<(u64, AuditEntry), rusqlite::Error> {
    let peer: String = row.get("peer")?;
    let parameters: String = row.get("parameters")?;
    let task: Option<i64> = row.get("task")?;
    let id: i64 = row.get("id")?;
    let entry = AuditEntry {
        at: UnixMillis(row.get("at")?),
        secret_id: row.get("secret_id")?,
        peer: peer.parse().ok(),
        client: row.get("client")?,
        action: row.get("action")?,
        parameters: serde_json::from_str(&parameters).unwrap_or_default(),
        code: row.get("code")?,
        message: row.get("message")?,
        task: task.and_then(|task| u64::try_from(task).ok()).map(TaskId),
    };
    Ok((u64::try_from(id).unwrap_or(0), entry))
}

#[cfg(test)]
mod tests {
    use clb_model::{Change, Command, Task};

    use super::*;
    use crate::{SqliteStore, Store as _, Transaction};

    fn entry(at: i64, action: &str, code: u32, task: Option<u64>) -> AuditEntry {
        AuditEntry {
            at: UnixMillis(at),
            secret_id: format!("id-{}", at % 2),
            peer: "192.0.2.7".parse().ok(),
            client: "SDK_PYTHON_2.0.15".to_owned(),
            action: action.to_owned(),
            parameters: vec![("loadBalancerId".to_owned(), "lb-é\"'".to_owned())],
            code,
            message: String::new(),
            task: task.map(TaskId),
        }
    }

    fn told(entry: AuditEntry) -> Transaction {
        Transaction {
            changes: Vec::new(),
            audit: Some(entry),
        }
    }

    fn task(id: u64, state: TaskState) -> Change {
        Change::made(Object::Task(std::sync::Arc::new(Task {
            id: TaskId(id),
            load_balancers: Vec::new(),
            created: UnixMillis(0),
            ended: None,
            state,
        })))
    }

    fn numbers(found: &[Audited]) -> Vec<u64> {
        found.iter().map(|audited| audited.number).collect()
    }

    #[test]
    fn entries_are_found_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path(), None).unwrap();
        let entries = [
            entry(10, "CreateLoadBalancer", 0, None),
            entry(11, "DeleteLoadBalancers", 5000, None),
            entry(12, "DeleteLoadBalancers", 0, None),
        ];
        store.commit(entries.clone().map(told).into()).unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let all = log.read(&AuditFilter::default(), 10).unwrap();
        assert_eq!(numbers(&all), [3, 2, 1]);
        let back: Vec<_> = all.into_iter().rev().map(|audited| audited.entry).collect();
        assert_eq!(back, entries);
        let read = |filter: AuditFilter| numbers(&log.read(&filter, 10).unwrap());
        let base = AuditFilter::default;
        let action = Some("DeleteLoadBalancers".to_owned());
        assert_eq!(read(AuditFilter { action, ..base() }), [3, 2]);
        let secret_id = Some("id-1".to_owned());
        assert_eq!(
            read(AuditFilter {
                secret_id,
                ..base()
            }),
            [2]
        );
        let since = Some(UnixMillis(11));
        assert_eq!(read(AuditFilter { since, ..base() }), [3, 2]);
        assert_eq!(
            read(AuditFilter {
                refused: true,
                ..base()
            }),
            [2]
        );
        let before = Some(3);
        assert_eq!(read(AuditFilter { before, ..base() }), [2, 1]);
        assert_eq!(numbers(&log.read(&base(), 1).unwrap()), [3]);
    }

    #[test]
    fn an_entry_tells_how_its_task_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path(), None).unwrap();
        let pending = TaskState::Pending {
            command: Box::new(Command::FollowInstances),
            changes: Vec::new().into(),
        };
        let message = "no".to_owned();
        let failed = TaskState::Failed {
            message: message.clone(),
        };
        let changes = vec![
            task(1, pending),
            task(2, TaskState::Succeeded),
            task(3, failed),
        ];
        store.commit(vec![changes.into()]).unwrap();
        for number in 1..=4 {
            let one = entry(0, "ReplaceCert", 0, Some(number));
            store.commit(vec![told(one)]).unwrap();
        }
        let log = AuditLog::open(dir.path()).unwrap();
        let found = log.read(&AuditFilter::default(), 10).unwrap();
        let outcomes: Vec<_> = found.into_iter().map(|audited| audited.outcome).collect();
        let expected = [
            Outcome::Unknown,
            Outcome::Failed(message),
            Outcome::Succeeded,
            Outcome::Pending,
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn the_oldest_entries_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path(), None)
            .unwrap()
            .with_audit_entries(3);
        for at in 0..10 {
            let two = [
                entry(at, "ReplaceCert", 0, None),
                entry(at, "ReplaceCert", 0, None),
            ];
            store.commit(two.map(told).into()).unwrap();
        }
        let log = AuditLog::open(dir.path()).unwrap();
        let found = log.read(&AuditFilter::default(), 10).unwrap();
        assert_eq!(numbers(&found), [20, 19, 18]);
        drop(store);
        let store = SqliteStore::open(dir.path(), None).unwrap();
        let mut store = store.with_audit_entries(0);
        store
            .commit(vec![told(entry(0, "ReplaceCert", 0, None))])
            .unwrap();
        assert!(log.read(&AuditFilter::default(), 10).unwrap().is_empty());
    }

    #[test]
    fn a_store_of_an_older_clbd_gets_a_log() {
        let dir = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(dir.path(), None).unwrap());
        let old = Connection::open(dir.path().join("state.db")).unwrap();
        old.execute_batch("DROP TABLE audit; PRAGMA user_version = 1")
            .unwrap();
        drop(old);
        let log = AuditLog::open(dir.path()).unwrap();
        assert!(log.read(&AuditFilter::default(), 10).unwrap().is_empty());
        let mut store = SqliteStore::open(dir.path(), None).unwrap();
        store
            .commit(vec![told(entry(0, "ReplaceCert", 0, None))])
            .unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        assert_eq!(log.read(&AuditFilter::default(), 10).unwrap().len(), 1);
        let newer = Connection::open(dir.path().join("state.db")).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        assert!(AuditLog::open(dir.path()).is_err());
    }
}
