//! A client's HTTP/2 connection: its limits, its streams, its end.

use std::cell::OnceCell;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use clb_access_log::Protocol as Spoken;
use clb_l4::io::{Stream as _, poll_recv, wake_after_events, with_scratch};
use clb_l4::worker::ListenerCell;
use clb_snapshot::{Admission, HttpSettings, ServerTls};
use h2::Reason;
use h2::server::{Builder, Connection};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::gathered::Gathered;
use super::io::{Io, Link, turned};
use super::stream;
use super::tasks::Tasks;
use super::turn::EndOfTurn;
use crate::client::Client;
use crate::listen::Arrival;
use crate::local::Local;
use crate::log::{Entry, Facts, Seen};

/// Octets of a body that one stream may have on its way here, unasked.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all streams of a connection together: what one client can make us hold.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Octets of a frame's content that are read; also the least that RFC 9113 (4.2) allows.
const FRAME: u32 = 16 * 1024;
/// Octets of answers that wait for the socket, for one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Octets of the table of fields (RFC 7541 4.2).
const FIELD_TABLE: u32 = 4 * 1024;
/// Streams that the client has reset before we looked at them, and those that we have reset and
/// still hear of (CVE-2023-44487).
const RESET_STREAMS: usize = 20;
/// Streams that were reset for the client's faults before the connection is given up.
const FAULTY_STREAMS: usize = 100;
/// Streams that a client may cancel more than it lets come to an end (CVE-2023-44487): each has
/// cost us a backend's work.
const CANCELLED: u32 = 200;
/// Streams that are taken before other connections of the worker get their turn.
const STREAMS_PER_TURN: usize = 8;
/// How long a connection that is given up is still served, so that GOAWAY arrives.
const LINGER: Duration = Duration::from_secs(2);

/// What the streams of one connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) arrival: Arrival,
    pub(super) client: Rc<Client>,
    pub(super) tls: Arc<ServerTls>,
    /// What the client has called us in the TLS handshake.
    pub(super) server_name: Option<Box<str>>,
    /// For the access log, from the first request on.
    facts: OnceCell<Rc<Facts>>,
}

impl Shared {
    pub(super) fn local(&self) -> &Rc<Local> {
        &self.arrival.seat.service().local
    }

    pub(super) fn cell(&self) -> &ListenerCell {
        &self.arrival.cell
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.arrival.admission
    }

    /// Begins an entry of the access log, if there is one.
    pub(super) fn log(&self, seen: &Seen<'_>, id: &[u8], received: usize) -> Option<Box<Entry>> {
        let local = self.local();
        if !local.is_logging() {
            return None;
        }
        let facts = self
            .facts
            .get_or_init(|| Facts::new(self.arrival.peer, Spoken::Http2, self.client.tls_facts()));
        let socket = self.client.socket();
        Some(
            self.cell()
                .with(|listener| Entry::new(local, facts, socket, listener, seen, id, received)),
        )
    }

    fn is_draining(&self) -> bool {
        self.arrival.seat.service().is_draining()
    }
}

/// Serves a client that has agreed on HTTP/2. Dropping the future closes both sides of all streams.
pub(crate) async fn serve(client: Client, arrival: Arrival, tls: Arc<ServerTls>) {
    let client = Rc::new(client);
    let shared = Rc::new(Shared {
        server_name: client.server_name(),
        arrival,
        client: Rc::clone(&client),
        tls,
        facts: OnceCell::new(),
    });
    let settings = shared.local().settings();
    let link = Rc::new(Link::default());
    let gathered = Rc::new(Gathered::new(Rc::clone(&client)));
    let io = Io::new(
        Rc::clone(&client),
        Rc::clone(&gathered),
        Rc::clone(shared.local()),
        Rc::clone(&link),
    );
    let mut handshake = pin!(builder(&settings).handshake::<_, Bytes>(io));
    let handshake = poll_fn(|cx| {
        link.begin_turn();
        let agreed = handshake.as_mut().poll(cx);
        // Its failure is the handshake's at the next octet.
        let _ = gathered.poll_flush(cx);
        agreed
    });
    match timeout(settings.client_header, handshake).await {
        Ok(Ok(connection)) => {
            let driver = Driver::new(connection, shared, Rc::clone(&link), Rc::clone(&gathered));
            driver.run().await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "no HTTP/2"),
        Err(_) => return,
    }
    // The last frame says why.
    let _ = timeout(LINGER, poll_fn(|cx| turned(gathered.poll_flush(cx)))).await;
    linger(&client).await;
}

fn builder(settings: &HttpSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .header_table_size(FIELD_TABLE)
        .max_header_list_size(u32::try_from(settings.request_head).unwrap_or(u32::MAX))
        .max_concurrent_streams(settings.h2_concurrent_streams)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(Some(FAULTY_STREAMS))
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

/// Where a connection is between its first frame and its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has streams.
    Busy,
    /// It has none, and waits for the next.
    Idle,
    /// It takes no new streams; those that it has are finished.
    Leaving,
    /// It is given up.
    Over,
}

struct Driver {
    connection: Connection<Io, Bytes>,
    shared: Rc<Shared>,
    streams: Tasks,
    phase: Phase,
    /// Its streams are aborted. One that is over may still have some, which its client began before it
    /// saw GOAWAY.
    is_given_up: bool,
    link: Rc<Link>,
    gathered: Rc<Gathered>,
    turn: EndOfTurn,
    /// When the phase ends.
    timer: Pin<Box<Sleep>>,
}

impl Driver {
    fn new(
        connection: Connection<Io, Bytes>,
        shared: Rc<Shared>,
        link: Rc<Link>,
        gathered: Rc<Gathered>,
    ) -> Self {
        Self {
            connection,
            shared,
            streams: Tasks::default(),
            phase: Phase::Busy,
            is_given_up: false,
            link,
            gathered,
            turn: EndOfTurn::default(),
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        let Self {
            connection,
            streams,
            mut turn,
            ..
        } = self;
        // Its streams hear of it, and most end by themselves.
        drop(connection);
        poll_fn(|cx| {
            while !streams.is_empty() {
                streams.abort_some();
                ready!(turn.poll(cx));
            }
            Poll::Ready(())
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // So that streams that answer in one turn can share a send: the runtime polls whom a task
        // wakes before what the kernel has for others.
        if !self.is_readable(cx) && self.turn.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.shared.local().tick();
        self.link.begin_turn();
        self.streams.wake(cx);
        self.check_cancelled();
        let streams = self.poll_streams(cx);
        // Those that have answered in this turn share a send, and as far as they fit a record.
        if let Err(error) = self.gathered.poll_flush(cx) {
            tracing::debug!(peer = %self.shared.arrival.peer, %error, "HTTP/2 ends");
            return Poll::Ready(());
        }
        if streams.is_ready() {
            return Poll::Ready(());
        }
        if self.is_given_up && !self.streams.is_empty() {
            self.streams.abort_some();
            wake_after_events(cx);
        }
        if self.phase != Phase::Over
            && let Some(reason) = self.link.fault.get()
        {
            tracing::debug!(peer = %self.shared.arrival.peer, %reason, "HTTP/2 is given up");
            self.give_up(reason);
            cx.waker().wake_by_ref();
        }
        if self.shared.is_draining() && matches!(self.phase, Phase::Busy | Phase::Idle) {
            self.leave();
            cx.waker().wake_by_ref();
        }
        self.shared.arrival.seat.note(cx);
        self.poll_phase(cx)
    }

    fn is_readable(&self, cx: &mut Context<'_>) -> bool {
        let socket = self.shared.client.socket();
        socket.poll_read_ready(cx).is_ready()
    }

    /// Takes streams, and moves all frames of the connection.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..STREAMS_PER_TURN {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.take(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(peer = %self.shared.arrival.peer, %error, "HTTP/2 ends");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        wake_after_events(cx);
        Poll::Pending
    }

    fn take(
        &mut self,
        request: http::Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
    ) {
        // One that was cancelled counts until its task has seen it.
        let limit = self.shared.local().settings().h2_concurrent_streams as usize;
        if self.streams.len() >= limit.saturating_mul(2) {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let shared = Rc::clone(&self.shared);
        self.streams
            .spawn(|place| stream::serve(shared, place, request, respond));
        if self.phase == Phase::Idle {
            self.phase = Phase::Busy;
        }
    }

    /// A client that cancels what it has asked for, again and again, is given up.
    fn check_cancelled(&mut self) {
        if self.streams.cancelled() > CANCELLED && self.phase != Phase::Over {
            tracing::debug!(peer = %self.shared.arrival.peer, "streams cancelled all the time");
            // Written when the connection is polled, which is next.
            self.give_up(Reason::ENHANCE_YOUR_CALM);
        }
    }

    /// GOAWAY (RFC 9113 6.8): what the client has begun is finished.
    fn leave(&mut self) {
        self.connection.graceful_shutdown();
        self.phase = Phase::Leaving;
    }

    fn give_up(&mut self, reason: Reason) {
        self.connection.abrupt_shutdown(reason);
        self.is_given_up = true;
        self.phase = Phase::Over;
        self.wait(LINGER);
    }

    fn wait(&mut self, time: Duration) {
        let now = self.shared.local().now();
        // A time beyond what the clock can express is as good as a year.
        let year = Duration::from_secs(365 * 24 * 3600);
        let due = now.checked_add(time).unwrap_or_else(|| now + year);
        self.timer.as_mut().reset(due);
    }

    /// Ready when the connection's time is over.
    fn poll_phase(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::Busy && self.streams.is_empty() {
            self.phase = Phase::Idle;
            self.wait(self.shared.local().settings().client_keepalive);
        }
        // One that has nothing to finish does not wait for the client's farewell for ever.
        if self.phase == Phase::Leaving && self.streams.is_empty() {
            self.phase = Phase::Over;
            self.wait(LINGER);
        }
        if !matches!(self.phase, Phase::Idle | Phase::Over) {
            return Poll::Pending;
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if self.phase == Phase::Over {
            return Poll::Ready(());
        }
        self.leave();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Reads on until the client has ended too: closing a socket with unread octets resets it, and the
/// last frame, which says why, may be lost on its way.
async fn linger(client: &Client) {
    client.close();
    if clb_net::shutdown_write(client.socket()).is_err() {
        return;
    }
    let ended = poll_fn(|cx| {
        loop {
            match with_scratch(|scratch| poll_recv(client.socket(), cx, scratch)) {
                Ok(Poll::Ready(0)) | Err(_) => return Poll::Ready(()),
                Ok(Poll::Ready(_)) => {}
                Ok(Poll::Pending) => return Poll::Pending,
            }
        }
    });
    // Whoever has not ended by then does not read.
    let _ = timeout(LINGER, ended).await;
}
