//! What a PCRE character class or escape matches, as a set of bytes (no UTF, no UCP).

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir};

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ByteSet([u128; 2]);

impl ByteSet {
    fn has(&self, byte: u8) -> bool {
        let [low, high] = self.0;
        let half = if byte < 128 { low } else { high };
        half >> (byte % 128) & 1 == 1
    }

    pub(crate) fn add(&mut self, byte: u8) {
        let [low, high] = &mut self.0;
        let half = if byte < 128 { low } else { high };
        *half |= 1 << (byte % 128);
    }

    fn add_all(&mut self, bytes: impl IntoIterator<Item = u8>) {
        bytes.into_iter().for_each(|byte| self.add(byte));
    }

    fn join(&mut self, other: Self) {
        let ([low, high], [other_low, other_high]) = (&mut self.0, other.0);
        *low |= other_low;
        *high |= other_high;
    }

    pub(crate) fn invert(&mut self) {
        self.0 = self.0.map(|half| !half);
    }

    /// Adds the other case of each ASCII letter; PCRE2's built-in tables know no other letters.
    pub(crate) fn ignore_case(&mut self) {
        for lower in b'a'..=b'z' {
            let upper = lower.to_ascii_uppercase();
            if self.has(lower) || self.has(upper) {
                self.add(lower);
                self.add(upper);
            }
        }
    }

    /// As a class; `None` when nothing is in it.
    pub(crate) fn class(&self) -> Option<Hir> {
        let single = (0..=255).filter(|&byte| self.has(byte));
        // A class joins what is adjacent.
        let class = ClassBytes::new(single.map(|byte| ClassBytesRange::new(byte, byte)));
        (!class.ranges().is_empty()).then(|| Hir::class(Class::Bytes(class)))
    }
}

/// What follows a backslash: a set, and the rest. `None` when it is not known to be just a set.
pub(crate) fn escape(text: &[u8]) -> Option<(ByteSet, &[u8])> {
    let (&letter, rest) = text.split_first()?;
    let mut set = ByteSet::default();
    match letter {
        b'd' | b'D' => set.add_all(b'0'..=b'9'),
        b's' | b'S' => set.add_all([b' ', b'\t', b'\n', 0x0b, 0x0c, b'\r']),
        b'w' | b'W' => {
            set.add_all(b'0'..=b'9');
            set.add_all(b'a'..=b'z');
            set.add_all(b'A'..=b'Z');
            set.add(b'_');
        }
        b't' => set.add(b'\t'),
        b'n' => set.add(b'\n'),
        b'r' => set.add(b'\r'),
        b'f' => set.add(0x0c),
        b'x' => {
            let (digits, rest) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            set.add(u8::from_str_radix(digits, 16).ok()?);
            return Some((set, rest));
        }
        _ if letter.is_ascii_punctuation() || letter == b' ' => set.add(letter),
        _ => return None,
    }
    if matches!(letter, b'D' | b'S' | b'W') {
        set.invert();
    }
    Some((set, rest))
}

/// What follows a `[`: the set up to its `]`, and the rest.
pub(crate) fn class(text: &[u8], no_case: bool) -> Option<(ByteSet, &[u8])> {
    let mut set = ByteSet::default();
    let (negated, mut rest) = match text.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut first = true;
    loop {
        let (item, after) = match rest {
            [b']', after @ ..] if !first => {
                rest = after;
                break;
            }
            // POSIX classes and what PCRE2 refuses.
            [b'[', b':' | b'.' | b'=', ..] => return None,
            [b'\\', after @ ..] => escape(after)?,
            [byte, after @ ..] => {
                let mut item = ByteSet::default();
                item.add(*byte);
                (item, after)
            }
            [] => return None,
        };
        first = false;
        rest = after;
        match rest {
            // A hyphen at the end is itself, one between two bytes a range.
            [b'-', b']', ..] | [] => set.join(item),
            [b'-', after @ ..] => {
                let (end, after) = match after {
                    [b'\\', after @ ..] => escape(after)?,
                    [b'[', ..] | [] => return None,
                    [byte, after @ ..] => {
                        let mut end = ByteSet::default();
                        end.add(*byte);
                        (end, after)
                    }
                };
                let (from, to) = (only(item)?, only(end)?);
                if from > to {
                    return None;
                }
                set.add_all(from..=to);
                rest = after;
            }
            _ => set.join(item),
        }
    }
    if no_case {
        set.ignore_case();
    }
    if negated {
        set.invert();
    }
    Some((set, rest))
}

/// The one byte of a set that has one.
fn only(set: ByteSet) -> Option<u8> {
    let mut bytes = (0..=255).filter(|&byte| set.has(byte));
    match (bytes.next(), bytes.next()) {
        (Some(byte), None) => Some(byte),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> ByteSet {
        let mut set = ByteSet::default();
        set.add_all(text.iter().copied());
        set
    }

    fn all_but(text: &[u8]) -> ByteSet {
        let mut set = bytes(text);
        set.invert();
        set
    }

    #[test]
    fn classes_are_read_as_pcre_reads_them() {
        for (text, no_case, wanted, rest) in [
            ("abc]x", false, bytes(b"abc"), "x"),
            ("]a]", false, bytes(b"]a"), ""),
            ("^]]", false, all_but(b"]"), ""),
            ("a-c-]", false, bytes(b"abc-"), ""),
            ("-a]]", false, bytes(b"-a"), "]"),
            ("a&&b]", false, bytes(b"a&b"), ""),
            ("a[b]", false, bytes(b"a[b"), ""),
            (r"\]\\]", false, bytes(br"]\"), ""),
            (r"\d\x41-\x43]", false, bytes(b"0123456789ABC"), ""),
            ("b]", true, bytes(b"Bb"), ""),
            ("^b]", true, all_but(b"Bb"), ""),
            (r"\d\D]", false, all_but(b""), ""),
            (r"^\d\D]", false, bytes(b""), ""),
        ] {
            let read = class(text.as_bytes(), no_case);
            assert_eq!(read, Some((wanted, rest.as_bytes())), "{text}");
        }
        for text in [r"\d-z]", "[:alpha:]]", r"\p{L}]", "z-a]", "abc", "^]", "]"] {
            assert_eq!(class(text.as_bytes(), false), None, "{text}");
        }
        assert!(bytes(b"").class().is_none());
    }
}
