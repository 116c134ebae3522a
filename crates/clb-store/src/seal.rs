//! Rows that hold private keys, encrypted at rest (`[store] key_file`).
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce each time: 2^32 of them are safe under one
//! key. The row's kind and id are authenticated with it, so that no row can stand in for another.
//! What is sealed: certificates, the key of the session cookies, and tasks that have not ended, for
//! their commands may bring a private key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clb_model::{Kind, Object, TaskState};
use zeroize::Zeroizing;

/// How a sealed value begins; no object's JSON does.
const HEAD: &str = "{\"sealed\":\"";
const TAIL: &str = "\"}";

/// Seals and opens rows.
pub(crate) struct Sealer(RandomizedNonceKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

/// Whether an object may hold a secret.
pub(crate) fn is_secret(object: &Object) -> bool {
    match object {
        Object::Certificate(_) | Object::SessionKey(_) => true,
        Object::Task(task) => matches!(task.state, TaskState::Pending { .. }),
        _ => false,
    }
}

/// Whether a stored value is sealed.
pub(crate) fn is_sealed(value: &str) -> bool {
    value.starts_with(HEAD)
}

impl Sealer {
    /// With the key of `[store] key_file`. None can not happen: every 32 octets are a key.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key).ok().map(Self)
    }

    /// A value as it is stored; none when the system gives no random octets.
    pub(crate) fn seal(&self, kind: Kind, id: &str, value: &str) -> Option<String> {
        let mut content = Zeroizing::new(Vec::with_capacity(value.len() + AES_256_GCM.tag_len()));
        content.extend_from_slice(value.as_bytes());
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(place(kind, id)), &mut *content)
            .ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&content);
        Some(format!("{HEAD}{}{TAIL}", STANDARD.encode(sealed)))
    }

    /// The value; none when it was sealed with another key, for another row, or is damaged.
    pub(crate) fn open(&self, kind: Kind, id: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let text = sealed.strip_prefix(HEAD)?.strip_suffix(TAIL)?;
        let sealed = STANDARD.decode(text).ok()?;
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = Zeroizing::new(content.to_vec());
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(place(kind, id)), &mut content)
            .ok()?;
        let opened = std::str::from_utf8(opened).ok()?;
        Some(Zeroizing::new(opened.to_owned()))
    }
}

fn place(kind: Kind, id: &str) -> String {
    format!("{}/{id}", kind.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_row_under_the_same_key_opens() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer
            .seal(Kind::Certificate, "a", "{\"secret\":1}")
            .unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("secret"));
        let open = |sealer: &Sealer, kind, id, text: &str| {
            sealer.open(kind, id, text).map(|value| value.to_string())
        };
        let value = Some("{\"secret\":1}".to_owned());
        assert_eq!(open(&sealer, Kind::Certificate, "a", &sealed), value);
        assert_eq!(open(&sealer, Kind::Certificate, "b", &sealed), None);
        assert_eq!(open(&sealer, Kind::Task, "a", &sealed), None);
        let other = Sealer::new(&[8; 32]).unwrap();
        assert_eq!(open(&other, Kind::Certificate, "a", &sealed), None);
        for broken in [
            "",
            "{\"sealed\":\"\"}",
            "{\"sealed\":\"AAAA\"}",
            "{\"sealed\":\"!\"}",
        ] {
            assert_eq!(open(&sealer, Kind::Certificate, "a", broken), None);
        }
        let again = sealer
            .seal(Kind::Certificate, "a", "{\"secret\":1}")
            .unwrap();
        assert_ne!(again, sealed);
    }
}
