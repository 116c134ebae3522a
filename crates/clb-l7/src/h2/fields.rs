//! Fields of HTTP/1 as those of HTTP/2 and the other way round.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, LOCATION, VIA};
use http::{HeaderMap, Response, StatusCode};

use crate::http1::{Answer, AnswerAdditions, FieldFault, Known, for_each_field};

/// An answer's head as an HTTP/2 client gets it, with `status` in place of its own. Names that
/// `is_left_out` knows are left out.
///
/// # Errors
/// For a field that HTTP/2 cannot carry.
pub(super) fn response(
    answer: &Answer<'_>,
    additions: &AnswerAdditions<'_>,
    status: u16,
    is_left_out: fn(&[u8]) -> bool,
) -> Result<Response<()>, FieldFault> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| FieldFault::Value)?;
    let own = [
        !answer.names.contains(Known::Date),
        additions.set_cookie.is_some(),
        additions.via,
    ];
    let own = own.into_iter().filter(|&is| is).count();
    let fields = answer.fields.list.len().saturating_add(own);
    let reserved = response.headers_mut().try_reserve(fields);
    reserved.map_err(|_| FieldFault::Value)?;
    let mut result = Ok(());
    for_each_field(answer, additions, |known, name, value| {
        if result.is_ok() && !is_left_out(name) {
            let name = frequent(known).map_or_else(|| name_of(name), Ok);
            result = name.and_then(|name| push(response.headers_mut(), name, value));
        }
    });
    result.map(|()| response)
}

/// Octets of a head as it would be in HTTP/1.1: how many it has in HTTP/2 depends on what the
/// connection has carried before.
pub(super) fn head_length(response: &Response<()>) -> u64 {
    const STATUS_LINE: usize = b"HTTP/2.0 200\r\n".len();
    const AROUND: usize = b": \r\n".len();
    let lines = response.headers().iter();
    let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + AROUND);
    (STATUS_LINE + lines.sum::<usize>() + b"\r\n".len()) as u64
}

/// Field lines, each with its CRLF, as trailer fields.
///
/// # Errors
/// For a line that HTTP/2 cannot carry.
pub(super) fn trailers(lines: &[u8]) -> Result<HeaderMap, FieldFault> {
    let mut map = HeaderMap::new();
    for line in lines.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        let value = value.strip_prefix(b":").unwrap_or_default();
        push(&mut map, name_of(name)?, value.trim_ascii())?;
    }
    Ok(map)
}

/// Names that most answers have, which need not be found by their octets once more.
fn frequent(known: Known) -> Option<HeaderName> {
    match known {
        Known::ContentLength => Some(CONTENT_LENGTH),
        Known::ContentType => Some(CONTENT_TYPE),
        Known::Date => Some(DATE),
        Known::Location => Some(LOCATION),
        Known::Via => Some(VIA),
        _ => None,
    }
}

/// Names become lower-case here (RFC 9113, section 8.2.1).
fn name_of(name: &[u8]) -> Result<HeaderName, FieldFault> {
    HeaderName::from_bytes(name).map_err(|_| FieldFault::Name)
}

fn push(map: &mut HeaderMap, name: HeaderName, value: &[u8]) -> Result<(), FieldFault> {
    let value = HeaderValue::from_bytes(value).map_err(|_| FieldFault::Value)?;
    let pushed = map.try_append(name, value);
    pushed.map(|_| ()).map_err(|_| FieldFault::Value)
}

/// Appends fields as lines of HTTP/1, with the empty line at their end.
pub(super) fn write_section(map: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in map {
        write_line(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one line.
fn write_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether a value may stand in HTTP/2 (RFC 9113, section 8.2.1): it neither begins nor ends with
/// a blank. Control octets were refused when it was read.
pub(super) fn is_clean(value: &HeaderValue) -> bool {
    let is_blank = |octet: Option<&u8>| octet.is_some_and(|octet| b" \t".contains(octet));
    !is_blank(value.as_bytes().first()) && !is_blank(value.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailer_lines_become_fields_and_lines_again() {
        let map = trailers(b"Grpc-Status: 0\r\nX-A:  b\r\nx-a: c \r\n").unwrap();
        let mut out = Vec::new();
        write_section(&map, &mut out);
        assert_eq!(out, b"grpc-status: 0\r\nx-a: b\r\nx-a: c\r\n\r\n");
        assert!(trailers(b"").unwrap().is_empty());
    }

    #[test]
    fn blanks_at_the_ends_are_not_clean() {
        for (value, expected) in [("", true), ("a b", true), (" a", false), ("a\t", false)] {
            let value = HeaderValue::from_str(value).unwrap();
            assert_eq!(is_clean(&value), expected, "{value:?}");
        }
    }
}
