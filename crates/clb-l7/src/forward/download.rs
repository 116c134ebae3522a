//! The answer on its way to the client.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use clb_l4::io::{Stream as _, poll_recv, wake_after_events, with_scratch};
use clb_net::prefetch;

use super::upload::Stage;
use super::{Complete, End, Failure, Forward, READS_PER_TURN};
use crate::content::{Content, INTERIM_ANSWERS, answer_limits};
use crate::http1::{
    Answer, AnswerAdditions, CHUNK_END, ChunkDecoder, ChunkPart, Transfer, Version, read_answers,
    write_answer, write_chunk, write_chunk_head, write_last_chunk,
};
use crate::timers::Wait;

/// Octets of content that are copied behind the head, so that they go as one piece: up to about here
/// that costs less than sending from several.
const COPIED: usize = 2048;

/// What the next octets from the backend are.
#[derive(Debug)]
pub(super) enum Flow {
    /// An answer's head.
    Head,
    /// Content, and how it goes to the client.
    Content(Content, Framing),
    /// None: the answer has ended, the client does not have all of it yet.
    Ended,
    /// None: the connection becomes a tunnel.
    Tunnel,
}

/// How content goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As it is; its end was announced.
    Plain,
    /// As it is; the connection's end is its end.
    Closed,
    /// In chunks.
    Chunked,
}

impl Forward<'_> {
    /// Moves the answer on as far as the sides let it; ready when it has ended.
    pub(super) fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<Poll<End>, End> {
        for _ in 0..READS_PER_TURN {
            if !self.poll_flushed(cx)? {
                return Ok(Poll::Pending);
            }
            match self.state.flow {
                Flow::Ended => return Ok(Poll::Ready(self.complete())),
                Flow::Tunnel => {
                    return Ok(Poll::Ready(End::Tunnel(std::mem::take(
                        &mut self.state.head,
                    ))));
                }
                Flow::Head => {
                    // It will be counted soon, and by now other requests have taken the caches.
                    self.member.visit_counters(prefetch);
                    prefetch(self.order.pool.requests());
                }
                Flow::Content(..) => {}
            }
            let has_read = with_scratch(|scratch| {
                let length = match poll_recv(self.backend, cx, scratch) {
                    Ok(Poll::Ready(length)) => length,
                    Ok(Poll::Pending) => return Ok(false),
                    Err(error) => return Err(self.broken(error)),
                };
                match scratch.get(..length) {
                    None | Some([]) => self.on_end()?,
                    Some(data) => self.on_data(cx, data)?,
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
            keeps_client: self.state.keeps_client && !is_early,
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
            _ => self.cut(),
        }
    }

    /// The answer's end will not come.
    pub(super) fn cut(&self) -> End {
        End::Cut {
            needs_reset: matches!(self.state.flow, Flow::Content(_, Framing::Closed)),
        }
    }

    /// The backend has ended its direction.
    fn on_end(&mut self) -> Result<(), End> {
        match &self.state.flow {
            Flow::Content(Content::UntilClose, framing) => {
                if *framing == Framing::Chunked {
                    write_last_chunk(&[], &mut self.state.outgoing);
                }
                self.end(false);
                Ok(())
            }
            _ => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn on_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), End> {
        match self.state.flow {
            Flow::Head => self.on_head(cx, data),
            _ => self.on_content(cx, data),
        }
    }

    /// Takes octets of a head; whatever follows the final answer's head is content.
    fn on_head(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), End> {
        if self.state.head.is_empty() {
            let used = self.take_heads(data)?;
            let requests = self.order.pool.requests();
            requests.visit_counters(self.local.worker(), prefetch);
            return self.after_heads(cx, data.get(used..).unwrap_or_default());
        }
        let mut head = std::mem::take(&mut self.state.head);
        head.extend_from_slice(data);
        let used = self.take_heads(&head)?;
        self.after_heads(cx, head.get(used..).unwrap_or_default())
    }

    fn after_heads(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Result<(), End> {
        match self.state.flow {
            // The beginning of a head, or what a tunnel's other end said first.
            Flow::Head | Flow::Tunnel => {
                self.state.head.extend_from_slice(rest);
                Ok(())
            }
            Flow::Content(..) => self.on_content(cx, rest),
            Flow::Ended => {
                if !rest.is_empty() {
                    // Nobody asked for these octets, and what follows them can not be trusted.
                    self.state.keeps_backend = false;
                }
                Ok(())
            }
        }
    }

    /// Reads interim answers and the head of the final one; gives how many octets they have.
    fn take_heads(&mut self, data: &[u8]) -> Result<usize, End> {
        let limits = answer_limits(self.settings);
        let (local, to) = (self.local, self.order.answer_to);
        let mut scanner = std::mem::take(&mut self.state.scanner);
        let mut fields = local.fields.borrow_mut();
        let take = |answer: &Answer<'_>| match answer.is_interim {
            true => self.pass_interim(answer),
            false => {
                self.begin(answer);
                Ok(())
            }
        };
        let used = read_answers(data, &mut scanner, &limits, &mut fields, to, take)?;
        self.state.scanner = scanner;
        Ok(used)
    }

    /// Interim answers go to clients that know them (RFC 9110 15.2).
    fn pass_interim(&mut self, answer: &Answer<'_>) -> Result<(), End> {
        self.state.interim += 1;
        if self.state.interim > INTERIM_ANSWERS {
            return Err(End::NoAnswer(Failure::TooManyInterim));
        }
        if answer.status == 100 {
            self.state.is_continued = true;
        }
        if self.order.answer_to.client == Version::Http11 {
            self.write_head(answer, Transfer::AsIs(0), false);
        }
        self.wait_for_answer();
        Ok(())
    }

    fn wait_for_answer(&mut self) {
        if matches!(self.state.stage, Stage::Done | Stage::Broken) {
            let due = self.after(self.settings.backend_response);
            self.timers.set(Wait::BackendRead, due);
        } else {
            self.timers.clear(Wait::BackendRead);
        }
    }

    /// The final answer's head.
    fn begin(&mut self, answer: &Answer<'_>) {
        self.state.status = answer.status;
        if let Some(log) = &mut self.order.log {
            log.answered(answer.status);
        }
        if answer.upgrade {
            self.write_head(answer, Transfer::AsIs(0), false);
            self.state.flow = Flow::Tunnel;
            self.timers.clear(Wait::BackendRead);
            return;
        }
        let transfer = answer.transfer(self.order.answer_to.client);
        self.state.keeps_backend = answer.keep_alive;
        // A request that is not read to its end leaves octets behind that nobody may take for a
        // request.
        self.state.keeps_client = self.order.keep_alive
            && transfer != Transfer::UntilClose
            && self.state.stage == Stage::Done
            && !(self.is_last)();
        self.write_head(answer, transfer, !self.state.keeps_client);
        let framing = match transfer {
            Transfer::Chunked => Framing::Chunked,
            Transfer::UntilClose => Framing::Closed,
            Transfer::AsIs(_) => Framing::Plain,
        };
        let Some(content) = Content::of(answer) else {
            let keeps = self.state.keeps_backend;
            return self.end(keeps);
        };
        self.state.takes_trailers =
            matches!(content, Content::Chunked(_)) && answer.sends_trailers(transfer);
        self.state.flow = Flow::Content(content, framing);
    }

    fn write_head(&mut self, answer: &Answer<'_>, transfer: Transfer, close: bool) {
        let additions = AnswerAdditions {
            client: self.order.answer_to.client,
            close,
            date: &self.local.date(),
            set_cookie: self.order.set_cookie.as_deref(),
            via: self.settings.via,
            transfer,
        };
        let before = self.state.outgoing.len();
        write_answer(answer, &additions, &mut self.state.outgoing);
        if let Some(log) = &mut self.order.log {
            log.sent_head((self.state.outgoing.len() - before) as u64);
        }
    }

    /// The backend owes nothing more.
    fn end(&mut self, keeps_backend: bool) {
        self.state.flow = Flow::Ended;
        self.state.keeps_backend = keeps_backend;
        if let Some(log) = &mut self.order.log {
            log.completed();
        }
        self.timers.clear(Wait::BackendRead);
    }

    fn on_content(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), End> {
        let Flow::Content(content, framing) = &mut self.state.flow else {
            return Ok(());
        };
        let framing = *framing;
        let (mut ended, mut used) = (false, data.len());
        let mut reframed = None;
        match content {
            Content::UntilClose => {}
            Content::Length(left) => {
                used = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left = left.saturating_sub(used as u64);
                ended = *left == 0;
            }
            Content::Chunked(decoder) => {
                let mut out = self.local.buffer();
                let trailers = self.state.takes_trailers;
                let decoded = reframe(decoder, data, framing, trailers, &mut out);
                (used, ended) = decoded.ok_or_else(|| self.cut())?;
                reframed = Some(out);
            }
        }
        let plain = data.get(..used).unwrap_or_default();
        match (&reframed, framing) {
            (Some(out), _) => self.send(cx, &[out])?,
            (None, Framing::Chunked) if !plain.is_empty() => {
                let mut size = self.local.buffer();
                write_chunk_head(plain.len() as u64, &mut size);
                self.send(cx, &[&size, plain, CHUNK_END])?;
                self.local.give_back(size);
            }
            (None, _) => self.send(cx, &[plain])?,
        }
        if let Some(out) = reframed {
            self.local.give_back(out);
        }
        if ended {
            let keeps = self.state.keeps_backend && used == data.len();
            self.end(keeps);
        } else {
            let due = self.after(self.settings.backend_response);
            self.timers.set(Wait::BackendRead, due);
        }
        Ok(())
    }

    /// Sends what waits and then these pieces; keeps what the client does not take.
    fn send(&mut self, cx: &mut Context<'_>, pieces: &[&[u8]]) -> Result<(), End> {
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= COPIED {
            for piece in pieces {
                self.state.outgoing.extend_from_slice(piece);
            }
            return self.poll_flushed(cx).map(|_| ());
        }
        let waiting = self
            .state
            .outgoing
            .get(self.state.gone..)
            .unwrap_or_default();
        let mut slices = [IoSlice::new(waiting); 4];
        for (slice, piece) in slices.iter_mut().skip(1).zip(pieces) {
            *slice = IoSlice::new(piece);
        }
        let used = slices.get(..=pieces.len()).unwrap_or_default();
        if used.iter().all(|slice| slice.is_empty()) {
            return Ok(());
        }
        let sent = match self.client.poll_send_vectored(cx, used) {
            Ok(Poll::Ready(length)) => length,
            Ok(Poll::Pending) => 0,
            Err(_) => return Err(End::ClientGone),
        };
        self.state.bytes_out += sent as u64;
        let mut fresh = sent.saturating_sub(waiting.len());
        self.state.gone += sent.min(waiting.len());
        for piece in pieces {
            let skipped = fresh.min(piece.len());
            fresh -= skipped;
            let rest = piece.get(skipped..).unwrap_or_default();
            self.state.outgoing.extend_from_slice(rest);
        }
        self.after_send();
        Ok(())
    }

    /// Forgets what has gone, and waits for the client if something is left.
    fn after_send(&mut self) {
        if self.state.gone >= self.state.outgoing.len() {
            self.state.outgoing.clear();
            self.state.gone = 0;
            self.timers.clear(Wait::ClientWrite);
        } else {
            let due = self.after(self.settings.client_body);
            self.timers.set(Wait::ClientWrite, due);
        }
    }

    /// The client takes nothing now.
    fn wait_for_client_write(&mut self) -> bool {
        // The backend is not to blame for what it may not send.
        self.timers.clear(Wait::BackendRead);
        if self.client.take_moved() || !self.timers.is_set(Wait::ClientWrite) {
            let due = self.after(self.settings.client_body);
            self.timers.set(Wait::ClientWrite, due);
        }
        false
    }

    /// Sends what waits for the client; false when it does not take all of it now.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        while let Some(waiting @ [_, ..]) = self.state.outgoing.get(self.state.gone..) {
            let sent = match self.timers.is_set(Wait::ClientWrite) {
                true => self.client.poll_send(cx, waiting),
                false => self.client.poll_send_at_once(cx, waiting),
            };
            match sent {
                Ok(Poll::Ready(length)) => {
                    self.state.gone += length;
                    self.state.bytes_out += length as u64;
                    self.after_send();
                }
                Ok(Poll::Pending) => return Ok(self.wait_for_client_write()),
                Err(_) => return Err(End::ClientGone),
            }
        }
        match self.client.poll_flush(cx) {
            Ok(Poll::Ready(())) => self.timers.clear(Wait::ClientWrite),
            Ok(Poll::Pending) => return Ok(self.wait_for_client_write()),
            Err(_) => return Err(End::ClientGone),
        }
        let waits = match self.state.flow {
            Flow::Head => matches!(self.state.stage, Stage::Done | Stage::Broken),
            Flow::Content(..) => true,
            Flow::Ended | Flow::Tunnel => false,
        };
        if waits && !self.timers.is_set(Wait::BackendRead) {
            let due = self.after(self.settings.backend_response);
            self.timers.set(Wait::BackendRead, due);
        }
        Ok(true)
    }
}

/// Decodes chunks and writes their content as the client gets it; how many octets were used and
/// whether they ended the content. `None` when they are no chunks.
fn reframe(
    decoder: &mut ChunkDecoder,
    data: &[u8],
    framing: Framing,
    takes_trailers: bool,
    out: &mut Vec<u8>,
) -> Option<(usize, bool)> {
    let mut used = 0;
    while let Some(rest @ [_, ..]) = data.get(used..) {
        match decoder.next(rest).ok()? {
            ChunkPart::Data {
                start,
                end,
                used: count,
            } => {
                let content = rest.get(start..end).unwrap_or_default();
                match framing {
                    Framing::Chunked => write_chunk(content, out),
                    Framing::Plain | Framing::Closed => out.extend_from_slice(content),
                }
                used += count;
            }
            ChunkPart::NeedMore { used: count } => {
                used += count;
                break;
            }
            ChunkPart::End { used: count } => {
                if framing == Framing::Chunked {
                    match takes_trailers {
                        true => write_last_chunk(decoder.trailers(), out),
                        false => write_last_chunk(&[], out),
                    }
                }
                return Some((used + count, true));
            }
        }
    }
    Some((used, false))
}
