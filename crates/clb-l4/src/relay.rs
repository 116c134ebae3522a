//! Both directions of one relayed connection, driven by one task.
//!
//! Data is read into one buffer that all connections of the worker share and written on at once.
//! Only what the receiver's socket did not take is kept with the connection, and nothing more is
//! read from that side until it is gone: so backpressure reaches the sender, and a connection holds
//! at most 60 KiB per direction, an idle one nothing. A direction in which much flows goes through a
//! pipe instead, which holds at most 1 MiB ([`crate::splice`]).

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use clb_net::{Keepalive, set_keepalive, set_user_timeout};
use clb_snapshot::{Admission, Board, PlaneSettings};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::io::{SCRATCH_BYTES, Stream, wake_after_events, with_scratch};
use crate::splice::Lent;

/// Full buffers that one direction may move before other connections of the worker get their turn.
const READS_PER_TURN: usize = 4;

/// Octets that one direction may move through a pipe before others get their turn, or some more.
const PIPED_PER_TURN: u64 = 1024 * 1024;

/// A turn that moves less, but something, is a small one.
const BULK: u64 = 16 * 1024;

/// Small turns in a row after which a direction no longer goes through a pipe.
const PATIENCE: u8 = 8;

/// Why a relay ended before both directions did; both sides are to be reset.
#[derive(Debug)]
pub enum Broken {
    /// A side was reset, or failed in another way.
    Failed(io::Error),
    /// Nothing moved for [`Session::idle`].
    Idle,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Idle => f.write_str("idle for too long"),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// What a relay works on.
pub struct Session<'a, C = TcpStream> {
    /// One side.
    pub client: &'a C,
    /// The other side.
    pub backend: &'a TcpStream,
    /// Where the settings are.
    pub board: &'a Board,
    /// Where the listener's bytes are counted.
    pub listener: &'a Admission,
    /// Where the member's bytes are counted.
    pub member: &'a Admission,
    /// How long nothing may move.
    pub idle: fn(&PlaneSettings) -> Duration,
    /// Who else is told of bytes that were passed on, towards the backend and towards the client. One
    /// more reference, for it is a thin one, which every relay holds.
    pub moved: Option<&'a &'a dyn Fn(u64, u64)>,
}

/// What was received before the relay began and is sent first.
#[derive(Debug, Default)]
pub struct Ahead {
    /// From the client, for the backend.
    pub to_backend: Vec<u8>,
    /// From the backend, for the client.
    pub to_client: Vec<u8>,
}

/// Relays until both directions have ended in order. Then both sides must be dropped, which tells one
/// of them the end.
///
/// # Errors
/// [`Broken`] when a side fails or nothing moves for [`Session::idle`].
pub async fn relay<C: Stream>(
    session: &Session<'_, C>,
    ahead: Option<Box<Ahead>>,
) -> Result<(), Broken> {
    let mut flow = Flow::starting_with(ahead, now_ms(session));
    let mut timer = pin!(sleep(first_look(session)));
    poll_fn(|cx| {
        let turn = flow.poll_turn(session, cx, timer.as_mut())?;
        let ended = flow.to_backend.is_finished() || flow.to_client.is_finished();
        match turn {
            Poll::Pending if !ended => Poll::Pending,
            _ => Poll::Ready(Ok::<_, Broken>(())),
        }
    })
    .await?;
    if flow.is_finished() {
        return Ok(());
    }
    // A side that has ended its direction is not read any more, so a reset from there would go
    // unnoticed until the next write: watch for it. Boxed, because few connections come here.
    let half_closed = match flow.to_backend.is_finished() {
        true => session.client.socket(),
        false => session.backend,
    };
    let mut reset = Box::pin(half_closed.ready(Interest::ERROR));
    poll_fn(|cx| match flow.poll_turn(session, cx, timer.as_mut())? {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => reset.as_mut().poll(cx).map(|ready| {
            ready?;
            let error = half_closed.take_error()?;
            Err(error
                .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
                .into())
        }),
    })
    .await
}

/// Now, in the board's milliseconds, which take half of an instant's memory.
fn now_ms<C>(session: &Session<'_, C>) -> u64 {
    session.board.millis_at(Instant::now().into_std())
}

/// When is looked first whether anything has moved.
fn first_look<C>(session: &Session<'_, C>) -> Duration {
    let settings = session.board.settings();
    let idle = (session.idle)(&settings);
    settings.tcp_keepalive.map_or(idle, |after| idle.min(after))
}

struct Flow {
    to_backend: Direction,
    to_client: Direction,
    /// When something moved last, by [`now_ms`].
    last_moved: u64,
}

impl Flow {
    fn starting_with(ahead: Option<Box<Ahead>>, now_ms: u64) -> Self {
        let ahead = ahead.map(|ahead| *ahead).unwrap_or_default();
        Self {
            to_backend: Direction::starting_with(ahead.to_backend),
            to_client: Direction::starting_with(ahead.to_client),
            last_moved: now_ms,
        }
    }

    fn is_finished(&self) -> bool {
        self.to_backend.is_finished() && self.to_client.is_finished()
    }

    /// Moves what can be moved. Ready when both directions have ended.
    fn poll_turn<C: Stream>(
        &mut self,
        session: &Session<'_, C>,
        cx: &mut Context<'_>,
        timer: Pin<&mut Sleep>,
    ) -> Result<Poll<()>, Broken> {
        let Session {
            client, backend, ..
        } = *session;
        let (bytes_in, bytes_out) = with_scratch(|scratch| {
            let is_last = self.to_client.is_finished();
            let up = (client, backend);
            let bytes_in = self.to_backend.turn(up, is_last, cx, scratch)?;
            let is_last = self.to_backend.is_finished();
            let down = (backend, client);
            let bytes_out = self.to_client.turn(down, is_last, cx, scratch)?;
            Ok::<_, io::Error>((bytes_in, bytes_out))
        })?;
        if bytes_in > 0 || bytes_out > 0 {
            self.last_moved = now_ms(session);
            session.listener.count_bytes(bytes_in, bytes_out);
            session.member.count_bytes(bytes_in, bytes_out);
            if let Some(moved) = session.moved {
                moved(bytes_in, bytes_out);
            }
        }
        if self.is_finished() {
            return Ok(Poll::Ready(()));
        }
        self.check_idle(session, cx, timer)?;
        Ok(Poll::Pending)
    }

    /// The timer is not moved at each byte: when it fires, it is set to what is left.
    fn check_idle<C: Stream>(
        &mut self,
        session: &Session<'_, C>,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Result<(), Broken> {
        while timer.as_mut().poll(cx).is_ready() {
            let settings = session.board.settings();
            let mut next = (session.idle)(&settings);
            let silent = now_ms(session).saturating_sub(self.last_moved);
            let silent = Duration::from_millis(silent);
            if silent >= next {
                return Err(Broken::Idle);
            }
            // Only for those that are silent: most connections end before, without these system
            // calls. Whether it was done before is not kept, for that would cost every connection
            // more than doing it again costs a few.
            match settings.tcp_keepalive {
                Some(after) if silent >= after => watch(session, after),
                Some(after) => next = next.min(after),
                None => {}
            }
            // Without an end when the time is beyond what the clock can express.
            match Instant::now().checked_add(next.saturating_sub(silent)) {
                Some(deadline) => timer.as_mut().reset(deadline),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Has the kernel ask both sides whether they are still there; one that says nothing for twice as
/// long as it was silent already is gone, whether it was asked or sent something.
fn watch<C: Stream>(session: &Session<'_, C>, after: Duration) {
    const PROBES: u32 = 6;
    let keepalive = Keepalive {
        idle: after.max(Duration::from_secs(1)),
        interval: (after / PROBES).max(Duration::from_secs(1)),
        probes: PROBES,
    };
    for socket in [session.client.socket(), session.backend] {
        let set = set_keepalive(socket, keepalive)
            .and_then(|()| set_user_timeout(socket, after.saturating_mul(2)));
        if let Err(error) = set {
            // The idle time still ends it.
            tracing::debug!(%error, "TCP keepalive");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    /// The sender has ended, its last bytes are still to be written.
    Ending,
    /// The receiver was told the end.
    Finished,
}

#[derive(Debug, Default)]
struct Direction {
    /// What the receiver has not taken yet. Boxed, because most connections never have any and
    /// idle ones are many.
    pending: Option<Box<Pending>>,
    state: State,
    /// Small turns that are left before a pipe is no longer worth it; 0 when it is not.
    bulk: u8,
}

#[derive(Debug)]
enum Pending {
    /// Copied, and how much of it was written.
    Copied { data: Vec<u8>, written: usize },
    /// In a pipe, through which this direction goes as long as much flows.
    Piped(Lent),
}

impl Direction {
    fn starting_with(data: Vec<u8>) -> Self {
        let pending = (!data.is_empty()).then(|| Box::new(Pending::Copied { data, written: 0 }));
        Self {
            pending,
            state: State::Open,
            bulk: 0,
        }
    }

    fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// Moves data until one side would block, the direction ends, or the turn is over; in the
    /// last case the task is woken again. Gives the bytes that the receiver took.
    fn turn(
        &mut self,
        (from, to): (&impl Stream, &impl Stream),
        is_last: bool,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> io::Result<u64> {
        let mut moved = 0;
        for _ in 0..READS_PER_TURN {
            let step = self.poll_step((from, to), is_last, cx, scratch, &mut moved)?;
            if step.is_pending() || self.is_finished() {
                match moved {
                    // The other direction was woken.
                    0 => {}
                    1..BULK => self.bulk = self.bulk.saturating_sub(1),
                    _ if self.bulk > 0 => self.bulk = PATIENCE,
                    _ => {}
                }
                return Ok(moved);
            }
            // A full buffer: there is more where that came from.
            if moved >= SCRATCH_BYTES as u64 {
                self.bulk = PATIENCE;
            }
            if moved >= PIPED_PER_TURN {
                break;
            }
        }
        self.bulk = PATIENCE;
        wake_after_events(cx);
        Ok(moved)
    }

    /// A step through the pipe; `None` when this direction has none.
    fn poll_piped(
        &mut self,
        from: &impl Stream,
        to: &impl Stream,
        cx: &mut Context<'_>,
        moved: &mut u64,
    ) -> io::Result<Option<Poll<()>>> {
        let (Some(from), Some(to)) = (from.plain(), to.plain()) else {
            return Ok(None);
        };
        if self.bulk > 0 && self.pending.is_none() && self.state == State::Open {
            self.pending = Lent::take().map(|pipe| Box::new(Pending::Piped(pipe)));
        }
        let Some(Pending::Piped(pipe)) = self.pending.as_deref_mut() else {
            return Ok(None);
        };
        if pipe.poll_drain(to, cx, moved)?.is_pending() {
            return Ok(Some(Poll::Pending));
        }
        if self.state != State::Open {
            self.pending = None;
            return Ok(None);
        }
        match pipe.poll_fill(from, cx)? {
            // Nothing for now: others may use the pipe meanwhile.
            Poll::Pending => {
                self.pending = None;
                Ok(Some(Poll::Pending))
            }
            Poll::Ready(0) => {
                self.state = State::Ending;
                self.pending = None;
                Ok(None)
            }
            Poll::Ready(_) => {
                let drained = pipe.poll_drain(to, cx, moved)?;
                Ok(Some(drained))
            }
        }
    }

    /// Writes what is pending, then reads once and writes that.
    fn poll_step(
        &mut self,
        (from, to): (&impl Stream, &impl Stream),
        is_last: bool,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        moved: &mut u64,
    ) -> io::Result<Poll<()>> {
        if let Some(step) = self.poll_piped(from, to, cx, moved)? {
            return Ok(step);
        }
        if self.flush(to, cx, moved)?.is_pending() {
            return Ok(Poll::Pending);
        }
        if self.state == State::Open {
            let length = match from.poll_recv(cx, scratch)? {
                Poll::Ready(length) => length,
                Poll::Pending => return Ok(Poll::Pending),
            };
            if length > 0 {
                let data = scratch.get(..length).unwrap_or_default();
                return self.write(to, cx, data, moved);
            }
            self.state = State::Ending;
        }
        if self.state == State::Ending {
            // When the other direction has ended, too, both sides are about to be closed, which tells
            // a plain socket's peer the end as well.
            let closes = is_last && to.plain().is_some();
            if !closes && to.poll_end(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.state = State::Finished;
        }
        Ok(Poll::Ready(()))
    }

    fn flush(
        &mut self,
        to: &impl Stream,
        cx: &mut Context<'_>,
        moved: &mut u64,
    ) -> io::Result<Poll<()>> {
        let Some(Pending::Copied { data, written }) = self.pending.as_deref_mut() else {
            return to.poll_flush(cx);
        };
        while let Some(rest @ [_, ..]) = data.get(*written..) {
            match to.poll_send(cx, rest)? {
                Poll::Ready(length) => {
                    *written += length;
                    *moved += length as u64;
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        self.pending = None;
        to.poll_flush(cx)
    }

    /// Writes fresh data and keeps what the receiver does not take.
    fn write(
        &mut self,
        to: &impl Stream,
        cx: &mut Context<'_>,
        mut data: &[u8],
        moved: &mut u64,
    ) -> io::Result<Poll<()>> {
        while !data.is_empty() {
            match to.poll_send(cx, data)? {
                Poll::Ready(length) => {
                    data = data.get(length..).unwrap_or_default();
                    *moved += length as u64;
                }
                Poll::Pending => {
                    self.pending = Some(Box::new(Pending::Copied {
                        data: data.to_vec(),
                        written: 0,
                    }));
                    return Ok(Poll::Pending);
                }
            }
        }
        Ok(Poll::Ready(()))
    }
}
