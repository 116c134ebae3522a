//! Backups of `state.db`, and what is done with them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::sqlite::open_read_only;
use crate::{LockError, StateLock, StoreError};

/// Why there is no backup, or why it is not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database, or the backup.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A gateway runs on the folder.
    #[error("{0}: stop it first")]
    Running(#[from] LockError),
    /// It is not whole.
    #[error("{path}: it is damaged: {found}")]
    Damaged {
        /// The file.
        path: String,
        /// What SQLite finds, the first of it.
        found: String,
    },
    /// A file can not be read, made or renamed.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError + '_ {
    |source| BackupError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn sqlite_error(path: &Path) -> impl FnOnce(rusqlite::Error) -> BackupError + '_ {
    |source| {
        BackupError::Store(StoreError::Sqlite {
            path: path.display().to_string(),
            source,
        })
    }
}

/// Copies the state as it is at one moment into a new file, which only its owner may read; a
/// gateway may run on the folder. Private keys are in it as they are in the original: encrypted if
/// `[store] key_file` is used. How many objects it has.
///
/// # Errors
/// [`BackupError`], also if the file is there already; then it stays as it is, and otherwise no
/// half of a backup stays.
pub fn back_up(state_dir: &Path, to: &Path) -> Result<u64, BackupError> {
    let from = state_dir.join("state.db");
    let (connection, _) = open_read_only(&from)?;
    create_new(to).map_err(io_error(to))?;
    let copied = connection
        .execute("VACUUM INTO ?1", [to.to_string_lossy()])
        .map_err(sqlite_error(&from))
        .and_then(|_| verify(to));
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    let objects = copied?;
    sync(to)?;
    Ok(objects)
}

/// What [`restore`] has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Objects in the backup.
    pub objects: u64,
    /// Where the state lies that was there before.
    pub replaced: Option<PathBuf>,
}

/// Puts a backup in the place of the folder's state. What was there is kept beside it under another
/// name.
///
/// # Errors
/// [`BackupError`], also when a gateway runs on the folder; nothing has changed then.
pub fn restore(state_dir: &Path, from: &Path) -> Result<Restored, BackupError> {
    let _lock = StateLock::take(state_dir)?;
    let objects = verify(from)?;
    let state = state_dir.join("state.db");
    let fresh = state_dir.join("state.db.restoring");
    // Of an attempt that was broken off.
    let _ = fs::remove_file(&fresh);
    let mut source = File::open(from).map_err(io_error(from))?;
    let mut target = create_new(&fresh).map_err(io_error(&fresh))?;
    io::copy(&mut source, &mut target).map_err(io_error(&fresh))?;
    drop(target);
    sync(&fresh)?;
    let replaced = set_aside(&state)?;
    fs::rename(&fresh, &state).map_err(io_error(&state))?;
    sync(state_dir)?;
    Ok(Restored { objects, replaced })
}

/// Moves the state and what SQLite has beside it to other names.
fn set_aside(state: &Path) -> Result<Option<PathBuf>, BackupError> {
    if !state.exists() {
        return Ok(None);
    }
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let aside = with_suffix(state, &format!(".replaced-{seconds}"));
    // Its last transactions may be in the log.
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (with_suffix(state, suffix), with_suffix(&aside, suffix));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&from)(error));
            }
            _ => {}
        }
    }
    Ok(Some(aside))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io_error(path))
}

/// Whether a file is a whole state that this clbd knows; how many objects it has.
fn verify(path: &Path) -> Result<u64, BackupError> {
    let (connection, _) = open_read_only(path)?;
    let error = || sqlite_error(path);
    let found = first_fault(&connection).map_err(error())?;
    if found != "ok" {
        return Err(BackupError::Damaged {
            path: path.display().to_string(),
            found,
        });
    }
    let count: i64 = connection
        .query_row("SELECT count(*) FROM objects", [], |row| row.get(0))
        .map_err(error())?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn first_fault(connection: &Connection) -> Result<String, rusqlite::Error> {
    connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SqliteStore, Store as _};
    use clb_model::{Change, Counters, Key, Object, SessionKey};
    use std::os::unix::fs::PermissionsExt as _;

    fn put(store: &mut SqliteStore, seed: u64) {
        let counters = Change::made(Object::Counters(Counters::new(seed)));
        let key = Change::made(Object::SessionKey(SessionKey([7; 32])));
        store.commit(vec![vec![counters, key].into()]).unwrap();
    }

    fn counters(dir: &Path) -> Option<Object> {
        SqliteStore::open(dir, None)
            .unwrap()
            .get(&Key::Counters)
            .unwrap()
    }

    #[test]
    fn a_backup_of_a_running_store_is_put_back_and_what_was_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup");
        let mut store = SqliteStore::open(dir.path(), None).unwrap();
        put(&mut store, 1);
        assert_eq!(back_up(dir.path(), &file).unwrap(), 2);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = store.get(&Key::Counters).unwrap();
        put(&mut store, 2);
        drop(store);
        assert_ne!(counters(dir.path()), before);

        let restored = restore(dir.path(), &file).unwrap();
        assert_eq!(restored.objects, 2);
        assert_eq!(counters(dir.path()), before);
        // And what was replaced can be put back itself.
        let replaced = restored.replaced.unwrap();
        restore(dir.path(), &replaced).unwrap();
        assert_ne!(counters(dir.path()), before);
    }

    #[test]
    fn nothing_is_overwritten_and_no_half_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup");
        assert!(back_up(dir.path(), &file).is_err(), "there is no state");
        put(&mut SqliteStore::open(dir.path(), None).unwrap(), 1);
        fs::write(&file, "mine").unwrap();
        assert!(back_up(dir.path(), &file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn what_is_damaged_or_no_state_is_not_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup");
        put(&mut SqliteStore::open(dir.path(), None).unwrap(), 1);
        let before = counters(dir.path());
        fs::write(
            &file,
            "not a database at all, and long enough to be read as one",
        )
        .unwrap();
        restore(dir.path(), &file).unwrap_err();
        fs::remove_file(&file).unwrap();
        back_up(dir.path(), &file).unwrap();
        let mut octets = fs::read(&file).unwrap();
        octets[4096..].iter_mut().for_each(|octet| *octet ^= 0x55);
        fs::write(&file, &octets).unwrap();
        restore(dir.path(), &file).unwrap_err();
        // Another program's database.
        fs::remove_file(&file).unwrap();
        let other = Connection::open(&file).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        restore(dir.path(), &file).unwrap_err();
        assert_eq!(counters(dir.path()), before);
    }

    #[test]
    fn a_folder_that_is_used_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup");
        put(&mut SqliteStore::open(dir.path(), None).unwrap(), 1);
        back_up(dir.path(), &file).unwrap();
        let _lock = StateLock::take(dir.path()).unwrap();
        let error = restore(dir.path(), &file).unwrap_err().to_string();
        assert!(error.contains("stop it first"), "{error}");
    }
}
