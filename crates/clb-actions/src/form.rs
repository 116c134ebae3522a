//! Query strings and urlencoded bodies to pairs of name and value (actions.md A.2).

use std::collections::HashSet;

use crate::echo::echo;
use crate::error::ApiError;

/// Most parameters that one request may have (actions.md A.2).
pub const MAX_PARAMETERS: usize = 10_000;

/// A parameter as it was received.
pub type Pair = (String, String);

/// Decodes a query string or an `application/x-www-form-urlencoded` body: `+` is a blank, `%XX`
/// an octet, the result UTF-8. Empty segments (`a=1&&b=2`) are skipped.
///
/// # Errors
/// 4000 for a `%` without two hexadecimal digits, octets that are not UTF-8, a parameter without
/// a name, or more than [`MAX_PARAMETERS`].
pub fn decode_form(text: &[u8]) -> Result<Vec<Pair>, ApiError> {
    split(text, |part, name| {
        let octets = unescape(part).ok_or_else(|| {
            ApiError::invalid(format!(
                "{}: '%' without two hexadecimal digits after it",
                place(name)
            ))
        })?;
        String::from_utf8(octets).map_err(|_| not_utf8(name))
    })
}

/// Reads a urlencoded body as it was sent: split at `&` and the first `=`, nothing decoded. The
/// product document tells its readers that POST parameters need no encoding.
///
/// # Errors
/// 4000 for octets that are not UTF-8, a parameter without a name, or more than
/// [`MAX_PARAMETERS`].
pub fn split_raw(text: &[u8]) -> Result<Vec<Pair>, ApiError> {
    split(text, |part, name| {
        String::from_utf8(part.to_vec()).map_err(|_| not_utf8(name))
    })
}

/// Refuses a parameter that occurs twice; names are compared exactly.
///
/// # Errors
/// 4000 naming the first repeated parameter.
pub fn check_duplicates(pairs: &[Pair]) -> Result<(), ApiError> {
    let mut seen = HashSet::with_capacity(pairs.len());
    match pairs.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((name, _)) => Err(ApiError::invalid(format!(
            "{}: given twice, a parameter may occur once",
            echo(name)
        ))),
        None => Ok(()),
    }
}

/// Refuses the pair that would be number `count` + 1 of a request.
pub(crate) fn check_count(count: usize) -> Result<(), ApiError> {
    if count < MAX_PARAMETERS {
        Ok(())
    } else {
        Err(ApiError::invalid(format!(
            "more than {MAX_PARAMETERS} parameters in one request"
        )))
    }
}

fn split(
    text: &[u8],
    read: impl Fn(&[u8], Option<&str>) -> Result<String, ApiError>,
) -> Result<Vec<Pair>, ApiError> {
    let mut pairs = Vec::new();
    for segment in text.split(|octet| *octet == b'&') {
        if segment.is_empty() {
            continue;
        }
        check_count(pairs.len())?;
        let mut halves = segment.splitn(2, |octet| *octet == b'=');
        let name = read(halves.next().unwrap_or_default(), None)?;
        if name.is_empty() {
            return Err(ApiError::invalid(
                "a value without a parameter name before its '='",
            ));
        }
        let value = read(halves.next().unwrap_or_default(), Some(&name))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The octets that `text` stands for, or nothing when an escape is incomplete.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        out.push(match octet {
            b'+' => b' ',
            b'%' => {
                let high = hex_digit(*octets.next()?)?;
                let low = hex_digit(*octets.next()?)?;
                (high << 4) | low
            }
            other => *other,
        });
    }
    Some(out)
}

fn hex_digit(octet: u8) -> Option<u8> {
    char::from(octet)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The value itself is never repeated: it may be a private key.
fn place(name: Option<&str>) -> String {
    name.map_or_else(|| "a parameter's name".to_owned(), echo)
}

fn not_utf8(name: Option<&str>) -> ApiError {
    ApiError::invalid(format!("{}: is not UTF-8", place(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<Pair> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn encode(text: &str) -> String {
        text.bytes()
            .map(|octet| match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    char::from(octet).to_string()
                }
                b' ' => "+".to_owned(),
                other => format!("%{other:02X}"),
            })
            .collect()
    }

    #[test]
    fn a_form_is_decoded_as_browsers_and_client_libraries_write_it() {
        assert_eq!(
            decode_form(b"Action=X&name=a_b+c%2Bd%2f%C3%A9%26%3D&empty=&flag"),
            Ok(pairs(&[
                ("Action", "X"),
                ("name", "a_b c+d/é&="),
                ("empty", ""),
                ("flag", "")
            ]))
        );
    }

    #[test]
    fn a_body_as_sent_is_split_and_left_alone() {
        assert_eq!(
            split_raw(b"Signature=ab+c%2F=&x=1"),
            Ok(pairs(&[("Signature", "ab+c%2F="), ("x", "1")]))
        );
    }

    #[test]
    fn empty_segments_are_skipped() {
        assert_eq!(
            decode_form(b"&&a=1&&b=2&"),
            Ok(pairs(&[("a", "1"), ("b", "2")]))
        );
        assert_eq!(decode_form(b""), Ok(Vec::new()));
    }

    #[test]
    fn incomplete_escapes_are_refused_with_the_name_of_the_parameter() {
        for bad in [
            "name=%", "name=%4", "name=%zz", "name=%4g", "name=%+1", "name=a%",
        ] {
            let error = decode_form(bad.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.module), (4000, None), "{bad}");
            assert!(error.message.starts_with("name:"), "{}", error.message);
        }
        assert!(
            decode_form(b"na%me=1")
                .unwrap_err()
                .message
                .contains("name")
        );
    }

    #[test]
    fn octets_that_are_not_utf_8_are_refused() {
        for bad in [
            &b"a=%ff"[..],
            b"a=\xff",
            b"\xff=a",
            b"a=%ED%A0%80",
            b"a=%C0%80",
        ] {
            assert_eq!(decode_form(bad).unwrap_err().code, 4000);
        }
        assert_eq!(split_raw(b"a=\xff").unwrap_err().code, 4000);
    }

    #[test]
    fn a_value_needs_a_name() {
        assert_eq!(decode_form(b"=1").unwrap_err().code, 4000);
    }

    #[test]
    fn ten_thousand_parameters_are_the_most() {
        let body = |count: usize| vec!["a=1"; count].join("&");
        assert_eq!(decode_form(body(10_000).as_bytes()).unwrap().len(), 10_000);
        assert_eq!(decode_form(body(10_001).as_bytes()).unwrap_err().code, 4000);
        assert_eq!(split_raw(body(10_001).as_bytes()).unwrap_err().code, 4000);
    }

    #[test]
    fn duplicates_are_found_by_the_exact_name() {
        assert_eq!(check_duplicates(&pairs(&[("a", "1"), ("A", "1")])), Ok(()));
        let error = check_duplicates(&pairs(&[("a", "1"), ("b", ""), ("a", "")])).unwrap_err();
        assert!(error.message.starts_with("a:"), "{}", error.message);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(
            list in proptest::collection::vec((".{1,20}", any::<String>()), 0..20)
        ) {
            let body: Vec<String> = list
                .iter()
                .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
                .collect();
            prop_assert_eq!(decode_form(body.join("&").as_bytes()), Ok(list));
        }

        #[test]
        fn no_octets_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_form(&text);
            let _ = split_raw(&text);
        }
    }
}
