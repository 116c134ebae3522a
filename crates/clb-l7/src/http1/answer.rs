//! An answer's head: what a backend says, or why it is not believed.

use super::fields::{Field, FieldFault, Fields, read_fields};
use super::framing::{Coding, Options, Version, content_length, transfer_encoding, version};
use super::method::{Method, MethodKind};
use super::names::{Known, Names};
use super::octets::{CRLF, decimal, first_control, from, part};
use super::scan::{HeadError, HeadFault, HeadLimits, HeadScanner};
use super::upgrade::{UpgradeAsked, may_tunnel};

/// What the answer is to: decides where it ends and what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTo {
    /// The request's method.
    pub method: MethodKind,
    /// The client's version.
    pub client: Version,
    /// The protocols that the backend was asked for.
    pub upgrade_asked: UpgradeAsked,
    /// The client takes trailer fields.
    pub trailers: bool,
}

/// Where an answer's body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBody {
    /// There is none: to HEAD, 1xx, 204, 304, or 0 octets by its Content-Length.
    None,
    /// This many octets, at least one.
    Length(u64),
    /// Until the last chunk.
    Chunked,
    /// Until the backend closes the connection. A reset is not the end.
    UntilClose,
}

/// How a body goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// As it is: this many octets.
    AsIs(u64),
    /// In chunks, and with trailer fields if the client takes them.
    Chunked,
    /// Unframed; the connection is closed at its end.
    UntilClose,
}

/// Why an answer is not believed: the client gets 502 and the backend connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum BadAnswer {
    /// No head at all.
    Head(HeadFault),
    /// Not `HTTP-version SP status-code SP [reason-phrase]` (RFC 9112, section 4).
    StatusLine,
    /// Another major version than 1, or none.
    Version,
    /// Not 100 to 599 (RFC 9110, section 15).
    Status,
    /// A field line that is none.
    Field(FieldFault),
    /// Content-Length is not one number, or stands twice (RFC 9110, section 8.6).
    ContentLength,
    /// Content-Length beside Transfer-Encoding (RFC 9112, section 6.3).
    LengthAndEncoding,
    /// Transfer-Encoding is not exactly chunked, or stands twice.
    TransferEncoding,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1).
    EncodingInHttp10,
    /// A Connection field that is no list of tokens, or a very long one.
    Connection,
    /// This field, which has one value, has two different ones.
    Contradiction(&'static str),
    /// 101 that nobody asked for, or to something else (RFC 9110, section 15.2.2).
    Upgrade,
}

impl BadAnswer {
    /// The reason, for the log. Holds nothing that the backend sent.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Head(HeadFault::LineTooLong) => "the status line is too long",
            Self::Head(HeadFault::HeadTooLong) => "the head is too long",
            Self::Head(HeadFault::TooManyFields) => "the head has too many fields",
            Self::Head(HeadFault::BareLf) => "a line ends in LF without CR",
            Self::Head(HeadFault::BareCr) => "CR without LF",
            Self::Head(HeadFault::Nul) => "a zero octet in the head",
            Self::Head(HeadFault::EmptyStartLine) => "the status line is empty",
            Self::StatusLine => "the status line is malformed",
            Self::Version => "the version is not HTTP/1",
            Self::Status => "the status is not 100 to 599",
            Self::Field(FieldFault::Folded) => "a field line begins with a blank",
            Self::Field(FieldFault::NoColon) => "a field line has no colon",
            Self::Field(FieldFault::NoName) => "a field has no name",
            Self::Field(FieldFault::BlankBeforeColon) => "a blank before a field's colon",
            Self::Field(FieldFault::Name) => "a field's name is no token",
            Self::Field(FieldFault::Value) => "a field's value has a control octet",
            Self::Field(FieldFault::NotClosed) => "the head does not end in one empty line",
            Self::ContentLength => "Content-Length is not one number",
            Self::LengthAndEncoding => "Content-Length beside Transfer-Encoding",
            Self::TransferEncoding => "Transfer-Encoding is not chunked",
            Self::EncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::Connection => "Connection is no short list of tokens",
            Self::Contradiction(_) => "a field that has one value has two different ones",
            Self::Upgrade => "101 to a protocol that was not asked for",
        }
    }
}

impl From<FieldFault> for BadAnswer {
    fn from(fault: FieldFault) -> Self {
        Self::Field(fault)
    }
}

impl From<HeadError> for BadAnswer {
    fn from(error: HeadError) -> Self {
        Self::Head(error.fault)
    }
}

/// An answer that is believed.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// 100 to 599.
    pub status: u16,
    /// The backend's version.
    pub version: Version,
    /// Where the body ends.
    pub body: AnswerBody,
    /// Whether the backend connection may be used again after the body's end.
    pub keep_alive: bool,
    /// 1xx but not 101: the answer proper is still to come. Goes to clients of HTTP/1.1 only
    /// (RFC 9110, section 15.2).
    pub is_interim: bool,
    /// A valid 101: both connections are a tunnel from now on.
    pub upgrade: bool,
    /// The client takes trailer fields; see [`Answer::sends_trailers`].
    pub trailers: bool,
    /// The Content-Length is written anew: it has zeros in front.
    pub(crate) odd_length: bool,
    pub(crate) length: Option<u64>,
    /// Upgrade is written anew, by 101 and 426.
    pub(crate) protocols: Option<&'a [u8]>,
    pub(crate) head: &'a [u8],
    /// Where the first field begins.
    pub(crate) fields_at: usize,
    pub(crate) fields: &'a Fields,
    pub(crate) names: Names,
}

impl<'a> Answer<'a> {
    /// How the body goes to a client of this version: one of 1.0 knows no chunks, and one of 1.1
    /// is told the end by them rather than by closing, so that it can tell a cut body from a whole
    /// one.
    #[must_use]
    pub fn transfer(&self, client: Version) -> Transfer {
        match (self.body, client) {
            (AnswerBody::None, _) => Transfer::AsIs(0),
            (AnswerBody::Length(length), _) => Transfer::AsIs(length),
            (AnswerBody::Chunked | AnswerBody::UntilClose, Version::Http11) => Transfer::Chunked,
            (AnswerBody::Chunked | AnswerBody::UntilClose, Version::Http10) => Transfer::UntilClose,
        }
    }

    /// Octets of the head, the empty line included.
    #[must_use]
    pub fn head_length(&self) -> usize {
        self.head.len()
    }

    /// Whether the trailer fields of a body that goes to the client by `transfer` go with it: it is
    /// chunked on both sides, and the client takes them (RFC 9110, section 6.5.1). Else the body
    /// ends without them.
    #[must_use]
    pub fn sends_trailers(&self, transfer: Transfer) -> bool {
        self.trailers && self.body == AnswerBody::Chunked && transfer == Transfer::Chunked
    }

    /// Values of the fields `name`, in the order in which they came, blanks around them removed.
    pub fn field<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields
            .pairs(self.head)
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Field names that the backend's Connection brings: trailer fields of these names are removed
    /// too (RFC 9110, section 7.6.1).
    pub fn connection_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.fields.named(self.head)
    }
}

/// Fields that have one value, and where another one would make it another answer.
const SINGLE: [(Known, &str); 3] = [
    (Known::ContentType, "Content-Type"),
    (Known::ContentRange, "Content-Range"),
    (Known::Location, "Location"),
];

/// Parses `head`, which a [`HeadScanner`](super::HeadScanner) has measured, of a backend's answer.
/// `fields` is storage, used again and again.
///
/// # Errors
/// [`BadAnswer`].
pub fn parse_answer<'a>(
    head: &'a [u8],
    fields: &'a mut Fields,
    to: AnswerTo,
) -> Result<Answer<'a>, BadAnswer> {
    let answer = parse_at_start(head, usize::MAX, fields, to)?;
    match answer.head.len() == head.len() {
        true => Ok(answer),
        false => Err(FieldFault::NotClosed.into()),
    }
}

/// What [`HeadScanner::scan`](super::HeadScanner::scan) and [`parse_answer`] find in `data`, in one
/// pass, where that is an answer; it is at [`Answer::head_length`] that `data` goes on. `None`: the
/// two are to be asked, for the head is not complete or there is something wrong.
#[must_use]
pub fn parse_whole_answer<'a>(
    data: &'a [u8],
    limits: &HeadLimits,
    fields: &'a mut Fields,
    to: AnswerTo,
) -> Option<Answer<'a>> {
    parse_at_start(data, limits.fields, fields, to)
        .ok()
        .filter(|answer| limits.hold(answer.fields_at, answer.head.len()))
}

/// Reads the heads at the start of `data`, which are what came since the last one that was whole: those of
/// interim answers and that of the final one. Each is shown to `take`; gives how many octets they have.
/// `scanner` remembers how far a head is that is not whole yet.
///
/// # Errors
/// [`BadAnswer`], or what `take` says.
pub(crate) fn read_answers<E: From<BadAnswer>>(
    data: &[u8],
    scanner: &mut HeadScanner,
    limits: &HeadLimits,
    fields: &mut Fields,
    to: AnswerTo,
    mut take: impl FnMut(&Answer<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let mut used = 0;
    while let Some(rest @ [_, ..]) = data.get(used..) {
        if scanner.is_fresh()
            && let Some(answer) = parse_whole_answer(rest, limits, fields, to)
        {
            used += answer.head_length();
            take(&answer)?;
            match answer.is_interim {
                true => continue,
                false => break,
            }
        }
        let Some(length) = scanner.scan(rest, limits).map_err(BadAnswer::from)? else {
            if let Some(line) = scanner.first_line(rest) {
                check_status_line(line)?;
            }
            break;
        };
        *scanner = HeadScanner::default();
        used += length;
        let answer = parse_answer(part(rest, 0, length), fields, to)?;
        take(&answer)?;
        if !answer.is_interim {
            break;
        }
    }
    Ok(used)
}

/// Parses the answer at the start of `data`, of at most `most` fields.
fn parse_at_start<'a>(
    data: &'a [u8],
    most: usize,
    fields: &'a mut Fields,
    to: AnswerTo,
) -> Result<Answer<'a>, BadAnswer> {
    fields.clear();
    let line_end = memchr::memchr(b'\r', data).unwrap_or(data.len());
    let fields_at = line_end + CRLF.len();
    if part(data, line_end, fields_at) != CRLF {
        return Err(BadAnswer::StatusLine);
    }
    let (version, status) = read_line(part(data, 0, line_end))?;

    let mut seen = Seen::default();
    let (list, named) = (&mut fields.list, &mut fields.named);
    let end = read_fields(data, fields_at, most, list, |field, before| {
        let again = seen.names.add(field.known);
        let value = field.value(data);
        match field.known {
            Known::Other => {}
            Known::Connection => match seen.options.read(data, field, named) {
                true => {}
                false => return Err(BadAnswer::Connection),
            },
            Known::ContentLength => {
                let length = content_length(value).filter(|_| !again);
                let length = length.ok_or(BadAnswer::ContentLength)?;
                seen.length = Some(length.octets);
                seen.odd_length = !length.plain;
            }
            Known::TransferEncoding => {
                if again || transfer_encoding(value) != Coding::Chunked {
                    return Err(BadAnswer::TransferEncoding);
                }
                seen.chunked = true;
            }
            Known::Upgrade if again => seen.protocols = None,
            Known::Upgrade => seen.protocols = Some(value),
            known if again => check_single(data, field, known, before)?,
            _ => {}
        }
        Ok(())
    })?;
    let head = part(data, 0, end);
    fields.mark_named(head);
    seen.judge(to, version, status).map(|judged| Answer {
        status,
        version,
        body: judged.body,
        keep_alive: judged.keep_alive,
        is_interim: status < 200 && status != 101,
        upgrade: status == 101,
        trailers: to.trailers,
        odd_length: seen.odd_length,
        length: seen.length,
        protocols: judged.protocols,
        head,
        fields_at,
        fields,
        names: seen.names,
    })
}

/// Whether `line`, without its CRLF, is a status line that [`parse_answer`] accepts: for a head
/// that is not complete yet ([`HeadScanner::first_line`](super::HeadScanner::first_line)).
///
/// # Errors
/// The [`BadAnswer`] that the whole head would meet with.
pub fn check_status_line(line: &[u8]) -> Result<(), BadAnswer> {
    read_line(line).map(|_| ())
}

/// Reads `HTTP-version SP status-code SP [reason-phrase]` (RFC 9112, section 4). The second space
/// may be missing where there is no reason, as many servers have it.
#[inline]
fn read_line(line: &[u8]) -> Result<(Version, u16), BadAnswer> {
    let version = version(part(line, 0, 8)).map_err(|_| BadAnswer::Version)?;
    let status = match from(line, 8) {
        [b' ', status @ ..] => status,
        _ => return Err(BadAnswer::StatusLine),
    };
    let (digits, reason) = match status {
        [_, _, _] => (status, &[][..]),
        [_, _, _, b' ', reason @ ..] => (part(status, 0, 3), reason),
        _ => return Err(BadAnswer::StatusLine),
    };
    if first_control(reason).is_some() {
        return Err(BadAnswer::StatusLine);
    }
    let status = decimal(digits).ok_or(BadAnswer::StatusLine)?;
    match u16::try_from(status) {
        Ok(status @ 100..=599) => Ok((version, status)),
        _ => Err(BadAnswer::Status),
    }
}

/// Whether a field that comes again, of those that have one value, says the same again.
fn check_single(
    head: &[u8],
    field: &Field,
    known: Known,
    before: &[Field],
) -> Result<(), BadAnswer> {
    let Some((_, name)) = SINGLE.iter().find(|(single, _)| *single == known) else {
        return Ok(());
    };
    let same = before
        .iter()
        .filter(|other| other.known == known)
        .all(|other| other.value(head) == field.value(head));
    match same {
        true => Ok(()),
        false => Err(BadAnswer::Contradiction(name)),
    }
}

/// What the fields have said.
#[derive(Default)]
struct Seen<'a> {
    names: Names,
    options: Options,
    length: Option<u64>,
    odd_length: bool,
    chunked: bool,
    protocols: Option<&'a [u8]>,
}

struct Judged<'a> {
    body: AnswerBody,
    keep_alive: bool,
    protocols: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    /// Where the body ends and what becomes of the connection.
    fn judge(&self, to: AnswerTo, version: Version, status: u16) -> Result<Judged<'a>, BadAnswer> {
        if self.chunked && version == Version::Http10 {
            return Err(BadAnswer::EncodingInHttp10);
        }
        if self.chunked && self.length.is_some() {
            return Err(BadAnswer::LengthAndEncoding);
        }
        let named_upgrade = self.protocols.filter(|_| self.options.upgrade);
        let protocols = match status {
            101 => {
                let fits = named_upgrade.filter(|value| to.upgrade_asked.covers(value));
                if fits.is_none() || version == Version::Http10 {
                    return Err(BadAnswer::Upgrade);
                }
                fits
            }
            // The one answer that must name protocols (RFC 9110, section 15.5.22).
            426 => self
                .protocols
                .filter(|value| may_tunnel(Method::Get, value)),
            _ => None,
        };
        let bodiless = to.method == MethodKind::Head || status < 200 || matches!(status, 204 | 304);
        let body = match (bodiless, self.chunked, self.length) {
            (true, _, _) | (false, false, Some(0)) => AnswerBody::None,
            (false, true, _) => AnswerBody::Chunked,
            (false, false, Some(length)) => AnswerBody::Length(length),
            (false, false, None) => AnswerBody::UntilClose,
        };
        // 1xx and 204 announce no body (RFC 9110, section 8.6; RFC 9112, section 6.1). Whoever
        // does may send one.
        let announces = self.chunked || self.length.is_some_and(|length| length > 0);
        let doubtful = announces && (status < 200 || status == 204);
        let keep_alive = self.options.persists(version)
            && body != AnswerBody::UntilClose
            && status != 101
            && !doubtful;
        Ok(Judged {
            body,
            keep_alive,
            protocols,
        })
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
