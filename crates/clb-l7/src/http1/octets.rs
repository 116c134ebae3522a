//! Classes of octets (RFC 9110, section 5.6.2; RFC 5234, appendix B.1) and slices that never panic.

use wide::u8x16;

/// Carriage return and line feed.
pub(crate) const CRLF: &[u8] = b"\r\n";

#[expect(clippy::indexing_slicing, reason = "runs when this is compiled")]
const fn table(extra: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0_u8;
    while octet < 128 {
        table[octet as usize] = octet.is_ascii_alphanumeric();
        octet += 1;
    }
    let mut at = 0;
    while at < extra.len() {
        table[extra[at] as usize] = true;
        at += 1;
    }
    table
}

/// What a token is made of (RFC 9110, section 5.6.2).
static TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// What an identifier of a request may be made of when a client brings it: nothing that a log, a
/// shell or a page could misread.
static SAFE: [bool; 256] = table(b"-_.:/+=~@");

/// What `_` is in [`NAME`], beside being of a token.
const UNDERSCORE: u8 = 2;

/// For each octet: 0 if no token has it, else 1, and [`UNDERSCORE`] for that.
#[expect(clippy::indexing_slicing, reason = "runs when this is compiled")]
static NAME: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < classes.len() {
        classes[octet] = TOKEN[octet] as u8;
        octet += 1;
    }
    classes[b'_' as usize] |= UNDERSCORE;
    classes
};

/// The token at the start of `text`, perhaps empty: its length, and whether `_` is in it. `None`
/// when the text ends before the token does.
#[inline]
pub(crate) fn token_at_start(text: &[u8]) -> Option<(usize, bool)> {
    // Almost all names are letters and hyphens, and not longer than a block.
    let block = text.first_chunk();
    let at = block.map_or(0, |block| first(others(block)).unwrap_or(BLOCK));
    if let Some(b':') = text.get(at) {
        return Some((at, false));
    }
    let mut seen = 0;
    let more = from(text, at).iter().position(|&octet| {
        let class = NAME.get(usize::from(octet)).copied().unwrap_or_default();
        seen |= class;
        class == 0
    })?;
    Some((at + more, seen & UNDERSCORE != 0))
}

/// Whether `octet` may stand in a token.
#[inline]
pub(crate) fn is_token_octet(octet: u8) -> bool {
    TOKEN.get(usize::from(octet)).is_some_and(|&yes| yes)
}

/// Whether `text` is a token: at least one octet, and only those of a token.
#[inline]
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&octet| is_token_octet(octet))
}

/// Whether `octet` may stand in an identifier that a client brings.
#[inline]
pub(crate) fn is_safe_octet(octet: u8) -> bool {
    SAFE.get(usize::from(octet)).is_some_and(|&yes| yes)
}

/// `data[start..end]`, or nothing where that is no range of it.
#[inline]
pub(crate) fn part(data: &[u8], start: usize, end: usize) -> &[u8] {
    data.get(start..end).unwrap_or_default()
}

/// `data[start..]`, or nothing where it is shorter.
#[inline]
pub(crate) fn from(data: &[u8], start: usize) -> &[u8] {
    data.get(start..).unwrap_or_default()
}

/// Space or tab (OWS is made of these; RFC 9110, section 5.6.3).
#[inline]
pub(crate) fn is_blank(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

/// `text` without spaces and tabs at both ends.
#[inline]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_start(trim_end(text))
}

/// `text` without spaces and tabs at its start.
#[inline]
pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_blank(*first) {
            break;
        }
        text = rest;
    }
    text
}

/// `text` without spaces and tabs at its end.
#[inline]
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text {
        if !is_blank(*last) {
            break;
        }
        text = rest;
    }
    text
}

/// Octets that are looked at together.
const BLOCK: usize = 16;

/// Which octets of a block are controls, DEL and tab included: one bit for each.
#[inline]
fn controls(block: &[u8; BLOCK]) -> u32 {
    let octets = u8x16::new(*block);
    (octets.simd_lt(u8x16::splat(0x20)) | octets.simd_eq(u8x16::splat(0x7f))).to_bitmask()
}

/// Which octets of a block are neither ASCII letters nor hyphens.
#[inline]
fn others(block: &[u8; BLOCK]) -> u32 {
    let octets = u8x16::new(*block);
    let from_a = (octets | u8x16::splat(0x20)) - u8x16::splat(b'a');
    let letters = from_a.simd_lt(u8x16::splat(26));
    !(letters | octets.simd_eq(u8x16::splat(b'-'))).to_bitmask() & 0xffff
}

/// Where the first bit is set.
#[inline]
fn first(bits: u32) -> Option<usize> {
    (bits != 0).then_some(bits.trailing_zeros() as usize)
}

/// Position of the first octet that no field value, reason phrase or target may hold: a control
/// octet, DEL included, other than a tab.
#[inline]
pub(crate) fn first_control(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut blocks = text.chunks_exact(BLOCK);
    for block in &mut blocks {
        if let Some(found) = block.first_chunk().and_then(|block| first(controls(block))) {
            if block.get(found) != Some(&b'\t') {
                return Some(at + found);
            }
            // What is not a tab may stand behind it.
            if let Some(found) = block.iter().position(|&octet| is_control(octet)) {
                return Some(at + found);
            }
        }
        at += BLOCK;
    }
    let rest = blocks.remainder();
    let found = rest.iter().position(|&octet| is_control(octet))?;
    Some(at + found)
}

/// A control octet, DEL included, other than a tab.
#[inline]
pub(crate) fn is_control(octet: u8) -> bool {
    (octet < 0x20 && octet != b'\t') || octet == 0x7f
}

/// `text` split at `separator`, as [`slice::split`] does, but for texts that mostly have none.
#[inline]
pub(crate) fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(separator, text);
        rest = end.map(|end| from(text, end + 1));
        Some(part(text, 0, end.unwrap_or(text.len())))
    })
}

/// The members of a comma-separated list, blanks around them removed. Empty members come as empty
/// slices: whether they are ignored (RFC 9110, section 5.6.1.2) is the caller's to say. Knows no
/// quoted strings: for lists of tokens.
pub(crate) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&octet| octet == b',').map(trim)
}

/// Appends `number` in decimal.
#[inline]
pub(crate) fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0_u8; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        length += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(from(&digits, digits.len() - length));
}

/// A number of decimal digits only (RFC 9110, section 8.6: `1*DIGIT`); `None` when it is empty, has
/// another octet, or does not fit.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &octet| {
        if !octet.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(octet - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_octet_is_told_apart_at_every_place_of_a_word() {
        for octet in 0..=255_u8 {
            for place in 0..75 {
                let mut text = [b'a'; 75];
                text[place] = octet;
                let expected = is_control(octet).then_some(place);
                assert_eq!(first_control(&text), expected, "{octet:#x} at {place}");
            }
        }
    }

    #[test]
    fn every_octet_ends_a_token_or_not_at_every_place() {
        for octet in 0..=255_u8 {
            for place in 0..40 {
                let mut text = [b'a'; 40];
                text[place] = octet;
                let expected = (!is_token_octet(octet)).then_some((place, false));
                assert_eq!(token_at_start(&text), expected, "{octet:#x} at {place}");
            }
        }
    }

    #[test]
    fn numbers_in_decimal() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
            assert_eq!(decimal(&out), Some(number));
        }
        for bad in [
            "",
            "+1",
            "-1",
            "1 ",
            "0x1",
            "1,1",
            "18446744073709551616",
            "\u{661}",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn tokens() {
        assert!(is_token(b"X-a_b!#$%&'*+.^`|~09"));
        for bad in [
            &b""[..],
            b"a b",
            b"a:",
            b"a\0",
            b"a\x7f",
            b"\xe9",
            b"a(",
            b"a\"",
            b"a,",
        ] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn split_is_split(text in "[a;]{0,9}") {
            let text = text.as_bytes();
            prop_assert!(split(text, b';').eq(text.split(|&octet| octet == b';')));
        }

        #[test]
        fn a_token_at_the_start(text in "[a_:-]{0,9}") {
            let text = text.as_bytes();
            let end = text.iter().position(|&octet| octet == b':');
            let expected = end.map(|end| (end, text[..end].contains(&b'_')));
            prop_assert_eq!(token_at_start(text), expected);
        }

        #[test]
        fn a_token_ends_where_its_octets_say(
            text in proptest::collection::vec(
                prop_oneof![20 => prop_oneof![Just(b'-'), b'a'..=b'z', b'A'..=b'Z'], 1 => any::<u8>()],
                0..49,
            )
        ) {
            let end = text.iter().position(|&octet| !is_token_octet(octet));
            let expected = end.map(|end| (end, text[..end].contains(&b'_')));
            prop_assert_eq!(token_at_start(&text), expected);
        }

        #[test]
        fn blocks_find_what_octets_find(
            text in proptest::collection::vec(prop_oneof![9 => 0x20..0x7f_u8, 1 => any::<u8>()], 0..99)
        ) {
            prop_assert_eq!(
                first_control(&text),
                text.iter().position(|&octet| is_control(octet))
            );
        }
    }
}
