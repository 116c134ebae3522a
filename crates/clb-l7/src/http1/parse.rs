//! From a request's head to what it says, or why it is refused.

use super::fields::{Field, FieldFault, Fields, read_fields};
use super::framing::{
    Coding, Options, Version, VersionFault, content_length, transfer_encoding, version,
};
use super::method::{METHOD_LENGTH, Method};
use super::names::{Known, Names};
use super::octets::{CRLF, decimal, from, is_safe_octet, is_token, members, part};
use super::refusal::Refusal;
use super::request::{REQUEST_ID_LENGTH, Request, RequestBody};
use super::scan::HeadLimits;
use super::target::{Authority, Scheme, Target, is_authority_form, read_authority, read_target};
use super::upgrade::may_tunnel;

/// Fields that have one value (RFC 9110, section 5.3), and where two recipients that pick
/// different ones would differ in what matters. Names as in [`Refusal::Twice`].
const SINGLE: [(Known, &str); 11] = [
    (Known::Host, "Host"),
    (Known::ContentLength, "Content-Length"),
    (Known::TransferEncoding, "Transfer-Encoding"),
    (Known::MaxForwards, "Max-Forwards"),
    (Known::ContentType, "Content-Type"),
    (Known::ContentRange, "Content-Range"),
    (Known::Range, "Range"),
    (Known::IfModifiedSince, "If-Modified-Since"),
    (Known::IfUnmodifiedSince, "If-Unmodified-Since"),
    (Known::IfRange, "If-Range"),
    (Known::Authorization, "Authorization"),
];

/// Parses `head`, which a [`HeadScanner`](super::HeadScanner) has measured, of a request that came
/// over plain TCP. `fields` is storage, used again and again.
///
/// # Errors
/// [`Refusal`]: answer with its status and close the connection.
pub fn parse_request<'a>(head: &'a [u8], fields: &'a mut Fields) -> Result<Request<'a>, Refusal> {
    parse_request_over(Scheme::Http, head, fields)
}

/// [`parse_request`] over a connection of `scheme`: an absolute-form target must have the same one
/// (RFC 9110, section 7.4: a request for an https resource must be rejected unless it came over
/// TLS).
///
/// # Errors
/// As [`parse_request`].
pub fn parse_request_over<'a>(
    scheme: Scheme,
    head: &'a [u8],
    fields: &'a mut Fields,
) -> Result<Request<'a>, Refusal> {
    let request = parse_at_start(scheme, head, usize::MAX, fields)?;
    match request.head.len() == head.len() {
        true => Ok(request),
        false => Err(FieldFault::NotClosed.into()),
    }
}

/// What [`HeadScanner::scan`](super::HeadScanner::scan) and [`parse_request_over`] find in `data`,
/// in one pass, where that is a request; it is at [`Request::head_length`] that `data` goes on.
/// `None`: the two are to be asked, for the head is not complete or there is something wrong.
#[must_use]
pub fn parse_whole_request<'a>(
    scheme: Scheme,
    data: &'a [u8],
    limits: &HeadLimits,
    fields: &'a mut Fields,
) -> Option<Request<'a>> {
    parse_at_start(scheme, data, limits.fields, fields)
        .ok()
        .filter(|request| limits.hold(request.fields_at, request.head.len()))
}

/// [`parse_request_over`] for a head that was written by [`Fields::write`], field by field, after
/// its request line: `fields` says where they are.
///
/// # Errors
/// As [`parse_request`]; what is wrong with single octets of fields must be known before.
pub(crate) fn parse_written_request<'a>(
    scheme: Scheme,
    head: &'a [u8],
    fields: &'a mut Fields,
) -> Result<Request<'a>, Refusal> {
    // Positions are kept in 32 bits.
    if u32::try_from(head.len()).is_err() {
        return Err(FieldFault::NotClosed.into());
    }
    let (line, fields_at) = line_at_start(head)?;
    let line = read_line(line)?;
    let mut seen = Seen::default();
    for field in &fields.list {
        seen.see(field, head, &mut fields.named)?;
    }
    made(scheme, line, fields_at, seen, head, fields)
}

/// Parses the request at the start of `data`, of at most `most` fields.
fn parse_at_start<'a>(
    scheme: Scheme,
    data: &'a [u8],
    most: usize,
    fields: &'a mut Fields,
) -> Result<Request<'a>, Refusal> {
    fields.clear();
    let (line, fields_at) = line_at_start(data)?;
    let line = read_line(line)?;
    let mut seen = Seen::default();
    let (list, named) = (&mut fields.list, &mut fields.named);
    let end = read_fields(data, fields_at, most, list, |field, _| {
        seen.see(field, data, named)
    })?;
    made(scheme, line, fields_at, seen, part(data, 0, end), fields)
}

/// The request line without its CRLF, and where the fields begin.
#[inline]
fn line_at_start(data: &[u8]) -> Result<(&[u8], usize), Refusal> {
    let line_end = memchr::memchr(b'\r', data).unwrap_or(data.len());
    let fields_at = line_end + CRLF.len();
    match part(data, line_end, fields_at) == CRLF {
        true => Ok((part(data, 0, line_end), fields_at)),
        false => Err(Refusal::RequestLine),
    }
}

/// What line and fields say together.
#[inline]
fn made<'a>(
    scheme: Scheme,
    (method, target, version): (Method<'a>, Target<'a>, Version),
    fields_at: usize,
    seen: Seen<'a>,
    head: &'a [u8],
    fields: &'a mut Fields,
) -> Result<Request<'a>, Refusal> {
    fields.mark_named(head);
    let body = seen.body(version)?;
    if method == Method::Trace && body != RequestBody::None {
        return Err(Refusal::TraceBody);
    }
    let mut authority = seen.authority(version)?;
    if let Target::Absolute(_, _, rest @ [b'?', ..]) = target {
        // RFC 9110, section 4.2.3: an empty path is `/`.
        fields.path.push(b'/');
        fields.path.extend_from_slice(rest);
    }
    let fields: &'a Fields = fields;
    let path: &[u8] = match target {
        Target::Origin(path) => path,
        Target::Asterisk => b"*",
        Target::Absolute(target_scheme, target_authority, rest) => {
            if target_scheme != scheme {
                return Err(Refusal::SchemeElsewhere);
            }
            authority = target_authority;
            match rest {
                [] if method == Method::Options => b"*",
                [] => b"/",
                [b'?', ..] => &fields.path,
                _ => rest,
            }
        }
    };
    let counts = matches!(method, Method::Options | Method::Trace);
    let max_forwards = match seen.max_forwards {
        Some(value) if counts => Some(max_forwards(value)?),
        _ => None,
    };
    let is_http11 = version == Version::Http11;
    let may_upgrade = is_http11 && seen.options.upgrade && body == RequestBody::None;
    Ok(Request {
        method,
        version,
        path,
        host: authority.host,
        authority: authority.text,
        body,
        has_length: seen.length.is_some(),
        keep_alive: seen.options.persists(version),
        expects_continue: seen.expects && is_http11 && body != RequestBody::None,
        upgrade: seen
            .upgrade
            .filter(|value| may_upgrade && may_tunnel(method, value)),
        max_forwards,
        trailers: seen.trailers && is_http11,
        request_id: seen.request_id,
        traceparent: seen.traceparent,
        odd_length: seen.odd_length,
        head,
        fields_at,
        fields,
        names: seen.names,
    })
}

/// Whether `line`, without its CRLF, is a request line that [`parse_request`] accepts: for a head
/// that is not complete yet ([`HeadScanner::first_line`](super::HeadScanner::first_line)).
///
/// # Errors
/// The [`Refusal`] that the whole head would meet with.
pub fn check_request_line(line: &[u8]) -> Result<(), Refusal> {
    read_line(line).map(|_| ())
}

/// Reads `method SP request-target SP HTTP-version` (RFC 9112, section 3): single spaces and
/// nothing else between them.
#[inline]
fn read_line(line: &[u8]) -> Result<(Method<'_>, Target<'_>, Version), Refusal> {
    let first = memchr::memchr(b' ', line).ok_or(Refusal::RequestLine)?;
    let last = memchr::memrchr(b' ', line).unwrap_or(first);
    let (name, target) = (part(line, 0, first), part(line, first + 1, last));
    if !is_token(name) {
        return Err(Refusal::Method);
    }
    if first == last {
        // Two parts only: HTTP/0.9, or no target.
        return Err(Refusal::RequestLine);
    }
    let version = version(from(line, last + 1)).map_err(|fault| match fault {
        VersionFault::Malformed => Refusal::Version,
        VersionFault::Major => Refusal::VersionUnsupported,
    })?;
    if name.len() > METHOD_LENGTH {
        return Err(Refusal::MethodTooLong);
    }
    if name == b"CONNECT" {
        return Err(match is_authority_form(target) {
            true => Refusal::Connect,
            false => Refusal::TargetForm,
        });
    }
    let method = Method::new(name);
    Ok((method, read_target(method, target)?, version))
}

/// What the fields have said so far.
#[derive(Default)]
struct Seen<'a> {
    names: Names,
    options: Options,
    host: &'a [u8],
    length: Option<u64>,
    odd_length: bool,
    coding: Option<Coding>,
    upgrade: Option<&'a [u8]>,
    expects: bool,
    trailers: bool,
    max_forwards: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    /// Takes in one field of `data`; connection options that are names go to `named`.
    #[inline]
    fn see(
        &mut self,
        field: &Field,
        data: &'a [u8],
        named: &mut Vec<(u32, u32)>,
    ) -> Result<(), Refusal> {
        if field.known == Known::Other {
            return Ok(());
        }
        let again = self.names.add(field.known);
        if again && let Some((_, name)) = SINGLE.iter().find(|(known, _)| *known == field.known) {
            return Err(Refusal::Twice(name));
        }
        if field.known == Known::Connection {
            return match self.options.read(data, field, named) {
                true => Ok(()),
                false => Err(Refusal::Connection),
            };
        }
        self.take(field.known, field.value(data), again)
    }

    /// Takes in one known field; `again`: it is not the first of its name.
    #[inline]
    fn take(&mut self, known: Known, value: &'a [u8], again: bool) -> Result<(), Refusal> {
        match known {
            Known::Host => self.host = value,
            Known::ContentLength => {
                let length = content_length(value).ok_or(Refusal::ContentLength)?;
                self.length = Some(length.octets);
                self.odd_length = !length.plain;
            }
            Known::TransferEncoding => self.coding = Some(transfer_encoding(value)),
            Known::Te => self.trailers |= takes_trailers(value),
            // Lists may be split over lines, but no client does it with this one.
            Known::Upgrade => self.upgrade = (!again).then_some(value),
            Known::Expect => {
                for member in members(value).filter(|member| !member.is_empty()) {
                    if !member.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Refusal::Expectation);
                    }
                    self.expects = true;
                }
            }
            Known::MaxForwards => self.max_forwards = Some(value),
            Known::Traceparent => self.traceparent = (!again).then_some(value),
            Known::XRequestId => {
                self.request_id = (!again && is_request_id(value)).then_some(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// Where the body ends (RFC 9112, sections 6.1 and 6.3).
    fn body(&self, version: Version) -> Result<RequestBody, Refusal> {
        match (self.coding, self.length) {
            (None, None | Some(0)) => Ok(RequestBody::None),
            (None, Some(length)) => Ok(RequestBody::Length(length)),
            (Some(_), Some(_)) => Err(Refusal::LengthAndEncoding),
            (Some(_), None) if version == Version::Http10 => Err(Refusal::EncodingInHttp10),
            (Some(Coding::Chunked), None) => Ok(RequestBody::Chunked),
            (Some(Coding::OthersThenChunked), None) => Err(Refusal::CodingUnknown),
            (Some(Coding::Unframed), None) => Err(Refusal::TransferEncoding),
        }
    }

    /// What Host says. It must be right even if the target overrules it (RFC 9112, section 3.2).
    fn authority(&self, version: Version) -> Result<Authority<'a>, Refusal> {
        match (self.names.contains(Known::Host), version) {
            (true, _) => read_authority(self.host).ok_or(Refusal::Host),
            (false, Version::Http10) => Ok(Authority {
                host: b"",
                text: b"",
            }),
            (false, Version::Http11) => Err(Refusal::HostMissing),
        }
    }
}

/// Whether a TE has the member `trailers` (RFC 9110, section 10.1.4), which has no parameters. The
/// others name transfer codings, of which we write none.
fn takes_trailers(value: &[u8]) -> bool {
    members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// `1*DIGIT`; numbers that do not fit are as good as the largest that does (RFC 9110, 7.6.2).
fn max_forwards(value: &[u8]) -> Result<u64, Refusal> {
    match !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        true => Ok(decimal(value).unwrap_or(u64::MAX)),
        false => Err(Refusal::MaxForwards),
    }
}

fn is_request_id(value: &[u8]) -> bool {
    (1..=REQUEST_ID_LENGTH).contains(&value.len())
        && value.iter().all(|&octet| is_safe_octet(octet))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "parse_field_tests.rs"]
mod field_tests;
