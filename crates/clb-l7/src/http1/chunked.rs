//! The chunked coding (RFC 9112, section 7.1), decoded strictly and written plainly.

use super::octets::CRLF;
use super::trailers::{TRAILER_LENGTH, TrailerFault, keep_trailers};

/// Most octets of extensions in one chunk's line.
pub const EXTENSION_LENGTH: usize = 1024;

/// How many more octets of extensions than of data a body may have at any time (RFC 9112, section
/// 7.1.1 asks for a limit): a client must not make us work for nothing.
pub const EXTENSION_EXCESS: u64 = 16 * 1024;

/// Most digits of a chunk's size; what fits into 64 bits has no more, but for zeros in front.
const SIZE_DIGITS: u8 = 16;

/// What is wrong with a chunked body. What came before was sent on already: the message is cut,
/// and the connections that carry it are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A size without digits, with other octets, or with more digits than fit.
    #[error("a chunk's size is not 1 to 16 hexadecimal digits")]
    Size,
    /// Something other than CRLF ends a line: LF or CR alone, for instance.
    #[error("a chunk's line does not end in CRLF")]
    LineEnd,
    /// An extension that is none (RFC 9112, section 7.1.1).
    #[error("a chunk's extension is malformed")]
    Extension,
    /// More octets of extensions than [`EXTENSION_LENGTH`] or [`EXTENSION_EXCESS`] allow.
    #[error("too many octets of chunk extensions")]
    ExtensionTooLong,
    /// No CRLF after a chunk's data: its size was wrong.
    #[error("a chunk's data is not followed by CRLF")]
    DataEnd,
    /// The trailer section is none, or is too long.
    #[error("trailer: {0}")]
    Trailer(TrailerFault),
}

/// What the next octets of a chunked body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPart {
    /// `input[start..end]` is data; `used` octets of the input are done with.
    Data {
        /// First octet of data.
        start: usize,
        /// After the last one.
        end: usize,
        /// Where to go on.
        used: usize,
    },
    /// All `used` octets of the input are done with, and more are needed.
    NeedMore {
        /// The input's length.
        used: usize,
    },
    /// The body is complete; what follows after `used` octets is not part of it.
    End {
        /// After the body's last octet.
        used: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// At the first digit of a size.
    #[default]
    SizeStart,
    /// After this many digits.
    Size(u8),
    /// Blanks after a size, a name or a value: only a semicolon may follow, or `=` after a name.
    Blank {
        after_name: bool,
    },
    /// After a semicolon: blanks, then a name.
    BeforeName,
    Name,
    /// After `=`: blanks, then a token or a quoted string.
    BeforeValue,
    Value,
    Quoted,
    Escaped,
    /// After the closing quote.
    QuotedEnd,
    /// After the CR of a chunk's line.
    LineLf,
    /// This many octets of data are left.
    Data,
    DataCr,
    DataLf,
    /// In the trailer section, which ends in an empty line.
    Trailer,
    Done,
}

/// A strict decoder of a chunked body, fed in any pieces. It hands out data as positions in the
/// input and copies nothing but the trailer section.
#[derive(Debug, Clone, Default)]
pub struct ChunkDecoder {
    state: State,
    /// Size of the current chunk; in [`State::Data`], what is left of it.
    left: u64,
    /// Octets of extensions in this line.
    extension: usize,
    /// Octets of extensions that data has not made up for.
    excess: u64,
    /// The trailer section; when it is complete, what of it is sent on.
    trailer: Vec<u8>,
    /// Field names that Connection brought, each with a CRLF after it.
    named: Vec<u8>,
}

impl ChunkDecoder {
    /// A decoder for the body of a message whose Connection field brought `names`, which are
    /// removed from its trailer section too (RFC 9110, section 7.6.1). See
    /// [`Request::connection_names`](super::Request::connection_names). Without any it is what
    /// [`default`](Self::default) gives, and costs no more.
    pub fn without_trailers<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut decoder = Self::default();
        for name in names {
            decoder.named.extend_from_slice(name);
            decoder.named.extend_from_slice(CRLF);
        }
        decoder
    }

    /// Goes on with `input`, the octets after those that earlier calls have used. Empty chunks of
    /// data are not handed out: `start < end` always.
    ///
    /// # Errors
    /// [`ChunkError`], at the first octet that no chunked body has there, the same one however the
    /// octets are split over calls. The decoder is of no use after that.
    pub fn next(&mut self, input: &[u8]) -> Result<ChunkPart, ChunkError> {
        let mut octets = input.iter().enumerate();
        loop {
            match self.state {
                State::Done => {
                    let used = input.len() - octets.len();
                    return Ok(ChunkPart::End { used });
                }
                State::Data => {
                    let start = input.len() - octets.len();
                    let there = octets.len() as u64;
                    if there == 0 {
                        return Ok(ChunkPart::NeedMore { used: start });
                    }
                    let length = there.min(self.left);
                    self.left -= length;
                    self.excess = self.excess.saturating_sub(length);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    let end = start + length as usize;
                    return Ok(ChunkPart::Data {
                        start,
                        end,
                        used: end,
                    });
                }
                _ => {}
            }
            let Some((_, &octet)) = octets.next() else {
                return Ok(ChunkPart::NeedMore { used: input.len() });
            };
            self.state = self.step(octet)?;
        }
    }

    /// The trailer fields that are to be sent on, each with its CRLF, once the end was reached:
    /// without those that frame, route, authenticate, describe the content, or are the gateway's
    /// (RFC 9110, section 6.5.1), and those that Connection named.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        match self.state {
            State::Done => &self.trailer,
            _ => &[],
        }
    }

    /// Takes one octet outside the data.
    #[inline]
    fn step(&mut self, octet: u8) -> Result<State, ChunkError> {
        match self.state {
            State::SizeStart => {
                self.left = 0;
                self.extension = 0;
                self.digit(octet, 0)
            }
            State::Size(digits) if octet.is_ascii_hexdigit() => self.digit(octet, digits),
            State::Size(_) => match octet {
                b'\r' => Ok(State::LineLf),
                b';' | b' ' | b'\t' => self.extend(octet),
                b'\n' => Err(ChunkError::LineEnd),
                _ => Err(ChunkError::Size),
            },
            State::LineLf => match (octet, self.left) {
                (b'\n', 0) => Ok(State::Trailer),
                (b'\n', _) => Ok(State::Data),
                _ => Err(ChunkError::LineEnd),
            },
            State::DataCr if octet == b'\r' => Ok(State::DataLf),
            State::DataLf if octet == b'\n' => Ok(State::SizeStart),
            State::DataCr | State::DataLf => Err(ChunkError::DataEnd),
            State::Trailer => self.trailer_octet(octet),
            State::Data | State::Done => Ok(self.state),
            _ => self.extend(octet),
        }
    }

    /// Takes a digit of a size, which has `digits` already.
    fn digit(&mut self, octet: u8, digits: u8) -> Result<State, ChunkError> {
        let value = match octet {
            b'0'..=b'9' => octet - b'0',
            b'a'..=b'f' => octet - b'a' + 10,
            b'A'..=b'F' => octet - b'A' + 10,
            _ => return Err(ChunkError::Size),
        };
        if digits == SIZE_DIGITS {
            return Err(ChunkError::Size);
        }
        self.left = self.left << 4 | u64::from(value);
        Ok(State::Size(digits + 1))
    }

    /// Takes an octet of the extensions: `*( BWS ";" BWS name [ BWS "=" BWS value ] )`.
    fn extend(&mut self, octet: u8) -> Result<State, ChunkError> {
        let next = match self.state {
            State::Size(_) => after_part(octet, false),
            State::Blank { after_name } => match octet {
                b' ' | b'\t' => Some(self.state),
                b';' => Some(State::BeforeName),
                b'=' if after_name => Some(State::BeforeValue),
                // A blank before CRLF is in no grammar: some skip it, some take it for a digit.
                _ => None,
            },
            State::BeforeName => match octet {
                b' ' | b'\t' => Some(State::BeforeName),
                _ => super::octets::is_token_octet(octet).then_some(State::Name),
            },
            State::Name if super::octets::is_token_octet(octet) => Some(State::Name),
            State::Name if octet == b'=' => Some(State::BeforeValue),
            State::Name => after_part(octet, true),
            State::BeforeValue => match octet {
                b' ' | b'\t' => Some(State::BeforeValue),
                b'"' => Some(State::Quoted),
                _ => super::octets::is_token_octet(octet).then_some(State::Value),
            },
            State::Value if super::octets::is_token_octet(octet) => Some(State::Value),
            State::Value | State::QuotedEnd => after_part(octet, false),
            State::Quoted => match octet {
                b'"' => Some(State::QuotedEnd),
                b'\\' => Some(State::Escaped),
                _ => (!super::octets::is_control(octet)).then_some(State::Quoted),
            },
            State::Escaped => (!super::octets::is_control(octet)).then_some(State::Quoted),
            _ => None,
        };
        let next = next.ok_or(match octet {
            b'\r' | b'\n' => ChunkError::LineEnd,
            _ => ChunkError::Extension,
        })?;
        if next != State::LineLf {
            self.extension += 1;
            self.excess += 1;
            if self.extension > EXTENSION_LENGTH || self.excess > EXTENSION_EXCESS {
                return Err(ChunkError::ExtensionTooLong);
            }
        }
        Ok(next)
    }

    /// Takes an octet of the trailer section.
    fn trailer_octet(&mut self, octet: u8) -> Result<State, ChunkError> {
        let fault = |fault| Err(ChunkError::Trailer(fault));
        match (octet, self.trailer.last()) {
            (b'\n', Some(b'\r')) => {}
            (b'\n', _) => return fault(TrailerFault::LineEnd),
            (_, Some(b'\r')) => return fault(TrailerFault::LineEnd),
            _ => {}
        }
        if self.trailer.len() >= TRAILER_LENGTH {
            return fault(TrailerFault::TooLong);
        }
        self.trailer.push(octet);
        if self.trailer == CRLF || self.trailer.ends_with(b"\r\n\r\n") {
            self.trailer =
                keep_trailers(&self.trailer, &self.named).map_err(ChunkError::Trailer)?;
            return Ok(State::Done);
        }
        Ok(State::Trailer)
    }
}

/// What may follow on a size, a name or a value.
fn after_part(octet: u8, after_name: bool) -> Option<State> {
    match octet {
        b'\r' => Some(State::LineLf),
        b';' => Some(State::BeforeName),
        b' ' | b'\t' => Some(State::Blank { after_name }),
        _ => None,
    }
}

/// Appends `data` as one chunk; nothing if it is empty, since an empty chunk would be the last one.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    write_chunk_head(data.len() as u64, out);
    out.extend_from_slice(data);
    out.extend_from_slice(CRLF);
}

/// Appends the line before a chunk of `length` octets, for data that is sent by itself; CRLF
/// ([`CHUNK_END`]) must follow on the data. `length` is not 0.
pub fn write_chunk_head(length: u64, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (u64::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let value = (length >> (digit * 4)) & 0xf;
        out.extend(HEX.get(value as usize));
    }
    out.extend_from_slice(CRLF);
}

/// What follows on a chunk's data.
pub const CHUNK_END: &[u8] = CRLF;

/// Appends the end of a chunked body: the last chunk, the trailer fields `trailers`, each with its
/// CRLF, as [`ChunkDecoder::trailers`] gives them (or nothing), and the empty line.
pub fn write_last_chunk(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(CRLF);
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
