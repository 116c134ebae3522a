//! Durable state behind one small trait: load, commit, watch.
//!
//! [`SqliteStore`] is the embedded one. [`LiveStore`] beside it keeps what may be lost in a power
//! cut (health between restarts).

mod audit;
mod backup;
mod live;
mod lock;
mod seal;
mod sqlite;

use std::sync::Arc;

use clb_model::{Change, Key, Kind, Object};

pub use audit::{AuditEntry, AuditFilter, AuditLog, Audited, Outcome};
pub use backup::{BackupError, Restored, back_up, restore};
pub use live::{LiveStore, LoadedHealth, SavedHealth};
pub use lock::{LockError, StateLock};
pub use sqlite::SqliteStore;

/// Counts transactions over the life of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// What belongs together: it becomes durable whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// In order; a later change of the same object wins.
    pub changes: Vec<Change>,
    /// What is told of it in the audit log, if anything.
    pub audit: Option<AuditEntry>,
}

impl From<Vec<Change>> for Transaction {
    /// One of which nothing is told.
    fn from(changes: Vec<Change>) -> Self {
        Self {
            changes,
            audit: None,
        }
    }
}

/// A transaction that is durable, as the change feed tells it.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its number.
    pub revision: Revision,
    /// Its changes.
    pub changes: Arc<[Change]>,
}

/// The change feed: every transaction after the revision asked for, in order, each once.
pub type Watch = tokio::sync::mpsc::UnboundedReceiver<Committed>;

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database itself.
    #[error("{path}: {source}{}", advice(source))]
    Sqlite {
        /// The database file.
        path: String,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The folder or file can not be used.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Made by a newer clbd.
    #[error("{path}: its schema is version {found}, this clbd knows versions up to {known}")]
    NewerSchema {
        /// The database file.
        path: String,
        /// Version in the file.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// A row that this clbd can not read.
    #[error("{kind} {id}: {reason}")]
    Unreadable {
        /// The object's kind.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Private keys are encrypted, and there is no key.
    #[error(
        "{path}: its private keys are encrypted; [store] key_file must name the file of their key"
    )]
    KeyMissing {
        /// The database file.
        path: String,
    },
    /// Private keys are encrypted with another key.
    #[error(
        "{path}: its private keys are encrypted with another key than that of [store] key_file"
    )]
    KeyWrong {
        /// The database file.
        path: String,
    },
    /// A row could not be encrypted: the system gave no random octets.
    #[error("{kind} {id}: can not be encrypted, the system gives no random octets")]
    NotSealed {
        /// The object's kind.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// The feed no longer has what comes after that revision: load again.
    #[error("changes after revision {asked} are no longer kept, the store is at {current}")]
    Compacted {
        /// Asked for.
        asked: u64,
        /// Newest.
        current: u64,
    },
}

/// What helps against a damaged file.
fn advice(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            ": the file is damaged; put a backup in its place with `clbctl restore`, or move it away to begin with nothing"
        }
        _ => "",
    }
}

/// Durable state. One writer uses it; it may block.
pub trait Store: Send {
    /// The newest revision.
    fn revision(&self) -> Revision;

    /// Whether another process has committed since this one did; then what is known here is no
    /// longer true.
    ///
    /// # Errors
    /// [`StoreError`]
    fn is_outdated(&mut self) -> Result<bool, StoreError>;

    /// All objects of a kind by id; of tasks the newest ones ([`clb_model::ENDED_TASKS_IN_MEMORY`]
    /// and some more).
    ///
    /// # Errors
    /// [`StoreError`]
    fn load(&mut self, kind: Kind) -> Result<Vec<Object>, StoreError>;

    /// One object.
    ///
    /// # Errors
    /// [`StoreError`]
    fn get(&mut self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// The first objects of a kind by id.
    ///
    /// # Errors
    /// [`StoreError`]
    fn first(&mut self, kind: Kind, limit: usize) -> Result<Vec<Object>, StoreError>;

    /// Makes the transactions durable with one write (group commit): all of them, or on an error
    /// none. The change feed tells them before this returns.
    ///
    /// # Errors
    /// [`StoreError`]
    fn commit(&mut self, transactions: Vec<Transaction>) -> Result<Revision, StoreError>;

    /// Follows the changes after a revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when they are no longer kept.
    fn watch(&mut self, from: Revision) -> Result<Watch, StoreError>;
}
