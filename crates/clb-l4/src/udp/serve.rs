//! Receiving and sending.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clb_net::exhausted;
use clb_net::udp::{BATCH, Batch, Outgoing, take_undelivered};
use clb_snapshot::{Admission, Board, Listener, UdpDrop};
use smallvec::SmallVec;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use super::handover;
use super::plane::{self, DropCount, Place, Plane, count_denied, now_ms};
use super::sessions::Sessions;
use crate::io::wake_after_events;
use crate::worker::{ListenerCell, Running, Worker};

/// Errors that one turn takes in a row: those of earlier datagrams, before what there is to receive.
const ERRORS_PER_TURN: usize = 8;

/// Sessions that one turn begins at most, but for the first of a flood of them; each costs a socket
/// and its registration, some thirty times a datagram of an established session.
const BEGUN_PER_TURN: usize = 4;

/// How often idle sessions are looked for. They are over when their time is; this is only when
/// their memory and sockets are given back.
const SWEEP: Duration = Duration::from_secs(1);

/// Sockets whose drops are counted in each sweep.
const COUNTED_PER_SWEEP: usize = 512;

/// Backends that one datagram is offered to at most, as with connections.
const MAX_ATTEMPTS: usize = clb_snapshot::MAX_ATTEMPTS;

thread_local! {
    /// Shared by all listeners of the thread; borrowed within one poll only.
    static RECEIVED: RefCell<Batch> = RefCell::new(Batch::new());
}

/// Takes the worker's socket of a UDP listener and serves it until it is
/// [stopped](Running::stop); its sessions end with it, for their answers could no longer leave from
/// its address, unless both are [handed over](Board::hand_over). Must be called within the worker's local runtime.
///
/// # Errors
/// When the listener has no pool of its own, the socket was taken before, or cannot be registered
/// with the runtime.
pub fn start(worker: &Worker, listener: Arc<Listener>) -> io::Result<Running> {
    let pool = listener.service.pool().map(Arc::clone).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a UDP listener has one pool, this one has none",
        )
    })?;
    let socket = listener.sockets.take_udp(worker.index()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no socket is left for this worker: sockets can be served only once",
        )
    })?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    let drops = DropCount::from_now(&socket);
    let live = Arc::clone(&listener.live);
    let idle_ms = idle_ms(worker.board());
    let proxy = Rc::new_cyclic(|proxy| Proxy {
        board: Arc::clone(worker.board()),
        socket,
        core: RefCell::new(Core {
            sessions: Sessions::new(idle_ms),
            plane: Plane::new(proxy.clone(), worker.clone(), live, pool),
            drops,
            plan: Vec::with_capacity(BATCH),
        }),
        at_a_time: Cell::new(BATCH),
    });
    if let Some(inherited) = listener.sockets.take_sessions(worker.index()) {
        let core = &mut *proxy.core.borrow_mut();
        handover::take_over(
            inherited,
            now_ms(&proxy.board),
            &mut core.sessions,
            &mut core.plane,
        );
    }
    let (cell, index) = (ListenerCell::new(listener), worker.index());
    Ok(Running::spawn(cell.clone(), move |stop| {
        serve(proxy, cell, index, stop)
    }))
}

/// A UDP listener on one worker.
pub(super) struct Proxy {
    board: Arc<Board>,
    /// Towards clients.
    socket: UdpSocket,
    /// Borrowed within one poll only.
    core: RefCell<Core>,
    /// Datagrams from clients that are received at a time: fewer while they begin sessions.
    at_a_time: Cell<usize>,
}

struct Core {
    sessions: Sessions<Admission, Place>,
    plane: Plane,
    /// Of the socket towards clients.
    drops: DropCount,
    /// Of the batch at hand; kept for its memory.
    plan: Vec<Planned>,
}

fn idle_ms(board: &Board) -> u64 {
    let idle = board.settings().udp.idle;
    u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)
}

async fn serve(
    proxy: Rc<Proxy>,
    listener: ListenerCell,
    worker: usize,
    mut stop: oneshot::Receiver<()>,
) {
    let sweeper = spawn_local(sweep(Rc::clone(&proxy)));
    std::future::poll_fn(|cx| {
        if Pin::new(&mut stop).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let take = |batch: &mut Batch| proxy.take_from_clients(batch);
        poll_batch(&proxy.socket, cx, proxy.at_a_time.get(), take, |error| {
            tracing::debug!(%error, "receiving from clients failed");
        });
        Poll::Pending
    })
    .await;
    sweeper.abort();
    {
        let core = &mut *proxy.core.borrow_mut();
        core.drops.update(&proxy.socket, &proxy.board);
        if proxy.board.is_handing_over() {
            let now = now_ms(&proxy.board);
            let sockets = Arc::clone(&listener.get().sockets);
            sockets.put_sessions(
                worker,
                handover::hand_over(now, &core.sessions, &mut core.plane),
            );
            match plane::copy(&proxy.socket) {
                Ok(socket) => sockets.put_udp(worker, socket),
                Err(error) => tracing::error!(%error, "a UDP socket can not be handed over"),
            }
        }
        core.sessions.clear(&mut core.plane);
    }
    // The tasks that were aborted hold the socket until the runtime drops them, in its next turn; the
    // port must be free when this ends.
    while Rc::strong_count(&proxy) > 1 {
        yield_now().await;
    }
}

/// Ends what is idle, from time to time.
async fn sweep(proxy: Rc<Proxy>) {
    let mut turns = interval(SWEEP);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let core = &mut *proxy.core.borrow_mut();
        core.sessions.set_idle(idle_ms(&proxy.board));
        if core.sessions.len() > 0 || core.sessions.sockets() > 0 {
            core.sessions.sweep(now_ms(&proxy.board), &mut core.plane);
            core.plane.count_drops(COUNTED_PER_SWEEP);
        }
        core.drops.update(&proxy.socket, &proxy.board);
    }
}

/// Reads what backends send to one socket, until it is closed.
pub(super) async fn read_answers(proxy: Rc<Proxy>, number: u32, socket: Rc<UdpSocket>) {
    std::future::poll_fn(|cx| {
        let take = |batch: &mut Batch| proxy.take_from_backends(number, batch);
        poll_batch(&socket, cx, BATCH, take, |error| {
            tracing::trace!(%error, "reported by a receive");
            proxy.note_failures(number, &socket);
        });
        Poll::<()>::Pending
    })
    .await;
}

/// Receives a batch if there is something, and hands it over. Registers for being woken: after the
/// next events if there may be more: with eight batches in a turn, and as many of each backend's, those
/// who waited for the worker waited for milliseconds, and CPU is the same (ADR 34).
fn poll_batch(
    socket: &UdpSocket,
    cx: &mut Context<'_>,
    at_a_time: usize,
    mut take: impl FnMut(&mut Batch),
    mut failed: impl FnMut(io::Error),
) {
    for _ in 0..ERRORS_PER_TURN {
        match socket.poll_recv_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return failed(error),
            Poll::Pending => return,
        }
        let is_failed = RECEIVED.with_borrow_mut(|batch| {
            let result = socket.try_io(Interest::READABLE, || {
                match batch.recv_up_to(at_a_time, socket)? < at_a_time {
                    false => Ok(()),
                    // It has no more; the next event brings the readiness back, and no call is
                    // spent on being told so (epoll(7), edge-triggered).
                    true => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            match result {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    failed(error);
                    return true;
                }
                _ if batch.is_empty() => {}
                _ => take(batch),
            }
            false
        });
        if !is_failed {
            if socket.poll_recv_ready(cx).is_ready() {
                wake_after_events(cx);
            }
            return;
        }
    }
    // Nothing but errors: not again before the next event.
    let _ = socket.try_io(Interest::READABLE, || {
        Err::<(), _>(io::ErrorKind::WouldBlock.into())
    });
    wake_after_events(cx);
}

/// A datagram of a batch, and where it goes.
struct Planned {
    socket: u32,
    session: u32,
    outgoing: Outgoing,
}

impl Proxy {
    /// Sends on what clients have sent.
    fn take_from_clients(&self, batch: &mut Batch) {
        let now = now_ms(&self.board);
        let core = &mut *self.core.borrow_mut();
        core.plane.refresh();
        let before = core.sessions.len();
        let mut plan = std::mem::take(&mut core.plan);
        for at in 0..batch.len() {
            let Some(number) = self.decide(core, batch, at, now) else {
                continue;
            };
            if let Some(session) = core.sessions.get(number) {
                let to = Some(session.to);
                plan.push(Planned {
                    socket: session.socket,
                    session: number,
                    outgoing: Outgoing { at, to },
                });
            }
        }
        // Those of one socket together, each session's in their order.
        plan.sort_by_key(|planned| planned.socket);
        for run in plan.chunk_by(|one, other| one.socket == other.socket) {
            self.to_backends(core, batch, run, now);
        }
        plan.clear();
        core.plan = plan;
        let begun = core.sessions.len().saturating_sub(before);
        match begun {
            0 => self.at_a_time.set(BATCH),
            BEGUN_PER_TURN.. => self.at_a_time.set(BEGUN_PER_TURN),
            _ => {}
        }
    }

    /// The session of a client's datagram.
    fn decide(&self, core: &mut Core, batch: &Batch, at: usize, now: u64) -> Option<u32> {
        let client = batch.from(at)?;
        if batch.is_cut(at) {
            self.board.udp.count_dropped(UdpDrop::Cut, 1);
            return None;
        }
        let hops = batch.hops(at);
        match core.sessions.datagram(now, client, hops, &mut core.plane) {
            Ok(number) => Some(number),
            Err(denied) => {
                tracing::trace!(%client, ?denied, "datagram dropped");
                count_denied(&self.board, denied);
                None
            }
        }
    }

    /// Sends datagrams that go through one socket.
    fn to_backends(&self, core: &mut Core, batch: &mut Batch, run: &[Planned], now: u64) {
        let Some(number) = run.first().map(|first| first.socket) else {
            return;
        };
        let Some((socket, is_connected)) = core.plane.socket(number) else {
            return;
        };
        let outgoing: SmallVec<[Outgoing; BATCH]> = run
            .iter()
            .map(|planned| Outgoing {
                to: planned.outgoing.to.filter(|_| !is_connected),
                ..planned.outgoing
            })
            .collect();
        let mut done = 0;
        // What a send reports may be of an earlier datagram; the second time it is this one's.
        let mut is_second = false;
        // A session of this run has another backend now; its later datagrams follow it.
        let mut has_moved = false;
        while let Some(first) = run.get(done) {
            let (session, at) = (first.session, first.outgoing.at);
            if core.sessions.has_failed(session)
                || (has_moved && !is_at(core, session, number, first.outgoing.to))
            {
                self.to_another(core, batch, at, now);
                (done, has_moved) = (done + 1, true);
                continue;
            }
            let until = if has_moved { done + 1 } else { outgoing.len() };
            let rest = outgoing.get(done..until).unwrap_or_default();
            match batch.send(&*socket, rest) {
                Ok(sent) => {
                    for planned in run.iter().skip(done).take(sent) {
                        count_in(core, planned.session, batch.data(planned.outgoing.at).len());
                    }
                    done += sent.max(1);
                    is_second = false;
                    if sent < rest.len() {
                        // The call has met an error and swallowed it, as it had sent something.
                        note_failures(core, number, &socket);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    let dropped = u64::try_from(run.len() - done).unwrap_or(u64::MAX);
                    self.board.udp.count_dropped(UdpDrop::SendBuffer, dropped);
                    return;
                }
                Err(error) => {
                    tracing::trace!(%error, "reported by a send");
                    note_failures(core, number, &socket);
                    if !core.sessions.has_failed(session) {
                        if !is_second {
                            is_second = true;
                            continue;
                        }
                        if !is_unreachable(&error) {
                            self.board.udp.count_dropped(UdpDrop::Unsendable, 1);
                            (done, is_second) = (done + 1, false);
                            continue;
                        }
                        note_failure_of(core, session);
                    }
                    self.to_another(core, batch, at, now);
                    (done, is_second, has_moved) = (done + 1, false, true);
                }
            }
        }
    }

    /// Sends a datagram whose session's backend has just failed to the one that the session gets
    /// instead.
    fn to_another(&self, core: &mut Core, batch: &mut Batch, at: usize, now: u64) {
        for _ in 1..MAX_ATTEMPTS {
            let Some(number) = self.decide(core, batch, at, now) else {
                return;
            };
            let session = core.sessions.get(number);
            let Some((socket, to)) = session.map(|session| (session.socket, session.to)) else {
                return;
            };
            let Some((through, is_connected)) = core.plane.socket(socket) else {
                return;
            };
            let to = (!is_connected).then_some(to);
            for is_second in [false, true] {
                match batch.send(&*through, &[Outgoing { at, to }]) {
                    Ok(_) => return count_in(core, number, batch.data(at).len()),
                    Err(error) if is_full(&error) => {
                        return self.board.udp.count_dropped(UdpDrop::SendBuffer, 1);
                    }
                    Err(error) => {
                        note_failures(core, socket, &through);
                        if is_second && is_unreachable(&error) {
                            note_failure_of(core, number);
                        }
                    }
                }
                if core.sessions.has_failed(number) {
                    break;
                }
            }
        }
        self.board.udp.count_dropped(UdpDrop::Unsendable, 1);
    }

    fn take_from_backends(&self, number: u32, batch: &mut Batch) {
        let now = now_ms(&self.board);
        let core = &mut *self.core.borrow_mut();
        let mut outgoing: SmallVec<[Outgoing; BATCH]> = SmallVec::new();
        for at in 0..batch.len() {
            let session = batch
                .from(at)
                .and_then(|from| core.sessions.answer(now, number, from))
                .and_then(|session| core.sessions.get(session));
            match session {
                None => self.board.udp.count_dropped(UdpDrop::Stray, 1),
                Some(_) if batch.is_cut(at) => self.board.udp.count_dropped(UdpDrop::Cut, 1),
                Some(session) => {
                    let bytes = batch.data(at).len() as u64;
                    session.member.count_datagram_out(bytes);
                    session.place.admission.count_datagram_out(bytes);
                    let to = Some(session.client);
                    outgoing.push(Outgoing { at, to });
                }
            }
        }
        self.to_clients(batch, &outgoing);
    }

    fn to_clients(&self, batch: &mut Batch, outgoing: &[Outgoing]) {
        let mut rest = outgoing;
        while !rest.is_empty() {
            let done = match batch.send(&self.socket, rest) {
                Ok(sent) => sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) if is_full(&error) => {
                    let dropped = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                    return self.board.udp.count_dropped(UdpDrop::SendBuffer, dropped);
                }
                Err(error) => {
                    tracing::trace!(%error, "sending to a client failed");
                    self.board.udp.count_dropped(UdpDrop::Unsendable, 1);
                    1
                }
            };
            rest = rest.get(done..).unwrap_or_default();
        }
    }

    fn note_failures(&self, number: u32, socket: &UdpSocket) {
        note_failures(&mut self.core.borrow_mut(), number, socket);
    }
}

/// Whether a session goes through this socket to this address.
fn is_at(core: &Core, session: u32, socket: u32, to: Option<SocketAddr>) -> bool {
    let session = core.sessions.get(session);
    session.is_some_and(|session| (session.socket, Some(session.to)) == (socket, to))
}

fn count_in(core: &Core, number: u32, bytes: usize) {
    if let Some(session) = core.sessions.get(number) {
        session.member.count_datagram_in(bytes as u64);
        session.place.admission.count_datagram_in(bytes as u64);
    }
}

/// Takes what the network reported of datagrams through a socket.
fn note_failures(core: &mut Core, number: u32, socket: &UdpSocket) {
    while let Ok(Some(report)) = take_undelivered(socket) {
        if is_unreachable(&report.error) {
            note_failure(core, number, report.to);
        }
    }
}

fn note_failure_of(core: &mut Core, number: u32) {
    let session = core.sessions.get(number);
    if let Some((socket, to)) = session.map(|session| (session.socket, session.to)) {
        note_failure(core, socket, to);
    }
}

fn note_failure(core: &mut Core, number: u32, to: SocketAddr) {
    if let Some(session) = core.sessions.failed(number, to) {
        session.member.count_failed();
        tracing::debug!(client = %session.client, backend = %to, "datagrams do not arrive");
    }
}

/// Whether it says that the backend can not be reached, rather than that this datagram could not
/// be sent.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || exhausted(error).is_some()
}
