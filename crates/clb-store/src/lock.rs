//! One clbd per state folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The folder is in use or can not be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another clbd runs on it.
    #[error("{path} is in use by another clbd{}", pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Held {
        /// The folder.
        path: String,
        /// The other's process id, if it wrote one.
        pid: Option<u32>,
    },
    /// The lock file can not be opened.
    #[error("{path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Held while a clbd uses the folder; the kernel gives it back when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl StateLock {
    /// Takes the lock of a state folder.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path: PathBuf = state_dir.join("lock");
        let io = |source| LockError::Io {
            path: path.display().to_string(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held {
                    path: state_dir.display().to_string(),
                    pid,
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let mut lock = Self { file };
        lock.sign().map_err(io)?;
        Ok(lock)
    }

    /// The lock of another process that has handed its file over: as long as one of both has it
    /// open, it is held.
    #[must_use]
    pub fn inherited(file: OwnedFd) -> Self {
        Self { file: file.into() }
    }

    /// Writes this process's id into the file, for others to be told.
    ///
    /// # Errors
    /// What writing gives.
    pub fn sign(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl AsFd for StateLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_handed_over_is_held_until_both_have_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateLock::take(dir.path()).unwrap();
        let copy = first.as_fd().try_clone_to_owned().unwrap();
        let mut second = StateLock::inherited(copy);
        second.sign().unwrap();
        drop(first);
        assert!(StateLock::take(dir.path()).is_err());
        drop(second);
        StateLock::take(dir.path()).unwrap();
    }

    #[test]
    fn the_second_one_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = StateLock::take(dir.path()).unwrap();
        let error = StateLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another clbd"), "{error}");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(held);
        StateLock::take(dir.path()).unwrap();
    }
}
