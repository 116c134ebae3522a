//! The key of the session cookies.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What session cookies are sealed with (semantics.md 3): drawn once for the life of the store, so
/// that clients keep their backends over a restart, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(pub [u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey([redacted])")
    }
}

impl Serialize for SessionKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hexadecimal: String = self.0.iter().map(|octet| format!("{octet:02x}")).collect();
        serializer.serialize_str(&hexadecimal)
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a session key has 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut key = [0; 32];
        for (octet, at) in key.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_is_not_shown() {
        let mut key = SessionKey([0xa7; 32]);
        key.0[0] = 0x0f;
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<SessionKey>(&text).unwrap(), key);
        assert!(!format!("{key:?}").contains("a7"));
        let long = format!("\"{}\"", "0".repeat(66));
        let strange = format!("\"{}\"", "g".repeat(64));
        for bad in ["\"\"", "\"00\"", &long, &strange] {
            assert!(serde_json::from_str::<SessionKey>(bad).is_err(), "{bad}");
        }
    }
}
