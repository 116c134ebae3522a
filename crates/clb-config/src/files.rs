//! What clb.toml names by file: certificates, their keys, and the store's key.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use clb_cert::{Content, MAX_PEM_BYTES, Refused};
use zeroize::Zeroizing;

use crate::document::Values;
use crate::problems::Collector;
use crate::shape::{Certificate, StoreKey};
use crate::value::Value;

/// Hexadecimal digits of `store.key_file`.
const KEY_DIGITS: usize = 64;

/// Reads and checks one `[[certificates]]`.
pub(crate) fn certificate(
    values: &Values,
    folder: &Path,
    problems: &mut Collector,
) -> Option<Certificate> {
    let text = |path: &str| match values.value(path) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    };
    let (id, name) = (text("certificates.id")?, text("certificates.name")?);
    let chain = named(values, "certificates.cert", folder, problems)?;
    let content = match values.given("certificates.key") {
        Some(_) => {
            let key = named(values, "certificates.key", folder, problems)?;
            clb_cert::server(&chain, &key)
        }
        None if values.is_mentioned("certificates.key") => return None,
        None => clb_cert::authority(&chain).map_err(Refused::Certificate),
    };
    let content = content.map_err(|refused| refuse(values, &refused, problems));
    Some(Certificate {
        id,
        name,
        content: content.ok()?,
    })
}

fn refuse(values: &Values, refused: &Refused, problems: &mut Collector) {
    let (path, error) = match refused {
        Refused::Certificate(error) => ("certificates.cert", error.to_string()),
        Refused::Key(error) => ("certificates.key", error.to_string()),
    };
    let message = format!("{path} = \"{}\": {error}", shown(values, path));
    problems.add(values.offset_of(path), message);
}

/// The content of the file that a key names.
fn named(
    values: &Values,
    path: &str,
    folder: &Path,
    problems: &mut Collector,
) -> Option<Zeroizing<String>> {
    let name = shown(values, path);
    if name.is_empty() {
        return None;
    }
    let read = File::open(folder.join(&name)).and_then(read);
    read.map_err(|error| {
        let message = format!("{path} = \"{name}\": can not be read: {error}");
        problems.add(values.offset_of(path), message);
    })
    .ok()
}

fn shown(values: &Values, path: &str) -> String {
    match values.given(path).map(|placed| &placed.value) {
        Some(Value::Text(name)) => name.clone(),
        _ => String::new(),
    }
}

/// A text of as many bytes as any key or certificate may have, and one more, so that what is
/// longer is refused and not cut.
fn read(file: File) -> io::Result<Zeroizing<String>> {
    let most = u64::try_from(MAX_PEM_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    // Of its full size from the start, so that no copy stays behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(MAX_PEM_BYTES + 2));
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads `store.key_file`: 64 hexadecimal digits that nobody else may read.
pub(crate) fn store_key(
    root: &Values,
    folder: &Path,
    problems: &mut Collector,
) -> Option<StoreKey> {
    let path = "store.key_file";
    root.given(path)?;
    let name = shown(root, path);
    let key = File::open(folder.join(&name))
        .map_err(|error| format!("can not be read: {error}"))
        .and_then(|file| key_of(file, &name));
    key.map_err(|reason| {
        let message = format!("{path} = \"{name}\": {reason}");
        problems.add(root.offset_of(path), message);
    })
    .ok()
}

/// What is wrong with a file of secrets that others than its owner may have access to.
fn openness(metadata: &Metadata, name: &str) -> Option<String> {
    let mode = metadata.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!("has mode {mode:04o}: only its owner may have access, as after chmod 600 {name}")
    })
}

/// Warnings of the files that SecretKeys were read from, clb.toml itself included: what verifies
/// HMACs can not be kept as a hash, so that nobody else may read it.
pub(crate) fn key_warnings(path: &Path, folder: &Path, keys: &[Values]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |what: String, file: &Path, name: &str| {
        // One that is not there has no secrets, and is told of elsewhere.
        let open = file
            .metadata()
            .ok()
            .and_then(|found| openness(&found, name));
        warnings.extend(open.map(|open| format!("{what}: {open}")));
    };
    if keys
        .iter()
        .any(|key| key.given("api.keys.secret_key").is_some())
    {
        let name = path.display().to_string();
        warn(format!("{name}, which has a secret_key"), path, &name);
    }
    for key in keys {
        let name = shown(key, "api.keys.secret_key_file");
        if !name.is_empty() {
            let what = format!("api.keys.secret_key_file = \"{name}\"");
            warn(what, &folder.join(&name), &name);
        }
    }
    warnings
}

fn key_of(file: File, name: &str) -> Result<StoreKey, String> {
    let unreadable = |error: io::Error| format!("can not be read: {error}");
    if let Some(open) = openness(&file.metadata().map_err(unreadable)?, name) {
        return Err(open);
    }
    let text = read(file).map_err(unreadable)?;
    let digits = text.trim_end_matches(['\r', '\n']);
    let wrong = || {
        format!(
            "must hold one line of {KEY_DIGITS} hexadecimal digits, as `openssl rand -hex 32` makes them"
        )
    };
    if digits.len() != KEY_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut key = Zeroizing::new([0; KEY_DIGITS / 2]);
    for (octet, at) in key.iter_mut().zip((0..).step_by(2)) {
        let pair = digits.get(at..at + 2).ok_or_else(wrong)?;
        *octet = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(StoreKey(key))
}

/// What is allowed but will not work as meant: certificates that are expired or not yet valid at
/// `now` (Unix seconds).
#[must_use]
pub fn certificate_warnings(certificates: &[Certificate], now: i64) -> Vec<String> {
    let of_one = |certificate: &Certificate| {
        let id = certificate.id.clone();
        let warnings = Content::warnings(&certificate.content, now);
        let prefixed = move |warning| format!("certificates.id = \"{id}\": {warning}");
        warnings.into_iter().map(prefixed).collect::<Vec<_>>()
    };
    certificates.iter().flat_map(of_one).collect()
}
