//! A request's body on its way to the backend.

use crate::http1::{
    ChunkDecoder, ChunkPart, Refusal, Request, RequestBody, write_chunk, write_last_chunk,
};

/// What is still to come of a request's body.
#[derive(Debug)]
pub(crate) struct Body {
    left: Left,
    /// Octets of content that may still come (`limits.request_body`).
    allowed: u64,
}

#[derive(Debug)]
enum Left {
    Nothing,
    Length(u64),
    Chunked(Box<ChunkDecoder>),
}

/// Why a body can not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Its chunks are no chunks (RFC 9112 7.1).
    Malformed,
    /// It is longer than `limits.request_body`.
    TooLarge,
}

impl BodyFault {
    /// The status that the client gets.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TooLarge => 413,
        }
    }

    /// Why, for the text of the answer.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Malformed => "the body is not chunked as it says",
            Self::TooLarge => "the body is too long",
        }
    }
}

impl Body {
    /// The body that a request announces.
    ///
    /// # Errors
    /// When it announces more than `allowed` octets.
    pub(crate) fn announced(request: &Request<'_>, allowed: u64) -> Result<Self, Refusal> {
        let left = match request.body {
            RequestBody::None => Left::Nothing,
            RequestBody::Length(length) if length > allowed => return Err(Refusal::BodyTooLong),
            RequestBody::Length(length) => Left::Length(length),
            RequestBody::Chunked => {
                let decoder = ChunkDecoder::without_trailers(request.connection_names());
                Left::Chunked(Box::new(decoder))
            }
        };
        Ok(Self { left, allowed })
    }

    /// Nothing more will come.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// Of `data`, received from the client, the first octets that can be passed on as they are;
    /// empty when they have to be [re-framed](Self::reframe).
    pub(crate) fn take_plain<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let Left::Length(left) = &mut self.left else {
            return &[];
        };
        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
        *left = left.saturating_sub(taken as u64);
        if *left == 0 {
            self.left = Left::Nothing;
        }
        data.get(..taken).unwrap_or_default()
    }

    /// Appends to `out` content that came without any framing of HTTP/1, framed for the backend.
    ///
    /// # Errors
    /// [`BodyFault`]; nothing more can be read from the client then.
    pub(crate) fn frame(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), BodyFault> {
        if let Left::Chunked(_) = self.left {
            let length = content.len() as u64;
            self.allowed = self
                .allowed
                .checked_sub(length)
                .ok_or(BodyFault::TooLarge)?;
            write_chunk(content, out);
            return Ok(());
        }
        let taken = self.take_plain(content);
        out.extend_from_slice(taken);
        match taken.len() == content.len() {
            true => Ok(()),
            false => Err(BodyFault::Malformed),
        }
    }

    /// The client has ended a body that came without any framing of HTTP/1: appends what tells the
    /// backend so, with these trailer fields, each with its CRLF, if it can have any.
    ///
    /// # Errors
    /// [`BodyFault::Malformed`] for one that is shorter than it was to be.
    pub(crate) fn finish(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), BodyFault> {
        match std::mem::replace(&mut self.left, Left::Nothing) {
            Left::Chunked(_) => write_last_chunk(trailers, out),
            Left::Length(_) => return Err(BodyFault::Malformed),
            Left::Nothing => {}
        }
        Ok(())
    }

    /// Appends to `out` what `data` means to the backend and gives how much of it was used; the
    /// rest belongs to the next request.
    ///
    /// Chunks are written anew: extensions end here (RFC 9112 7.1.1), and the backend never sees
    /// an octet of framing that a client wrote.
    ///
    /// # Errors
    /// [`BodyFault`]; nothing more can be read from the client then.
    pub(crate) fn reframe(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyFault> {
        let Left::Chunked(decoder) = &mut self.left else {
            let taken = self.take_plain(data);
            out.extend_from_slice(taken);
            return Ok(taken.len());
        };
        let mut used = 0;
        while let Some(rest @ [_, ..]) = data.get(used..) {
            match decoder.next(rest).map_err(|_| BodyFault::Malformed)? {
                ChunkPart::Data {
                    start,
                    end,
                    used: count,
                } => {
                    let content = rest.get(start..end).unwrap_or_default();
                    self.allowed = self
                        .allowed
                        .checked_sub(content.len() as u64)
                        .ok_or(BodyFault::TooLarge)?;
                    write_chunk(content, out);
                    used += count;
                }
                ChunkPart::NeedMore { used: count } => {
                    used += count;
                    break;
                }
                ChunkPart::End { used: count } => {
                    write_last_chunk(decoder.trailers(), out);
                    self.left = Left::Nothing;
                    return Ok(used + count);
                }
            }
        }
        Ok(used)
    }
}
