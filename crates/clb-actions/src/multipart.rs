//! `multipart/form-data` bodies to pairs of name and value (actions.md A.2; RFC 7578, and
//! RFC 2046 section 5.1.1 for the boundary lines).
//!
//! The official Java and .NET clients send every POST so: one part per parameter, the value raw.
//! The whole body is in memory already (at most `limits.api_body_bytes`), so it is read in one
//! pass, without a stream and without a runtime.

use crate::echo::echo;
use crate::error::ApiError;
use crate::form::{Pair, check_count};

/// Longest boundary, in characters (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The `boundary` of a `multipart/form-data` Content-Type, without its quotes.
///
/// # Errors
/// 4000 when there is none, or it is empty, longer than 70 characters or has other characters
/// than RFC 2046 section 5.1.1 allows.
pub fn boundary_of(content_type: &str) -> Result<String, ApiError> {
    let parameters = content_type.split_once(';').map_or("", |(_, rest)| rest);
    let boundary = parameter(parameters, "boundary")
        .ok_or_else(|| ApiError::invalid("Content-Type multipart/form-data without a boundary"))?;
    let fits = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(is_boundary_character)
        && !boundary.ends_with(' ');
    if fits {
        Ok(boundary)
    } else {
        Err(ApiError::invalid(format!(
            "Content-Type boundary={}: must be 1 to {MAX_BOUNDARY} letters, digits or ' ( ) + _ , - . / : = ? and blanks inside",
            echo(&boundary)
        )))
    }
}

/// Decodes a `multipart/form-data` body. Values are taken as they are, as UTF-8.
///
/// # Errors
/// 4000 for a part with a filename or without a name, octets that are not UTF-8, a missing
/// closing boundary, text outside the parts, or more than 10,000 parts.
pub fn decode_multipart(boundary: &str, body: &[u8]) -> Result<Vec<Pair>, ApiError> {
    let delimiter = format!("--{boundary}");
    // The clients write a line break before the first boundary line.
    let body = body.strip_prefix(b"\r\n").unwrap_or(body);
    let mut rest = body
        .strip_prefix(delimiter.as_bytes())
        .ok_or_else(|| malformed("does not begin with its boundary line"))?;
    let between = format!("\r\n{delimiter}");
    let mut pairs = Vec::new();
    loop {
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            return if epilogue.iter().all(u8::is_ascii_whitespace) {
                Ok(pairs)
            } else {
                Err(malformed("has text after its closing boundary"))
            };
        }
        check_count(pairs.len())?;
        let part = skip_padding(rest)
            .strip_prefix(b"\r\n")
            .ok_or_else(|| malformed("has a boundary line that does not end there"))?;
        let (part, after) = cut(part, between.as_bytes())
            .ok_or_else(|| malformed("ends without its closing boundary"))?;
        pairs.push(read_part(part)?);
        rest = after;
    }
}

fn read_part(part: &[u8]) -> Result<Pair, ApiError> {
    // A part without fields begins with the empty line itself; it has no name then.
    let (head, value) = cut(part, b"\r\n\r\n")
        .ok_or_else(|| malformed("has a part without an empty line after its fields"))?;
    let head = str::from_utf8(head).map_err(|_| malformed("has part fields that are not UTF-8"))?;
    let disposition = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| field.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value.trim())
        .ok_or_else(|| malformed("has a part without Content-Disposition"))?;
    let (kind, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(malformed(
            "has a part whose Content-Disposition is not form-data",
        ));
    }
    let name = parameter(parameters, "name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| malformed("has a part without a name"))?;
    if ["filename", "filename*"]
        .iter()
        .any(|key| parameter(parameters, key).is_some())
    {
        return Err(ApiError::invalid(format!(
            "{}: is sent as a file, but no Action takes a file",
            echo(&name)
        )));
    }
    let value = str::from_utf8(value)
        .map_err(|_| ApiError::invalid(format!("{}: is not UTF-8", echo(&name))))?;
    Ok((name, value.to_owned()))
}

/// The value of `key` in `; key=value; key="quoted value"`, keys without regard to case.
fn parameter(parameters: &str, key: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t', '\r', '\n']);
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.trim().eq_ignore_ascii_case(key) {
            return Some(value);
        }
        rest = after;
    }
}

/// A quoted string up to its closing quote, and what follows it. Nothing when it is not closed.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

/// RFC 2046 section 5.1.1: blanks may stand between a boundary and the end of its line.
fn skip_padding(text: &[u8]) -> &[u8] {
    let padding = text
        .iter()
        .take_while(|octet| matches!(octet, b' ' | b'\t'))
        .count();
    text.get(padding..).unwrap_or_default()
}

/// What stands before and after the first `separator`.
fn cut<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((text.get(..at)?, text.get(at + separator.len()..)?))
}

fn is_boundary_character(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&octet)
}

fn malformed(what: &str) -> ApiError {
    ApiError::invalid(format!("the multipart/form-data body {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the official Java client writes it: a line break before every boundary line, the
    /// first included, and no Content-Type in the parts.
    fn java_body(boundary: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = String::new();
        for (name, value) in pairs {
            body.push_str(&format!(
                "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}"
            ));
        }
        body.push_str(&format!("\r\n--{boundary}--\r\n"));
        body.into_bytes()
    }

    fn part(disposition: &str, value: &str) -> Vec<u8> {
        format!("--B\r\nContent-Disposition: {disposition}\r\n\r\n{value}\r\n--B--\r\n")
            .into_bytes()
    }

    #[test]
    fn a_body_of_the_java_client_is_read_raw() {
        let list = [
            ("Action", "DescribeLoadBalancers"),
            ("Signature", "ab+c/d=%2B"),
            ("name", "é\r\n--x\r\n"),
            ("empty", ""),
        ];
        let expected: Vec<Pair> = list
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let boundary = "---------------------------123821742118716";
        assert_eq!(
            decode_multipart(boundary, &java_body(boundary, &list)),
            Ok(expected)
        );
    }

    #[test]
    fn the_first_boundary_line_may_also_begin_the_body() {
        assert_eq!(
            decode_multipart("B", &part("form-data; name=\"a\"", "1")),
            Ok(vec![("a".to_owned(), "1".to_owned())])
        );
        assert_eq!(decode_multipart("B", b"--B--"), Ok(Vec::new()));
    }

    #[test]
    fn names_may_be_bare_or_escaped_and_parts_may_have_a_type() {
        for (disposition, name) in [
            ("form-data; name=a", "a"),
            ("form-data;name=a", "a"),
            ("FORM-DATA; NAME=\"a\"", "a"),
            ("form-data; name=\"a\\\"b\"", "a\"b"),
            ("form-data; name=\"a\"\r\nContent-Type: text/plain", "a"),
            ("form-data; x=\"name=z; \"; name=\"a\"", "a"),
        ] {
            let read = decode_multipart("B", &part(disposition, "1"));
            assert_eq!(
                read,
                Ok(vec![(name.to_owned(), "1".to_owned())]),
                "{disposition}"
            );
        }
    }

    #[test]
    fn a_file_is_refused() {
        for disposition in [
            "form-data; name=\"certKey\"; filename=\"key.pem\"",
            "form-data; name=\"certKey\"; filename=\"\"",
            "form-data; filename=k; name=\"certKey\"",
            "form-data; name=\"certKey\"; FileName*=utf-8''k",
        ] {
            let error = decode_multipart("B", &part(disposition, "secret")).unwrap_err();
            assert_eq!(error.code, 4000);
            assert!(error.message.contains("certKey"), "{}", error.message);
            assert!(!error.message.contains("secret"));
        }
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for bad in [
            &b""[..],
            b"a=1&b=2",
            b"--B",
            b"--B\r\n",
            b"--Bx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--",
            b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1",
            b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\n",
            b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n1\r\n--B--",
            b"--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--B--",
            b"--B\r\nContent-Disposition: form-data\r\n\r\n1\r\n--B--",
            b"--B\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n1\r\n--B--",
            b"--B\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--B--",
            b"--B\r\nContent-Type: text/plain\r\n\r\n1\r\n--B--",
            b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--B--",
            b"--B\r\n\r\n1\r\n--B--",
            b"--B--trailing",
            b"preamble\r\n--B--",
        ] {
            let error = decode_multipart("B", bad).unwrap_err();
            assert_eq!(error.code, 4000, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn ten_thousand_parts_are_the_most() {
        let body = |count: usize| java_body("B", &vec![("a", "1"); count]);
        assert_eq!(decode_multipart("B", &body(10_000)).unwrap().len(), 10_000);
        assert_eq!(decode_multipart("B", &body(10_001)).unwrap_err().code, 4000);
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        for (content_type, boundary) in [
            ("multipart/form-data; boundary=abc", "abc"),
            (
                "multipart/form-data;charset=utf-8;boundary=\"a b:c\"",
                "a b:c",
            ),
            ("multipart/form-data; BOUNDARY=--x--", "--x--"),
        ] {
            assert_eq!(boundary_of(content_type).as_deref(), Ok(boundary));
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        for bad in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=a\u{e9}",
            &long,
        ] {
            assert_eq!(boundary_of(bad).unwrap_err().code, 4000, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_writes_is_read_back(
            list in proptest::collection::vec(("[A-Za-z0-9._]{1,12}", any::<String>()), 0..12)
        ) {
            let boundary = "----boundary-that-random-text-does-not-have";
            let borrowed: Vec<(&str, &str)> =
                list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assume!(!list.is_empty());
            prop_assert_eq!(decode_multipart(boundary, &java_body(boundary, &borrowed)), Ok(list));
        }

        #[test]
        fn no_octets_panic(
            body in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), any::<u8>()],
                0..200,
            ),
            content_type in any::<String>(),
        ) {
            let _ = decode_multipart("B", &body);
            let _ = boundary_of(&content_type);
        }

        #[test]
        fn cut_bodies_never_pass_as_whole(at in 0usize..119) {
            let whole = java_body("B", &[("a", "1"), ("b", "2")]);
            let closing = whole.len() - b"\r\n".len();
            prop_assume!(at < closing);
            prop_assert!(decode_multipart("B", &whole[..at]).is_err());
        }
    }
}
