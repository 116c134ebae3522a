//! What the framing and connection fields say, requests and answers alike (RFC 9112, sections 6
//! and 9; RFC 9110, sections 7.6.1 and 8.6).

use super::fields::{Field, Fields};
use super::names::NOT_BY_NAMING;
use super::octets::{decimal, is_token, members, part, trim};

/// A version of HTTP that we speak. Higher minor versions count as 1.1 (RFC 9110, section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Why a text is no version of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionFault {
    /// It is not `HTTP/` and two digits with a dot between.
    Malformed,
    /// Another major version.
    Major,
}

/// Reads `HTTP-version` (RFC 9112, section 2.3): case counts, and each number is one digit.
#[inline]
pub(crate) fn version(text: &[u8]) -> Result<Version, VersionFault> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            b'0'..=b'9',
        ] => match major {
            b'1' => Ok(Version::Http11),
            _ => Err(VersionFault::Major),
        },
        _ => Err(VersionFault::Malformed),
    }
}

/// Most digits that a Content-Length may have: those of the largest number that fits. More could
/// only be zeros in front.
const LENGTH_DIGITS: usize = 20;

/// A Content-Length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    /// Octets.
    pub(crate) octets: u64,
    /// Written without zeros in front, so that nobody reads it as octal.
    pub(crate) plain: bool,
}

/// Reads a Content-Length (RFC 9110, section 8.6). Lists are refused also when all members are
/// equal, which the section allows: honest senders do not send them.
#[inline]
pub(crate) fn content_length(value: &[u8]) -> Option<Length> {
    if value.len() > LENGTH_DIGITS {
        return None;
    }
    Some(Length {
        octets: decimal(value)?,
        plain: value.len() == 1 || value.first() != Some(&b'0'),
    })
}

/// What a Transfer-Encoding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `chunked` and nothing else.
    Chunked,
    /// Other codings, and `chunked` as the last one: framed, but not understood.
    OthersThenChunked,
    /// Anything else: where the body ends cannot be told, or can be told in two ways.
    Unframed,
}

/// Reads a Transfer-Encoding (RFC 9112, section 6.1). Parameters, quotes and empty members, with
/// which one recipient sees `chunked` and another does not, make it [`Coding::Unframed`], and so
/// does `chunked` twice.
#[inline]
pub(crate) fn transfer_encoding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let mut last_is_chunked = false;
    for member in members(value) {
        if last_is_chunked || !is_token(member) {
            return Coding::Unframed;
        }
        last_is_chunked = member.eq_ignore_ascii_case(b"chunked");
    }
    match last_is_chunked {
        true => Coding::OthersThenChunked,
        false => Coding::Unframed,
    }
}

/// Most field names that Connection may bring: each is compared with each field.
pub(crate) const NAMED: usize = 32;

/// The connection options that we know (RFC 9110, section 7.6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Options {
    /// Whether the connection lives on after this message (RFC 9112, section 9.3).
    pub(crate) fn persists(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// Reads one Connection field; options that we do not know are names of fields and are added
    /// to `named`. False if a member is no token, or there are more than [`NAMED`] of them.
    #[inline]
    pub(crate) fn read(&mut self, head: &[u8], field: &Field, named: &mut Vec<(u32, u32)>) -> bool {
        let value = field.value(head);
        // What nearly every client sends.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return true;
        }
        let mut at = field.value_start as usize;
        for member in value.split(|&octet| octet == b',') {
            let blanks = member.len() - super::octets::trim_start(member).len();
            let (start, next) = (at + blanks, at + member.len() + 1);
            at = next;
            let option = trim(member);
            if option.is_empty() {
                // Empty members count for nothing (RFC 9110, section 5.6.1.2).
                continue;
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if option.eq_ignore_ascii_case(b"te") {
                // TE is of one connection anyway.
            } else if !is_token(option) || named.len() >= NAMED {
                return false;
            } else {
                named.push((start as u32, (start + option.len()) as u32));
            }
        }
        true
    }
}

impl Fields {
    /// Marks the fields that connection options name.
    pub(crate) fn mark_named(&mut self, head: &[u8]) {
        if self.named.is_empty() {
            return;
        }
        let named = &self.named;
        for field in &mut self.list {
            let name = field.name(head);
            field.named = !NOT_BY_NAMING.contains(field.known)
                && named.iter().any(|&(start, end)| {
                    part(head, start as usize, end as usize).eq_ignore_ascii_case(name)
                });
        }
    }

    /// Field names that connection options bring.
    pub(crate) fn named<'a>(&'a self, head: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.named
            .iter()
            .map(|&(start, end)| part(head, start as usize, end as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        use VersionFault::*;
        for (text, expected) in [
            ("HTTP/1.0", Ok(Version::Http10)),
            ("HTTP/1.1", Ok(Version::Http11)),
            ("HTTP/1.2", Ok(Version::Http11)),
            ("HTTP/1.9", Ok(Version::Http11)),
            ("HTTP/0.9", Err(Major)),
            ("HTTP/2.0", Err(Major)),
            ("HTTP/3.0", Err(Major)),
            ("HTTP/9.9", Err(Major)),
            ("HTTP/1.10", Err(Malformed)),
            ("HTTP/01.1", Err(Malformed)),
            ("HTTP/11.1", Err(Malformed)),
            ("HTTP/1", Err(Malformed)),
            ("HTTP/1.", Err(Malformed)),
            ("HTTP/2", Err(Malformed)),
            ("HTTP/", Err(Malformed)),
            ("", Err(Malformed)),
            ("http/1.1", Err(Malformed)),
            ("Http/1.1", Err(Malformed)),
            ("HTTP/1,1", Err(Malformed)),
            ("HTTP/1.1 ", Err(Malformed)),
            (" HTTP/1.1", Err(Malformed)),
            ("HTTP /1.1", Err(Malformed)),
            ("HTTP/+1.1", Err(Malformed)),
            ("HTTP/1.a", Err(Malformed)),
            ("HTTPS/1.1", Err(Malformed)),
            ("ICY/1.1", Err(Malformed)),
        ] {
            assert_eq!(version(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn content_lengths() {
        for (text, octets, plain) in [
            ("0", 0, true),
            ("5", 5, true),
            ("00", 0, false),
            ("005", 5, false),
            ("18446744073709551615", u64::MAX, true),
        ] {
            let expected = Some(Length { octets, plain });
            assert_eq!(content_length(text.as_bytes()), expected, "{text}");
        }
        for bad in [
            "",
            "+5",
            "-5",
            "-0",
            " 5",
            "5 ",
            "5,5",
            "5, 5",
            "5,6",
            "0x5",
            "5.0",
            "5e1",
            "1_000",
            "5;",
            "\"5\"",
            "five",
            "5 5",
            "5\t",
            "18446744073709551616",
            "99999999999999999999999",
            "000000000000000000005",
            "\u{665}",
        ] {
            assert_eq!(content_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn transfer_encodings() {
        use Coding::*;
        for (value, expected) in [
            ("chunked", Chunked),
            ("Chunked", Chunked),
            ("CHUNKED", Chunked),
            ("gzip, chunked", OthersThenChunked),
            ("gzip,deflate,chunked", OthersThenChunked),
            ("identity, chunked", OthersThenChunked),
            ("", Unframed),
            (",", Unframed),
            ("chunked,", Unframed),
            (",chunked", Unframed),
            (", chunked", Unframed),
            ("gzip,,chunked", Unframed),
            ("chunked, chunked", Unframed),
            ("chunked, identity", Unframed),
            ("chunked, gzip", Unframed),
            ("chunked, gzip, chunked", Unframed),
            ("identity", Unframed),
            ("gzip", Unframed),
            ("xchunked", Unframed),
            ("chunkedx", Unframed),
            ("x chunked", Unframed),
            ("chunked x", Unframed),
            ("\"chunked\"", Unframed),
            ("'chunked'", Unframed),
            ("chunked;q=1", Unframed),
            ("chunked;", Unframed),
            ("gzip;q=1, chunked", Unframed),
            ("chunk", Unframed),
            ("chun ked", Unframed),
            ("chunked\u{b}", Unframed),
            ("\u{b}chunked", Unframed),
            ("chunked\0", Unframed),
            ("\u{17f}chunked", Unframed),
            ("chun\u{212a}ed", Unframed),
            ("nothing\tchunked", Unframed),
        ] {
            assert_eq!(transfer_encoding(value.as_bytes()), expected, "{value:?}");
        }
    }

    fn options(value: &str) -> Option<(Options, Vec<String>)> {
        let head = format!("Connection: {value}\r\n\r\n").into_bytes();
        let field = super::super::fields::read_field(&head, 0).ok()?;
        let mut options = Options::default();
        let mut named = Vec::new();
        options.read(&head, &field, &mut named).then(|| {
            let names = named
                .iter()
                .map(|&(start, end)| part(&head, start as usize, end as usize))
                .map(|name| name.escape_ascii().to_string())
                .collect();
            (options, names)
        })
    }

    #[test]
    fn connection_options() {
        let only = |close, keep_alive, upgrade| Options {
            close,
            keep_alive,
            upgrade,
        };
        for (value, expected, names) in [
            ("", Options::default(), &[][..]),
            ("close", only(true, false, false), &[]),
            ("Keep-Alive", only(false, true, false), &[]),
            ("keep-alive, Upgrade", only(false, true, true), &[]),
            ("TE , close", only(true, false, false), &[]),
            (",, close ,", only(true, false, false), &[]),
            (
                "close, X-Foo,\t X-Bar ",
                only(true, false, false),
                &["X-Foo", "X-Bar"],
            ),
            ("X-Foo", Options::default(), &["X-Foo"]),
        ] {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(options(value), Some((expected, names)), "{value:?}");
        }
        let many = |count| vec!["a"; count].join(",");
        assert!(options(&many(NAMED)).is_some());
        for bad in [
            "close;x",
            "a b",
            "\"close\"",
            "close=1",
            "(close)",
            &many(NAMED + 1),
        ] {
            assert_eq!(options(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn persistence() {
        // RFC 9112, 9.3
        for (value, version, persists) in [
            ("", Version::Http11, true),
            ("", Version::Http10, false),
            ("keep-alive", Version::Http10, true),
            ("close", Version::Http11, false),
            ("keep-alive, close", Version::Http11, false),
            ("keep-alive, close", Version::Http10, false),
        ] {
            let (options, _) = options(value).unwrap();
            assert_eq!(options.persists(version), persists, "{value:?} {version:?}");
        }
    }
}
