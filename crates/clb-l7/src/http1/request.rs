//! A request that is accepted.

use super::answer::AnswerTo;
use super::fields::Fields;
use super::framing::Version;
use super::method::Method;
use super::names::{Known, Names};
use super::octets::{from, part, split, trim};

/// Where a request's body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none, or it has 0 octets by its Content-Length.
    None,
    /// This many octets, at least one.
    Length(u64),
    /// Until the last chunk.
    Chunked,
}

/// A request that is accepted: unambiguous, and well-formed as far as a gateway can tell.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The client's version.
    pub version: Version,
    /// Path and query as sent; `/` where an absolute-form target has no path; `*` for OPTIONS of
    /// the server as a whole (RFC 9112, section 3.2.4).
    pub path: &'a [u8],
    /// What routing goes by: the host of an absolute-form target, else of Host; as sent, without
    /// port, an IPv6 address in brackets. Empty only in HTTP/1.0 without Host.
    pub host: &'a [u8],
    /// Host and port, of the same: what Host says to the backend (RFC 9112, section 3.2.2). A
    /// colon without a port after it is left out.
    pub authority: &'a [u8],
    /// Where the body ends.
    pub body: RequestBody,
    /// Whether there is a Content-Length, be it 0.
    pub has_length: bool,
    /// Whether the client wants to go on after the answer (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// The client waits for 100 before it sends the body (RFC 9110, section 10.1.1). Never in
    /// HTTP/1.0 and without a body.
    pub expects_continue: bool,
    /// The protocols that the client would change to, as the backend is asked for them; `None`
    /// also where an Upgrade is there but not sent on (in HTTP/1.0, with a body, not named by
    /// Connection, h2c and the like; RFC 9110, section 7.8).
    pub upgrade: Option<&'a [u8]>,
    /// Of OPTIONS and TRACE: how often the request may still be forwarded. At 0 it is answered by
    /// [`write_final_answer`](super::write_final_answer) (RFC 9110, section 7.6.2).
    pub max_forwards: Option<u64>,
    /// The client takes trailer fields (`TE: trailers`; RFC 9110, section 6.5.1).
    pub trailers: bool,
    /// X-Request-Id, if there is exactly one, of 1 to [`REQUEST_ID_LENGTH`] letters, digits and
    /// `-_.:/+=~@`.
    pub request_id: Option<&'a [u8]>,
    /// The value of traceparent, if there is exactly one (W3C Trace Context).
    pub traceparent: Option<&'a [u8]>,
    /// The Content-Length is written anew: it has zeros in front.
    pub(crate) odd_length: bool,
    pub(crate) head: &'a [u8],
    /// Where the first field begins.
    pub(crate) fields_at: usize,
    pub(crate) fields: &'a Fields,
    /// Which known names there are.
    pub(crate) names: Names,
}

/// Longest X-Request-Id that is kept, in octets.
pub const REQUEST_ID_LENGTH: usize = 128;

impl<'a> Request<'a> {
    /// Octets of the head, the empty line included.
    #[must_use]
    pub fn head_length(&self) -> usize {
        self.head.len()
    }

    /// The request line as it was sent, without its end.
    #[must_use]
    pub fn line(&self) -> &'a [u8] {
        part(self.head, 0, self.fields_at.saturating_sub(2))
    }

    /// What the answer's framing depends on, for [`parse_answer`](super::parse_answer). Holds
    /// nothing of the head.
    #[must_use]
    pub fn answer_to(&self) -> AnswerTo {
        AnswerTo {
            method: self.method.kind(),
            client: self.version,
            upgrade_asked: self.upgrade.into(),
            trailers: self.trailers,
        }
    }

    /// Whether the backend connection may be used again after this request. Not when it has a body
    /// and a method that seldom has one: a backend that does not read such a body takes it for the
    /// next request, which on a shared connection is somebody else's.
    #[must_use]
    pub fn may_share_backend(&self) -> bool {
        self.body == RequestBody::None || self.method.has_usual_body()
    }

    /// The first value of the cookie `name` that is not empty (RFC 6265, section 5.4).
    #[must_use]
    pub fn cookie(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.cookies(name).find(|value| !value.is_empty())
    }

    /// All values of the cookie `name`, in the order in which they came. Names are compared with
    /// their case (RFC 6265, section 5.3).
    pub fn cookies<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let head = self.head;
        let fields = match self.names.contains(Known::Cookie) {
            true => self.fields.list.as_slice(),
            false => &[],
        };
        fields
            .iter()
            .filter(|field| field.known == Known::Cookie)
            .flat_map(move |field| split(field.value(head), b';'))
            .filter_map(move |pair| cookie_value(pair, name))
    }

    /// Values of the fields `name`, in the order in which they came, blanks around them removed.
    pub fn field<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.pairs()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All fields as the client sent them: names and values.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.fields.pairs(self.head)
    }

    /// Field names that the client's Connection brings: trailer fields of these names are removed
    /// too (RFC 9110, section 7.6.1).
    pub fn connection_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.fields.named(self.head)
    }
}

/// The value in `pair` if its cookie is called `name`.
pub(crate) fn cookie_value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let equals = memchr::memchr(b'=', pair)?;
    (trim(part(pair, 0, equals)) == name).then(|| trim(from(pair, equals + 1)))
}
