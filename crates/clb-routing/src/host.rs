//! From a host as sent to the name that domains are compared with, as nginx 1.22 does it
//! (ngx_http_validate_host).

use crate::error::HostFault;

/// Of an octet that a plain name does not have.
const OTHER: u8 = 1;
/// Of a dot.
const DOT: u8 = 2;

/// What each octet is in a plain name: 0 for lower-case letters, digits, hyphen and underscore.
#[expect(clippy::indexing_slicing, reason = "runs when this is compiled")]
static PLAIN: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut octet = 0;
    while octet < 128 {
        classes[octet as usize] = match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => 0,
            b'.' => DOT,
            _ => OTHER,
        };
        octet += 1;
    }
    classes
};

/// The name in `raw` where nothing has to be looked at closely: a name in lower case without port.
fn plain_name(raw: &[u8]) -> Option<&[u8]> {
    let (mut seen, mut doubled, mut before) = (0, 0, 0);
    for &octet in raw {
        let class = PLAIN.get(usize::from(octet)).copied().unwrap_or(OTHER);
        seen |= class;
        doubled |= class & before;
        before = class;
    }
    let is_plain = (seen & OTHER) | (doubled & DOT) == 0;
    let name = raw.strip_suffix(b".").unwrap_or(raw);
    (is_plain && !name.is_empty()).then_some(name)
}

enum Part {
    Name,
    Literal,
    Rest,
}

/// Writes `raw` into `name`: lower case, without port and without one dot at the end.
///
/// What stands after a port's colon or after an IPv6 literal is not looked at beyond the bytes
/// that no host may have, just as nginx does.
///
/// # Errors
/// [`HostFault`]; an empty `raw` is [`HostFault::Empty`].
pub(crate) fn normalise(raw: &[u8], name: &mut Vec<u8>) -> Result<(), HostFault> {
    name.clear();
    if let Some(plain) = plain_name(raw) {
        name.extend_from_slice(plain);
        return Ok(());
    }
    let mut part = Part::Name;
    let mut end = raw.len();
    let mut last_dot = None;
    for (at, &byte) in raw.iter().enumerate() {
        match (byte, &part) {
            (b'.', _) => {
                if last_dot.is_some_and(|dot| dot + 1 == at) {
                    return Err(HostFault::EmptyLabel);
                }
                last_dot = Some(at);
            }
            (b':', Part::Name) => {
                end = at;
                part = Part::Rest;
            }
            (b'[', _) if at == 0 => part = Part::Literal,
            (b']', Part::Literal) => {
                end = at + 1;
                part = Part::Rest;
            }
            (0..=b' ' | 0x7f | b'/', _) => return Err(HostFault::Byte(byte)),
            _ => {}
        }
    }
    // The last dot of all: one after the port's colon keeps that before the colon from going.
    if last_dot.is_some_and(|dot| dot + 1 == end) {
        end -= 1;
    }
    let whole = raw.get(..end).unwrap_or(raw);
    if whole.is_empty() {
        return Err(HostFault::Empty);
    }
    name.extend(whole.iter().map(u8::to_ascii_lowercase));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> Result<String, HostFault> {
        let mut name = b"left over".to_vec();
        normalise(raw.as_bytes(), &mut name)?;
        Ok(String::from_utf8(name).unwrap())
    }

    #[test]
    fn case_port_and_one_dot_go() {
        for (raw, wanted) in [
            ("WWW.Example.com", "www.example.com"),
            ("www.example.com:8080", "www.example.com"),
            ("www.example.com.", "www.example.com"),
            ("www.example.com.:80", "www.example.com"),
            ("a:b:c", "a"),
            ("a:", "a"),
            ("a:8.", "a"),
            ("a.:8.", "a."),
            (".a", ".a"),
            ("[::1]", "[::1]"),
            ("[FE80::1]:80", "[fe80::1]"),
            ("[::1]rest", "[::1]"),
            ("[::1", "[::1"),
            ("a[b]:1", "a[b]"),
            ("a_b*\u{e9}", "a_b*\u{e9}"),
        ] {
            assert_eq!(name(raw).as_deref(), Ok(wanted), "{raw}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        for (raw, fault) in [
            ("", HostFault::Empty),
            (".", HostFault::Empty),
            (":80", HostFault::Empty),
            (".:80", HostFault::Empty),
            ("a..b", HostFault::EmptyLabel),
            ("a..", HostFault::EmptyLabel),
            ("a:1..2", HostFault::EmptyLabel),
            ("a/b", HostFault::Byte(b'/')),
            ("a:80/", HostFault::Byte(b'/')),
            ("a b", HostFault::Byte(b' ')),
            ("a\tb", HostFault::Byte(b'\t')),
            ("a\u{7f}", HostFault::Byte(0x7f)),
            ("a\0", HostFault::Byte(0)),
        ] {
            assert_eq!(name(raw), Err(fault), "{raw:?}");
        }
    }
}
