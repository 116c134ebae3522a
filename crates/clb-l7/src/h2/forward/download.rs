//! The answer on its way to the client.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use clb_l4::io::{poll_recv, wake_after_events, with_scratch};

use super::super::fields::{head_length, response, trailers};
use super::upload::Stage;
use super::{Forward, PIECES_PER_TURN, cut};
use crate::content::{Content, INTERIM_ANSWERS, answer_limits};
use crate::forward::{Complete, End, Failure};
use crate::http1::{
    Answer, AnswerAdditions, AnswerBody, BadAnswer, ChunkDecoder, ChunkPart, Transfer, Version,
    read_answers,
};
use crate::timers::Wait;

/// Octets that are read at once: what a stream may hold for a client that takes nothing.
const READ: usize = 32 * 1024;
/// Octets that one stream asks of the connection's window at once, so that several share it.
const PIECE: usize = 16 * 1024;

/// What the next octets from the backend are.
#[derive(Debug)]
pub(super) enum Flow {
    /// An answer's head.
    Head,
    /// Content.
    Content(Content),
    /// None: the answer has ended, the client does not have all of it yet.
    Ended,
    /// None: the stream becomes a tunnel.
    Tunnel,
}

impl Forward<'_> {
    /// Moves the answer on as far as the sides let it; ready when it has ended.
    pub(super) fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<Poll<End>, End> {
        for _ in 0..PIECES_PER_TURN {
            if !self.poll_flushed(cx)? {
                return Ok(Poll::Pending);
            }
            match self.state.flow {
                Flow::Ended => return Ok(Poll::Ready(self.complete())),
                Flow::Tunnel => {
                    let ahead = std::mem::take(&mut self.state.head);
                    return Ok(Poll::Ready(End::Tunnel(ahead)));
                }
                Flow::Head | Flow::Content(_) => {}
            }
            let has_read = with_scratch(|scratch| {
                let buffer = scratch.get_mut(..READ).unwrap_or_default();
                let length = match poll_recv(self.attempt.backend, cx, buffer) {
                    Ok(Poll::Ready(length)) => length,
                    Ok(Poll::Pending) => return Ok(false),
                    Err(error) => return Err(self.broken(error)),
                };
                match buffer.get(..length) {
                    None | Some([]) => self.on_end()?,
                    Some(data) => self.on_data(data)?,
                }
                Ok(true)
            })?;
            if !has_read {
                return Ok(Poll::Pending);
            }
        }
        wake_after_events(cx);
        Ok(Poll::Pending)
    }

    fn complete(&mut self) -> End {
        let is_early = self.state.stage != Stage::Done;
        End::Complete(Complete {
            status: self.state.status,
            keeps_backend: self.state.keeps_backend && !is_early,
            keeps_client: true,
            is_early,
        })
    }

    /// The backend's connection failed.
    fn broken(&self, error: io::Error) -> End {
        match self.state.flow {
            Flow::Head if self.state.head.is_empty() && self.state.interim == 0 => {
                End::NoAnswer(Failure::Closed(error, !self.order.has_been_sent))
            }
            Flow::Head => End::NoAnswer(Failure::HeadCut),
            _ => cut(),
        }
    }

    /// The backend has ended its direction.
    fn on_end(&mut self) -> Result<(), End> {
        match self.state.flow {
            Flow::Content(Content::UntilClose) => {
                self.end(false);
                Ok(())
            }
            _ => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn on_data(&mut self, data: &[u8]) -> Result<(), End> {
        match self.state.flow {
            Flow::Head => self.on_head(data),
            _ => self.on_content(data),
        }
    }

    /// Takes octets of a head; whatever follows the final answer's head is content.
    fn on_head(&mut self, data: &[u8]) -> Result<(), End> {
        if self.state.head.is_empty() {
            let used = self.take_heads(data)?;
            return self.after_heads(data.get(used..).unwrap_or_default());
        }
        let mut head = std::mem::take(&mut self.state.head);
        head.extend_from_slice(data);
        let used = self.take_heads(&head)?;
        self.after_heads(head.get(used..).unwrap_or_default())
    }

    fn after_heads(&mut self, rest: &[u8]) -> Result<(), End> {
        match self.state.flow {
            // The beginning of a head, or what a tunnel's other end said first.
            Flow::Head | Flow::Tunnel => self.state.head.extend_from_slice(rest),
            Flow::Content(_) => return self.on_content(rest),
            // Nobody asked for these octets, and what follows them can not be trusted.
            Flow::Ended if !rest.is_empty() => self.state.keeps_backend = false,
            Flow::Ended => {}
        }
        Ok(())
    }

    /// Reads interim answers and the head of the final one; gives how many octets they have.
    fn take_heads(&mut self, data: &[u8]) -> Result<usize, End> {
        let limits = answer_limits(self.attempt.settings);
        let (local, to) = (self.attempt.local, self.order.answer_to);
        let mut scanner = std::mem::take(&mut self.state.scanner);
        let mut fields = local.fields.borrow_mut();
        let take = |answer: &Answer<'_>| match answer.is_interim {
            true => self.pass_interim(answer),
            false => self.begin(answer),
        };
        let used = read_answers(data, &mut scanner, &limits, &mut fields, to, take)?;
        self.state.scanner = scanner;
        Ok(used)
    }

    fn pass_interim(&mut self, answer: &Answer<'_>) -> Result<(), End> {
        self.state.interim += 1;
        if self.state.interim > INTERIM_ANSWERS {
            return Err(End::NoAnswer(Failure::TooManyInterim));
        }
        if answer.status == 100 {
            self.state.is_continued = true;
        }
        let made = self.made(answer, answer.status, Transfer::AsIs(0), |_| false)?;
        let sent = self.stream.respond.send_informational(made);
        sent.map_err(|_| End::ClientGone)?;
        match self.state.stage {
            Stage::Done | Stage::Broken => self.wait_anew(Wait::BackendRead),
            _ => self.stream.timers.clear(Wait::BackendRead),
        }
        Ok(())
    }

    /// An answer's head as the client gets it.
    fn made(
        &self,
        answer: &Answer<'_>,
        status: u16,
        transfer: Transfer,
        is_left_out: fn(&[u8]) -> bool,
    ) -> Result<http::Response<()>, End> {
        let additions = AnswerAdditions {
            client: Version::Http11,
            close: false,
            date: &self.attempt.local.date(),
            set_cookie: self.order.set_cookie.as_deref(),
            via: self.attempt.settings.via,
            transfer,
        };
        let made = response(answer, &additions, status, is_left_out);
        made.map_err(|fault| BadAnswer::from(fault).into())
    }

    /// The final answer's head.
    fn begin(&mut self, answer: &Answer<'_>) -> Result<(), End> {
        self.state.status = answer.status;
        if let Some(log) = &mut self.order.log {
            log.answered(answer.status);
        }
        if answer.upgrade {
            return self.begin_tunnel(answer);
        }
        let transfer = answer.transfer(Version::Http11);
        let made = self.made(answer, answer.status, transfer, |_| false)?;
        let is_empty = answer.body == AnswerBody::None;
        self.send_head(made, is_empty)?;
        self.state.keeps_backend = answer.keep_alive;
        match Content::of(answer) {
            Some(content) => self.state.flow = Flow::Content(content),
            None => self.end(answer.keep_alive),
        }
        Ok(())
    }

    /// The backend speaks WebSocket from now on, if it has understood the key (RFC 6455 4.1; RFC
    /// 8441 5: the client sees neither key nor proof, and 200 in place of 101).
    fn begin_tunnel(&mut self, answer: &Answer<'_>) -> Result<(), End> {
        let is_proof = |name: &[u8]| name.eq_ignore_ascii_case(b"sec-websocket-accept");
        let mut proofs = answer.field(b"sec-websocket-accept");
        let wanted = self.stream.websocket_accept.as_deref().map(str::as_bytes);
        if wanted.is_none() || proofs.next() != wanted || proofs.next().is_some() {
            return Err(BadAnswer::Upgrade.into());
        }
        let made = self.made(answer, 200, Transfer::Chunked, is_proof)?;
        self.send_head(made, false)?;
        self.state.flow = Flow::Tunnel;
        self.stream.timers.clear(Wait::BackendRead);
        Ok(())
    }

    fn send_head(&mut self, made: http::Response<()>, is_end: bool) -> Result<(), End> {
        if let Some(log) = &mut self.order.log {
            let length = head_length(&made);
            log.sent_head(length);
            log.sent(length);
        }
        let sent = self.stream.respond.send_response(made, is_end);
        self.stream.send = Some(sent.map_err(|_| End::ClientGone)?);
        self.state.is_closed = is_end;
        Ok(())
    }

    /// The backend owes nothing more.
    fn end(&mut self, keeps_backend: bool) {
        self.state.flow = Flow::Ended;
        self.state.keeps_backend = keeps_backend;
        if let Some(log) = &mut self.order.log {
            log.completed();
        }
        self.stream.timers.clear(Wait::BackendRead);
    }

    fn on_content(&mut self, data: &[u8]) -> Result<(), End> {
        let Flow::Content(content) = &mut self.state.flow else {
            return Ok(());
        };
        let (mut ended, mut used) = (false, data.len());
        match content {
            Content::UntilClose => self.state.outgoing = Bytes::copy_from_slice(data),
            Content::Length(left) => {
                used = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left = left.saturating_sub(used as u64);
                ended = *left == 0;
                let plain = data.get(..used).unwrap_or_default();
                self.state.outgoing = Bytes::copy_from_slice(plain);
            }
            Content::Chunked(decoder) => {
                let mut out = Vec::with_capacity(data.len());
                let decoded = unframe(decoder, data, &mut out);
                (used, ended) = decoded.ok_or_else(cut)?;
                self.state.outgoing = out.into();
                if ended && !decoder.trailers().is_empty() {
                    self.state.trailers = Some(trailers(decoder.trailers()).map_err(|_| cut())?);
                }
            }
        }
        match ended {
            true => self.end(self.state.keeps_backend && used == data.len()),
            false => self.wait_anew(Wait::BackendRead),
        }
        Ok(())
    }

    /// Sends what waits for the client; false when it does not take all of it now.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let is_last = matches!(self.state.flow, Flow::Ended);
        let Some(send) = &mut self.stream.send else {
            self.wait_for_answer();
            return Ok(true);
        };
        while !self.state.outgoing.is_empty() {
            send.reserve_capacity(self.state.outgoing.len().min(PIECE));
            let room = match send.capacity() {
                0 => match send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(room))) => room,
                    Poll::Ready(_) => return Err(End::ClientGone),
                    Poll::Pending => {
                        // The backend is not to blame for what it may not send.
                        self.stream.timers.clear(Wait::BackendRead);
                        self.wait_for(Wait::ClientWrite);
                        return Ok(false);
                    }
                },
                room => room,
            };
            let length = room.min(PIECE).min(self.state.outgoing.len());
            let piece = self.state.outgoing.split_to(length);
            let ends = is_last && self.state.outgoing.is_empty() && self.state.trailers.is_none();
            let sent = send.send_data(piece, ends);
            sent.map_err(|_| End::ClientGone)?;
            self.state.is_closed |= ends;
            self.state.bytes_out += length as u64;
            self.stream.timers.clear(Wait::ClientWrite);
        }
        if is_last && !self.state.is_closed {
            let sent = match self.state.trailers.take() {
                Some(trailers) => send.send_trailers(trailers),
                None => send.send_data(Bytes::new(), true),
            };
            sent.map_err(|_| End::ClientGone)?;
            self.state.is_closed = true;
        }
        if matches!(self.state.flow, Flow::Content(_)) {
            self.wait_for(Wait::BackendRead);
        }
        Ok(true)
    }

    fn wait_for_answer(&mut self) {
        if matches!(self.state.stage, Stage::Done | Stage::Broken) {
            self.wait_for(Wait::BackendRead);
        }
    }
}

/// Decodes chunks; how many octets were used and whether they ended the content. `None` when they
/// are no chunks.
fn unframe(decoder: &mut ChunkDecoder, data: &[u8], out: &mut Vec<u8>) -> Option<(usize, bool)> {
    let mut used = 0;
    while let Some(rest @ [_, ..]) = data.get(used..) {
        match decoder.next(rest).ok()? {
            ChunkPart::Data {
                start,
                end,
                used: count,
            } => {
                out.extend_from_slice(rest.get(start..end).unwrap_or_default());
                used += count;
            }
            ChunkPart::NeedMore { used: count } => {
                used += count;
                break;
            }
            ChunkPart::End { used: count } => return Some((used + count, true)),
        }
    }
    Some((used, false))
}
