//! The answer's head as the client gets it.

use super::answer::{Answer, Transfer};
use super::fields::Field;
use super::framing::Version;
use super::names::{HOP_BY_HOP, Known, Names};
use super::octets::{CRLF, part, push_decimal};
use super::runs::{Runs, push_connection, push_field, push_length};

/// What the gateway adds to an answer.
#[derive(Debug, Clone, Copy)]
pub struct AnswerAdditions<'a> {
    /// The client's version.
    pub client: Version,
    /// Whether the connection to the client is closed after this answer: said to it. When not, a
    /// client of HTTP/1.0, which must have asked for it, is told that it goes on.
    pub close: bool,
    /// Date where the backend sent none (RFC 9110, section 6.6.1); not for 1xx.
    pub date: &'a [u8],
    /// A Set-Cookie; not for 1xx.
    pub set_cookie: Option<&'a [u8]>,
    /// Whether Via is added.
    pub via: bool,
    /// How the body goes to the client, as [`Answer::transfer`] says.
    pub transfer: Transfer,
}

/// Appends the answer's head as the client gets it: in HTTP/1.1 (RFC 9110, section 2.5), without
/// the fields of the backend's connection, framed as `additions.transfer` says, with what the
/// gateway adds. 1xx and 204 get neither length nor coding (RFC 9110, section 8.6; RFC 9112,
/// section 6.1); HEAD and 304 keep the length that they tell of.
pub fn write_answer(answer: &Answer<'_>, additions: &AnswerAdditions<'_>, out: &mut Vec<u8>) {
    out.reserve(answer.head.len() + 256);
    out.extend_from_slice(b"HTTP/1.1");
    let line = part(answer.head, 8, answer.fields_at.saturating_sub(CRLF.len()));
    out.extend_from_slice(line);
    // The space before a reason that is missing (RFC 9112, section 4).
    if line.len() < b" 200 ".len() {
        out.push(b' ');
    }
    out.extend_from_slice(CRLF);

    let keeps_length = keeps_length(answer, additions);
    let mut runs = Runs::new(answer.head, answer.fields_at);
    for field in &answer.fields.list {
        if !is_copied(answer, additions, keeps_length, field) {
            runs.skip(field.start, field.end, out);
        }
    }
    runs.finish(out);
    if keeps_length
        && answer.odd_length
        && let Some(length) = answer.length
    {
        push_length(length, out);
    }
    push_own(answer, additions, out);
    out.extend_from_slice(CRLF);
}

/// Shows what [`write_answer`] would write, name by name and value by value, without what only
/// HTTP/1 needs: the fields of the answer as an HTTP/2 client gets them (RFC 9113, section 8.2.2).
/// Names are told in both forms where they are among the known ones.
pub(crate) fn for_each_field(
    answer: &Answer<'_>,
    additions: &AnswerAdditions<'_>,
    mut show: impl FnMut(Known, &[u8], &[u8]),
) {
    let keeps_length = keeps_length(answer, additions);
    for field in &answer.fields.list {
        if is_copied(answer, additions, keeps_length, field) {
            show(
                field.known,
                field.name(answer.head),
                field.value(answer.head),
            );
        }
    }
    if keeps_length
        && answer.odd_length
        && let Some(length) = answer.length
    {
        let mut digits = Vec::new();
        push_decimal(length, &mut digits);
        show(Known::ContentLength, b"content-length", &digits);
    }
    if answer.status >= 200 {
        if !answer.names.contains(Known::Date) {
            show(Known::Date, b"date", additions.date);
        }
        if let Some(cookie) = additions.set_cookie {
            show(Known::Other, b"set-cookie", cookie);
        }
    }
    if additions.via {
        show(Known::Via, b"via", via(answer.version));
    }
}

/// Whether the client gets the backend's Content-Length.
fn keeps_length(answer: &Answer<'_>, additions: &AnswerAdditions<'_>) -> bool {
    answer.status >= 200 && answer.status != 204 && matches!(additions.transfer, Transfer::AsIs(_))
}

/// Whether a field goes on as it is.
fn is_copied(
    answer: &Answer<'_>,
    additions: &AnswerAdditions<'_>,
    keeps_length: bool,
    field: &Field,
) -> bool {
    const DEPENDS: Names = Names::of(&[Known::ContentLength, Known::Trailer]);
    if field.named || HOP_BY_HOP.contains(field.known) {
        return false;
    }
    if !DEPENDS.contains(field.known) {
        return true;
    }
    match field.known {
        Known::ContentLength => keeps_length && !answer.odd_length,
        _ => answer.sends_trailers(additions.transfer),
    }
}

/// What Via says of a message of this version.
fn via(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 clbd",
        Version::Http11 => b"1.1 clbd",
    }
}

/// Appends what the gateway says itself.
fn push_own(answer: &Answer<'_>, additions: &AnswerAdditions<'_>, out: &mut Vec<u8>) {
    let is_final = answer.status >= 200;
    if is_final {
        if !answer.names.contains(Known::Date) {
            push_field(b"Date: ", additions.date, out);
        }
        if let Some(cookie) = additions.set_cookie {
            push_field(b"Set-Cookie: ", cookie, out);
        }
    }
    if additions.via {
        push_field(b"Via: ", via(answer.version), out);
    }
    if is_final && answer.status != 204 && additions.transfer == Transfer::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(protocols) = answer.protocols {
        push_field(b"Upgrade: ", protocols, out);
    }
    let close = is_final && (additions.close || additions.transfer == Transfer::UntilClose);
    push_connection(
        &[
            (b"upgrade", answer.protocols.is_some()),
            (b"close", close),
            (
                b"keep-alive",
                is_final && !close && additions.client == Version::Http10,
            ),
        ],
        out,
    );
}

#[cfg(test)]
#[path = "write_answer_tests.rs"]
mod tests;
