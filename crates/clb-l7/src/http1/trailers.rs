//! Which trailer fields go on (RFC 9110, section 6.5.1).

use super::fields::{FieldFault, read_fields};
use super::names::{Known, known};
use super::octets::{CRLF, part};

/// Most octets of a trailer section, its empty line included.
pub const TRAILER_LENGTH: usize = 16 * 1024;

/// Most fields of a trailer section.
pub const TRAILER_FIELDS: usize = 64;

/// What is wrong with a trailer section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrailerFault {
    /// A line that ends in something else than CRLF.
    #[error("a line does not end in CRLF")]
    LineEnd,
    /// More than [`TRAILER_LENGTH`] octets.
    #[error("longer than {TRAILER_LENGTH} octets")]
    TooLong,
    /// More than [`TRAILER_FIELDS`] fields.
    #[error("more than {TRAILER_FIELDS} fields")]
    TooMany,
    /// A field line that is none.
    #[error("{0}")]
    Field(#[from] FieldFault),
}

/// Names that are never trailers, beside those that [`Known`] tells: who merged them into the head
/// would be made to route, authenticate, cache or read the content differently.
const FORBIDDEN: &[&str] = &[
    "accept-encoding",
    "age",
    "allow",
    "alt-svc",
    "authentication-info",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-security-policy",
    "expires",
    "forwarded",
    "if-match",
    "if-none-match",
    "origin",
    "pragma",
    "refresh",
    "retry-after",
    "set-cookie",
    "status",
    "strict-transport-security",
    "vary",
    "warning",
    "www-authenticate",
];

/// Names that begin so are kept out too: they speak of where a request came from.
const FORBIDDEN_STARTS: &[&str] = &["access-control-", "proxy-", "sec-", "x-forwarded-"];

/// The fields of `section`, a trailer section with its empty line, that may be sent on; `named`
/// are further names that may not, each with a CRLF after it.
///
/// # Errors
/// [`TrailerFault`]: the section is as strict as a head.
pub(crate) fn keep_trailers(section: &[u8], named: &[u8]) -> Result<Vec<u8>, TrailerFault> {
    let mut list = Vec::new();
    let end = read_fields(section, 0, usize::MAX, &mut list, |_, before| {
        match before.len() < TRAILER_FIELDS {
            true => Ok(()),
            false => Err(TrailerFault::TooMany),
        }
    })?;
    if end != section.len() {
        return Err(FieldFault::NotClosed.into());
    }
    let mut kept = Vec::new();
    for field in &list {
        let name = field.name(section);
        if is_trailer(name) && !is_named(name, named) {
            kept.extend_from_slice(part(section, field.start as usize, field.end as usize));
        }
    }
    Ok(kept)
}

fn is_named(name: &[u8], named: &[u8]) -> bool {
    named
        .split(|octet| CRLF.contains(octet))
        .any(|other| other.eq_ignore_ascii_case(name))
}

/// Whether a field of this name may be sent on as a trailer.
fn is_trailer(name: &[u8]) -> bool {
    // `_` counts as `-`, as for the head.
    let folded: Vec<u8> = name
        .iter()
        .map(|&octet| match octet {
            b'_' => b'-',
            octet => octet.to_ascii_lowercase(),
        })
        .collect();
    known(&folded, || false) == Known::Other
        && !FORBIDDEN.iter().any(|text| text.as_bytes() == folded)
        && !FORBIDDEN_STARTS
            .iter()
            .any(|start| folded.starts_with(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(section: &str, named: &str) -> Result<String, TrailerFault> {
        keep_trailers(section.as_bytes(), named.as_bytes())
            .map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn nothing_that_frames_routes_or_is_ours() {
        // RFC 9110, 6.5.1
        for name in [
            "Content-Length",
            "Transfer-Encoding",
            "TRANSFER_ENCODING",
            "Host",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Max-Forwards",
            "Range",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "Cache-Control",
            "Pragma",
            "Authorization",
            "Proxy-Authorization",
            "Proxy-Foo",
            "WWW-Authenticate",
            "Cookie",
            "Set-Cookie",
            "Content-Encoding",
            "Content-Type",
            "Content-Range",
            "Date",
            "Age",
            "Expires",
            "Location",
            "Vary",
            "Retry-After",
            "Via",
            "Forwarded",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded-Anything",
            "X-Real-IP",
            "X-Request-Id",
            "X-Client-Proto",
            "X-SSL-Client-Verify",
            "X-SSL_Client-DN",
        ] {
            let section = format!("A: b\r\n{name}: c\r\nD: e\r\n\r\n");
            assert_eq!(
                keep(&section, ""),
                Ok("A: b\r\nD: e\r\n".to_owned()),
                "{name}"
            );
        }
    }

    #[test]
    fn the_rest_goes_on_as_it_came() {
        for name in [
            "Server-Timing",
            "Digest",
            "ETag",
            "grpc-status",
            "X-Checksum",
            "X_Sum",
        ] {
            let section = format!("{name}:\tc \r\n\r\n");
            assert_eq!(keep(&section, ""), Ok(format!("{name}:\tc \r\n")), "{name}");
        }
        assert_eq!(keep("\r\n", ""), Ok(String::new()));
    }

    #[test]
    fn what_connection_named_goes() {
        let section = "A: 1\r\nB: 2\r\nAB: 3\r\n\r\n";
        assert_eq!(
            keep(section, "b\r\nc\r\n"),
            Ok("A: 1\r\nAB: 3\r\n".to_owned())
        );
    }

    #[test]
    fn as_strict_as_a_head() {
        for section in [
            " a: b\r\n\r\n",
            "a : b\r\n\r\n",
            "a\r\n\r\n",
            ": a\r\n\r\n",
            "a: b\r\n c\r\n\r\n",
            "a: \0\r\n\r\n",
            "a: b\r\n",
        ] {
            assert!(
                matches!(keep(section, ""), Err(TrailerFault::Field(_))),
                "{section:?}"
            );
        }
        let many = |count| "a: b\r\n".repeat(count) + "\r\n";
        assert!(keep(&many(TRAILER_FIELDS), "").is_ok());
        assert_eq!(
            keep(&many(TRAILER_FIELDS + 1), ""),
            Err(TrailerFault::TooMany)
        );
    }
}
