//! The API's first key: made on the first start when clb.toml names none.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clb_actions::{Access, Key};

/// Characters of a generated SecretKey; 32 of them hold 190 random bits.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const KEY_LENGTH: usize = 32;

/// Where a generated pair lies.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("credentials.toml")
}

/// A pair as it lies in the file.
pub struct Credentials {
    /// Public half.
    pub secret_id: String,
    /// Secret half.
    pub secret_key: String,
}

impl Credentials {
    /// As the API's gatekeeper takes it.
    pub fn key(&self) -> Key {
        Key::new(
            self.secret_id.clone(),
            self.secret_key.clone(),
            Access::Full,
        )
    }
}

/// Reads the generated pair, or generates it.
///
/// # Errors
/// When the file can not be read, written or understood.
pub fn ensure(state_dir: &Path) -> anyhow::Result<Credentials> {
    let path = path(state_dir);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = Credentials {
                secret_id: format!("AKID{}", random_text()),
                secret_key: random_text(),
            };
            write(&path, &made).with_context(|| path.display().to_string())?;
            Ok(made)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn random_text() -> String {
    use rand::RngExt as _;
    let mut random = rand::rng();
    (0..KEY_LENGTH)
        .map(|_| {
            let index = random.random_range(0..ALPHABET.len());
            ALPHABET.get(index).map_or('A', |byte| char::from(*byte))
        })
        .collect()
}

fn write(path: &Path, credentials: &Credentials) -> std::io::Result<()> {
    let text = format!(
        "# The Action API's generated key pair. Configure [[api.keys]] in clb.toml to use others.\n\
         secret_id = \"{}\"\nsecret_key = \"{}\"\n",
        credentials.secret_id, credentials.secret_key
    );
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn parse(text: &str) -> anyhow::Result<Credentials> {
    let table: toml::Table = text.parse()?;
    let field = |name: &str| match table.get(name) {
        Some(toml::Value::String(value)) if !value.is_empty() => Ok(value.clone()),
        _ => bail!("{name} is missing"),
    };
    Ok(Credentials {
        secret_id: field("secret_id")?,
        secret_key: field("secret_key")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = ensure(dir.path()).unwrap();
        let second = ensure(dir.path()).unwrap();
        assert_eq!(
            (&first.secret_id, &first.secret_key),
            (&second.secret_id, &second.secret_key)
        );
        assert_eq!(first.secret_key.len(), KEY_LENGTH);
        let metadata = fs::metadata(path(dir.path())).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777,
            0o600
        );
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path()), "secret_id = 3\n").unwrap();
        let error = ensure(dir.path())
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(error.contains("secret_id is missing"), "{error}");
        assert_eq!(
            fs::read_to_string(path(dir.path())).unwrap(),
            "secret_id = 3\n"
        );
    }
}
