//! Ids of the objects: a prefix and eight characters of `a-z0-9` (actions.md C.9).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many different ids of one kind exist: 36^8.
pub const ID_SPACE: u64 = 36u64.pow(8);

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The text is no id of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}xxxxxxxx with x of a-z0-9")]
pub struct BadId {
    prefix: &'static str,
}

fn characters_of(number: u64) -> [u8; 8] {
    let mut rest = number % ID_SPACE;
    let mut out = [b'a'; 8];
    for slot in out.iter_mut().rev() {
        let digit = usize::try_from(rest % 36).unwrap_or(0);
        *slot = ALPHABET.get(digit).copied().unwrap_or(b'a');
        rest /= 36;
    }
    out
}

/// Maps `0..ID_SPACE` onto itself, one to one, so that ids which are numbered in turn look random
/// and none is ever given out twice. Four Feistel rounds over 42 bits; results outside the space
/// walk on until they fall inside (36^8 is 0.64 of 2^42).
#[must_use]
pub fn scramble(number: u64, key: u64) -> u64 {
    const HALF: u32 = 21;
    const MASK: u64 = (1 << HALF) - 1;
    let mut value = number % ID_SPACE;
    loop {
        let (mut left, mut right) = ((value >> HALF) & MASK, value & MASK);
        for round in 0..4u64 {
            let mut mixed = right ^ key.rotate_left(16 * u32::try_from(round).unwrap_or(0)) ^ round;
            mixed = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            mixed ^= mixed >> 29;
            mixed = mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (left, right) = (right, left ^ ((mixed >> 32) & MASK));
        }
        value = (left << HALF) | right;
        if value < ID_SPACE {
            return value;
        }
    }
}

fn parse_characters(text: &str, prefix: &'static str) -> Result<[u8; 8], BadId> {
    let characters: [u8; 8] = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.as_bytes().try_into().ok())
        .ok_or(BadId { prefix })?;
    if characters
        .iter()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    {
        Ok(characters)
    } else {
        Err(BadId { prefix })
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 8]);

        impl $name {
            /// No id sorts before this one; for ranges.
            pub const FIRST: Self = Self(*b"00000000");
            /// No id sorts after this one.
            pub const LAST: Self = Self(*b"zzzzzzzz");

            /// The id with this number; two numbers below [`ID_SPACE`] never share an id.
            #[must_use]
            pub fn from_number(number: u64) -> Self {
                Self(characters_of(number))
            }

            /// The id as one number, for where it is kept in masses; never 0.
            #[must_use]
            pub fn to_bits(self) -> u64 {
                u64::from_be_bytes(self.0)
            }

            /// The id that [`to_bits`](Self::to_bits) gave; `None` for what it never gives.
            #[must_use]
            pub fn from_bits(bits: u64) -> Option<Self> {
                let characters = bits.to_be_bytes();
                let is_id = |octet: &u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
                characters.iter().all(is_id).then_some(Self(characters))
            }

            /// Reads an id as the API writes it.
            ///
            /// # Errors
            /// [`BadId`] when the text has another form.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                parse_characters(text, $prefix).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                self.0.iter().try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// A load balancer instance, `lb-xxxxxxxx`.
    LbId,
    "lb-"
);
id_type!(
    /// A listener, `lbl-xxxxxxxx`.
    ListenerId,
    "lbl-"
);
id_type!(
    /// A rule (domain and url) of an application-based layer-7 listener, `loc-xxxxxxxx`.
    RuleId,
    "loc-"
);
id_type!(
    /// A certificate, eight characters without a prefix (actions.md C.7).
    CertificateId,
    ""
);

/// One binding of a backend: given out once, never again, so that what hangs on it (health,
/// connection counts, persistence) can not be taken over by a later binding of the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BindingId(pub u64);

impl fmt::Display for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An asynchronous Action's task; the API's `requestId`. Rising, below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_its_bits() {
        for number in [0, 1, 36, 1_000_000] {
            let id = RuleId::from_number(number);
            assert_ne!(id.to_bits(), 0);
            assert_eq!(RuleId::from_bits(id.to_bits()), Some(id));
        }
        assert_eq!(RuleId::from_bits(0), None);
    }

    proptest! {
        #[test]
        fn every_number_has_its_own_id_that_reads_back(a in 0..ID_SPACE, b in 0..ID_SPACE) {
            let (first, second) = (LbId::from_number(a), LbId::from_number(b));
            prop_assert_eq!(first == second, a == b);
            prop_assert_eq!(LbId::parse(&first.to_string()), Ok(first));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = LbId::parse(&text);
        }
    }

    #[test]
    fn scrambled_numbers_stay_apart() {
        let mut seen = std::collections::HashSet::new();
        assert!((0..100_000).all(|number| seen.insert(scramble(number, 0x1234_5678_9abc_def0))));
        assert!(seen.iter().all(|number| *number < ID_SPACE));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "lb-",
            "lb-abcdefg",
            "lb-abcdefghi",
            "lbl-abcdefgh",
            "lb-ABCDEFGH",
            "lb-abcdefg_",
        ] {
            assert!(LbId::parse(text).is_err(), "{text}");
        }
    }
}
