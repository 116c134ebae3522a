//! Why a request is refused, and with which status.

use super::fields::FieldFault;
use super::scan::{HeadError, HeadFault};

/// Why a request is refused by the gateway. After every refusal the connection is closed: what
/// follows on it cannot be trusted to be where a request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum Refusal {
    /// No head at all.
    Head(HeadFault),
    /// Not `method SP request-target SP HTTP-version` (RFC 9112, section 3).
    RequestLine,
    /// The method is no token (RFC 9110, section 9.1).
    Method,
    /// A method longer than any that is in use (RFC 9112, section 3: 501).
    MethodTooLong,
    /// CONNECT: a gateway opens no tunnels to where clients say (RFC 9110, section 9.3.6).
    Connect,
    /// The version is none (RFC 9112, section 2.3).
    Version,
    /// Another major version than 1 (RFC 9110, section 15.6.6).
    VersionUnsupported,
    /// An octet that no request-target has (RFC 9112, section 3.2).
    TargetOctet,
    /// `%` without two hexadecimal digits in the path, or `%00`.
    TargetEscape,
    /// A form of request-target that the method does not have (RFC 9112, section 3.2).
    TargetForm,
    /// An absolute-form target whose scheme is neither http nor https.
    Scheme,
    /// An absolute-form target whose scheme is not the connection's (RFC 9110, section 7.4: 421).
    SchemeElsewhere,
    /// The authority of an absolute-form target is none, or has user information (RFC 9110,
    /// sections 4.2.1 and 4.2.4).
    TargetAuthority,
    /// HTTP/1.1 without Host (RFC 9112, section 3.2).
    HostMissing,
    /// A Host that is no host with an optional port (RFC 9112, section 3.2).
    Host,
    /// A field line that is none.
    Field(FieldFault),
    /// This field, which has one value, stands more than once (RFC 9110, section 5.3).
    Twice(&'static str),
    /// Content-Length is not one number (RFC 9110, section 8.6).
    ContentLength,
    /// Content-Length beside Transfer-Encoding (RFC 9112, section 6.1).
    LengthAndEncoding,
    /// A Transfer-Encoding that does not end in chunked, or is obscure (RFC 9112, section 6.3).
    TransferEncoding,
    /// A transfer coding that we do not know (RFC 9112, section 6.1: 501).
    CodingUnknown,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1).
    EncodingInHttp10,
    /// A Connection field that is no list of tokens, or a very long one (RFC 9110, 7.6.1).
    Connection,
    /// An expectation other than 100-continue (RFC 9110, section 10.1.1).
    Expectation,
    /// Max-Forwards of OPTIONS or TRACE is no number (RFC 9110, section 7.6.2).
    MaxForwards,
    /// TRACE with a body (RFC 9110, section 9.3.8).
    TraceBody,
    /// The body is longer than the limit. Not found here, but by who reads the body.
    BodyTooLong,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Head(fault) => HeadError {
                fault: *fault,
                at: 0,
            }
            .status(),
            Self::BodyTooLong => 413,
            Self::Expectation => 417,
            Self::SchemeElsewhere => 421,
            Self::MethodTooLong | Self::Connect | Self::CodingUnknown => 501,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// The reason, for the log and the text of the answer. Holds nothing that the client sent.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Head(HeadFault::LineTooLong) => "the request line is too long",
            Self::Head(HeadFault::HeadTooLong) => "the head is too long",
            Self::Head(HeadFault::TooManyFields) => "the head has too many fields",
            Self::Head(HeadFault::BareLf) => "a line ends in LF without CR",
            Self::Head(HeadFault::BareCr) => "CR without LF",
            Self::Head(HeadFault::Nul) => "a zero octet in the head",
            Self::Head(HeadFault::EmptyStartLine) => "the request line is empty",
            Self::RequestLine => "the request line is not method, target and version",
            Self::Method => "the method is no token",
            Self::MethodTooLong => "no method is that long",
            Self::Connect => "this gateway opens no tunnels",
            Self::Version => "the version is malformed",
            Self::VersionUnsupported => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::TargetOctet => "the target has an octet that must be escaped",
            Self::TargetEscape => "the path has a bad escape",
            Self::TargetForm => "the target has not the form that the method asks for",
            Self::Scheme => "the target's scheme is neither http nor https",
            Self::SchemeElsewhere => "the target's scheme is not that of the connection",
            Self::TargetAuthority => "the target's authority is malformed",
            Self::HostMissing => "Host is missing",
            Self::Host => "Host is malformed",
            Self::Field(FieldFault::Folded) => "a field line begins with a blank",
            Self::Field(FieldFault::NoColon) => "a field line has no colon",
            Self::Field(FieldFault::NoName) => "a field has no name",
            Self::Field(FieldFault::BlankBeforeColon) => "a blank before a field's colon",
            Self::Field(FieldFault::Name) => "a field's name is no token",
            Self::Field(FieldFault::Value) => "a field's value has a control octet",
            Self::Field(FieldFault::NotClosed) => "the head does not end in one empty line",
            Self::Twice(_) => "a field that has one value stands more than once",
            Self::ContentLength => "Content-Length is not one number",
            Self::LengthAndEncoding => "Content-Length beside Transfer-Encoding",
            Self::TransferEncoding => "Transfer-Encoding is not chunked",
            Self::CodingUnknown => "a transfer coding other than chunked",
            Self::EncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::Connection => "Connection is no short list of tokens",
            Self::Expectation => "an expectation other than 100-continue",
            Self::MaxForwards => "Max-Forwards is not one number",
            Self::TraceBody => "TRACE with a body",
            Self::BodyTooLong => "the body is too long",
        }
    }
}

impl From<FieldFault> for Refusal {
    fn from(fault: FieldFault) -> Self {
        Self::Field(fault)
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        Self::Head(error.fault)
    }
}
