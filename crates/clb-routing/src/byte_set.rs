//! What a PCRE character class or escape matches, as a set of bytes (no UTF, no UCP).

use std::fmt::Write;

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

    fn invert(&mut self) {
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

    /// As a class of `regex-automata`; `None` when nothing is in it.
    pub(crate) fn written(&self) -> Option<String> {
        let mut out = String::from("[");
        let mut from = None;
        for byte in 0..=255 {
            if self.has(byte) && from.is_none() {
                from = Some(byte);
            }
            if let Some(first) = from
                && (byte == 255 || !self.has(byte + 1))
            {
                write!(out, r"\x{first:02X}-\x{byte:02X}").ok()?;
                from = None;
            }
        }
        out.push(']');
        (out.len() > 2).then_some(out)
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

    #[test]
    fn classes_are_read_as_pcre_reads_them() {
        for (text, no_case, wanted, rest) in [
            ("abc]x", false, Some(r"[\x61-\x63]"), "x"),
            ("]a]", false, Some(r"[\x5D-\x5D\x61-\x61]"), ""),
            ("^]]", false, Some(r"[\x00-\x5C\x5E-\xFF]"), ""),
            ("a-c-]", false, Some(r"[\x2D-\x2D\x61-\x63]"), ""),
            ("-a]", false, Some(r"[\x2D-\x2D\x61-\x61]"), ""),
            ("a&&b]", false, Some(r"[\x26-\x26\x61-\x62]"), ""),
            ("a[b]", false, Some(r"[\x5B-\x5B\x61-\x62]"), ""),
            (r"\]\\]", false, Some(r"[\x5C-\x5D]"), ""),
            (r"\d\x41-\x43]", false, Some(r"[\x30-\x39\x41-\x43]"), ""),
            ("b]", true, Some(r"[\x42-\x42\x62-\x62]"), ""),
            ("^b]", true, Some(r"[\x00-\x41\x43-\x61\x63-\xFF]"), ""),
            (r"\d-z]", false, None, ""),
            ("[:alpha:]]", false, None, ""),
            (r"\p{L}]", false, None, ""),
            ("z-a]", false, None, ""),
            ("abc", false, None, ""),
        ] {
            let read = class(text.as_bytes(), no_case);
            let written = read.and_then(|(set, _)| set.written());
            assert_eq!(written.as_deref(), wanted, "{text}");
            if let Some((_, left)) = read {
                assert_eq!(left, rest.as_bytes(), "{text}");
            }
        }
        assert_eq!(
            class(br"\d\D]", false).unwrap().0.written().unwrap(),
            r"[\x00-\xFF]"
        );
        assert_eq!(class(br"^\d\D]", false).unwrap().0.written(), None);
    }
}
