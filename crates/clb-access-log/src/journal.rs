//! The rows that are in no block yet, on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const PREFIX: &str = "open-";

/// The journal of the next block: its rows as they travel, one after the other. It is called by the
/// block's number, so that rows which made it into the block are not taken for others.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    file: Option<File>,
    block: u64,
    /// Octets of whole rows.
    length: u64,
}

impl Journal {
    /// Opens the journal of the block with this number and gives what is in it. Others, of blocks
    /// that were written, are removed.
    ///
    /// # Errors
    /// What the folder or a file in it gives.
    pub(crate) fn open(dir: &Path, block: u64) -> io::Result<(Self, Vec<u8>)> {
        let mut rows = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            match name.and_then(|name| name.strip_prefix(PREFIX)) {
                Some(number) if number.parse() == Ok(block) => rows = fs::read(&path)?,
                Some(_) => fs::remove_file(&path)?,
                None => {}
            }
        }
        let journal = Self {
            dir: dir.to_owned(),
            file: None,
            block,
            length: rows.len() as u64,
        };
        Ok((journal, rows))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{PREFIX}{:016}", self.block))
    }

    /// Appends rows.
    ///
    /// # Errors
    /// What writing gives; then none of them is there.
    pub(crate) fn append(&mut self, rows: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = self.path();
                let options = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o600)
                    .open(path)?;
                self.file.insert(options)
            }
        };
        if let Err(error) = file.write_all(rows) {
            // Half a row would hide all that come after it.
            file.set_len(self.length)?;
            return Err(error);
        }
        self.length += rows.len() as u64;
        Ok(())
    }

    /// The block was written, or given up: the next one, with this number, begins.
    pub(crate) fn begin(&mut self, block: u64) {
        self.file = None;
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the journal of the access log can not be removed");
            }
            _ => {}
        }
        (self.block, self.length) = (block, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_of_the_block_that_is_missing_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, rows) = Journal::open(dir.path(), 3).unwrap();
        assert!(rows.is_empty());
        journal.append(b"one").unwrap();
        journal.append(b"two").unwrap();
        drop(journal);
        let (mut journal, rows) = Journal::open(dir.path(), 3).unwrap();
        assert_eq!(rows, b"onetwo");
        journal.append(b"three").unwrap();
        // The block was written, but the journal could not be removed any more.
        drop(journal);
        let (_, rows) = Journal::open(dir.path(), 4).unwrap();
        assert!(rows.is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_next_block_has_a_journal_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), 0).unwrap();
        journal.append(b"one").unwrap();
        journal.begin(1);
        journal.append(b"two").unwrap();
        drop(journal);
        let (_, rows) = Journal::open(dir.path(), 1).unwrap();
        assert_eq!(rows, b"two");
    }
}
