//! HTTP/1.1 and 1.0 without sockets: where heads and bodies end, what is refused, and what is
//! written to the other side. Strict throughout (RFC 9110, RFC 9112): what two recipients could
//! read in two ways is refused, of clients and of backends alike.
//!
//! A request: [`leading_crlf`], [`HeadScanner::scan`], [`parse_request`], [`write_request`]; its
//! answer: [`HeadScanner::scan`], [`parse_answer`] with [`Request::answer_to`], [`write_answer`]
//! with [`Answer::transfer`]; chunked bodies: [`ChunkDecoder`], [`write_chunk`],
//! [`write_last_chunk`].

mod answer;
mod chunked;
pub mod date;
mod fields;
mod framing;
mod gateway;
mod method;
mod names;
mod octets;
mod parse;
mod refusal;
mod request;
mod runs;
mod scan;
mod target;
pub mod trace;
mod trailers;
mod upgrade;
mod write_answer;
mod write_request;

pub(crate) use answer::read_answers;
pub use answer::{
    Answer, AnswerBody, AnswerTo, BadAnswer, Transfer, check_status_line, parse_answer,
    parse_whole_answer,
};
pub use chunked::{
    CHUNK_END, ChunkDecoder, ChunkError, ChunkPart, EXTENSION_EXCESS, EXTENSION_LENGTH,
    write_chunk, write_chunk_head, write_last_chunk,
};
pub use fields::{FieldFault, Fields};
pub use framing::Version;
pub use gateway::{GatewayField, reason_phrase, write_final_answer, write_gateway_answer};
pub use method::{Method, MethodKind};
pub(crate) use names::Known;
pub(crate) use parse::parse_written_request;
pub use parse::{check_request_line, parse_request, parse_request_over, parse_whole_request};
pub use refusal::Refusal;
pub use request::{REQUEST_ID_LENGTH, Request, RequestBody};
pub use scan::{HeadError, HeadFault, HeadLimits, HeadScanner, LEADING_CRLFS, leading_crlf};
pub use target::Scheme;
pub(crate) use trailers::keep_trailers;
pub use trailers::{TRAILER_FIELDS, TRAILER_LENGTH, TrailerFault};
pub use upgrade::{UPGRADE_LENGTH, UpgradeAsked};
pub(crate) use write_answer::for_each_field;
pub use write_answer::{AnswerAdditions, write_answer};
pub use write_request::{RequestAdditions, write_request};
