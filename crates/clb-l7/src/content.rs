//! A backend's answer as both versions of HTTP on the client's side take it.

use clb_snapshot::HttpSettings;

use crate::http1::{Answer, AnswerBody, ChunkDecoder, HeadLimits};

/// Interim answers that a backend may send to one request.
pub(crate) const INTERIM_ANSWERS: usize = 32;
/// Field lines of an answer.
const ANSWER_FIELDS: usize = 1024;

/// How much an answer's head may have: `limits.response_head` octets, be they one line's or all.
pub(crate) fn answer_limits(settings: &HttpSettings) -> HeadLimits {
    HeadLimits {
        line: settings.response_head,
        head: settings.response_head,
        fields: ANSWER_FIELDS,
    }
}

/// Where content ends.
#[derive(Debug)]
pub(crate) enum Content {
    /// After so many octets.
    Length(u64),
    /// Where its chunks say.
    Chunked(Box<ChunkDecoder>),
    /// With the connection.
    UntilClose,
}

impl Content {
    /// What follows an answer's head; `None`: the next head.
    pub(crate) fn of(answer: &Answer<'_>) -> Option<Self> {
        match answer.body {
            AnswerBody::None => None,
            AnswerBody::Length(length) => Some(Self::Length(length)),
            AnswerBody::Chunked => {
                let decoder = ChunkDecoder::without_trailers(answer.connection_names());
                Some(Self::Chunked(Box::new(decoder)))
            }
            AnswerBody::UntilClose => Some(Self::UntilClose),
        }
    }
}
