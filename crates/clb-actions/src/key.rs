//! The API's keys (`[[api.keys]]`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every Action.
    Full,
    /// The Actions that change nothing; others are answered 4101.
    ReadOnly,
}

/// One pair of SecretId and SecretKey. The SecretKey is wiped from memory when the last copy is
/// dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Key {
    secret_id: Arc<str>,
    secret_key: Zeroizing<String>,
    access: Access,
}

impl Key {
    /// A key as it is configured.
    #[must_use]
    pub fn new(
        secret_id: impl Into<String>,
        secret_key: impl Into<String>,
        access: Access,
    ) -> Self {
        Self {
            secret_id: Arc::from(secret_id.into()),
            secret_key: Zeroizing::new(secret_key.into()),
            access,
        }
    }

    /// The public half.
    #[must_use]
    pub fn secret_id(&self) -> &str {
        &self.secret_id
    }

    /// What the key may do.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    pub(crate) fn shared_id(&self) -> &Arc<str> {
        &self.secret_id
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.secret_key
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("secret_id", &self.secret_id)
            .field("secret_key", &"[redacted]")
            .field("access", &self.access)
            .finish()
    }
}

/// The configured keys by SecretId.
#[derive(Debug, Default)]
pub(crate) struct KeyRing(HashMap<Arc<str>, Key>);

impl KeyRing {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self(
            keys.into_iter()
                .map(|key| (Arc::clone(&key.secret_id), key))
                .collect(),
        )
    }

    pub(crate) fn get(&self, secret_id: &str) -> Option<&Key> {
        self.0.get(secret_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_show_the_secret_key() {
        let key = Key::new("AKIDexample", "very-secret", Access::Full);
        let ring = KeyRing::new(vec![key.clone()]);
        for text in [format!("{key:?}"), format!("{ring:#?}")] {
            assert!(text.contains("AKIDexample"));
            assert!(!text.contains("very-secret"));
        }
    }
}
