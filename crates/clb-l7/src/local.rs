//! What the connections of one worker share.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clb_access_log::{AccessLog, Row, Sender};
use clb_l4::worker::Worker;
use clb_routing::Scratch;
use clb_snapshot::{Board, HttpSettings};
use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::time::{Instant, Sleep};

use crate::closing::Closing;
use crate::http1::Fields;
use crate::http1::date::imf_fixdate;
use crate::idle::Idle;
use crate::timers::Timers;
use crate::tls::Handshakes;

/// Buffers that are kept for the next request: two for each of 128 in flight.
const SPARE_BUFFERS: usize = 256;
/// Timers that are kept for the next stream.
const SPARE_TIMERS: usize = 128;
/// Larger buffers are given back to the allocator.
const SPARE_CAPACITY: usize = 16 * 1024;
/// Octets that a request's id has: 128 bits in hexadecimal.
pub(crate) const ID_OCTETS: usize = 32;

/// How long the time of day is reckoned from its last reading.
const WALL_HOLDS: Duration = Duration::from_secs(1);

/// The two digits of each octet.
#[expect(clippy::indexing_slicing, reason = "runs when this is compiled")]
static HEXADECIMAL: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut octet = 0;
    while octet < pairs.len() {
        pairs[octet] = [DIGITS[octet >> 4], DIGITS[octet & 15]];
        octet += 1;
    }
    pairs
};

/// A date in a head.
pub(crate) type Date = [u8; 29];

/// What the connections of one worker share. Everything in it is borrowed within one poll only.
#[derive(Debug)]
pub(crate) struct Local {
    worker: usize,
    board: Arc<Board>,
    /// Backend connections that wait for their next request.
    pub(crate) idle: Idle,
    /// Backend connections that are of no more use.
    pub(crate) closing: Closing,
    /// TLS handshakes in progress.
    pub(crate) handshakes: Handshakes,
    /// Where the fields of a head are found while it is read.
    pub(crate) fields: RefCell<Fields>,
    /// Buffers for routing.
    pub(crate) routing: RefCell<Scratch>,
    spare: RefCell<Vec<Vec<u8>>>,
    /// Timers of the runtime that nobody needs now.
    sleeps: RefCell<Vec<Pin<Box<Sleep>>>>,
    ids: RefCell<SmallRng>,
    /// The clock as it was read last, see [`tick`](Self::tick).
    now: Cell<Instant>,
    /// The date, and when it is another one.
    date: Cell<(Instant, Date)>,
    /// The time of day, and when it was read: microseconds since 1970.
    wall: Cell<(Instant, u64)>,
    /// The worker's end of the access log.
    log: RefCell<Option<Sender>>,
    /// The worker's copy of the board's settings, and their version.
    settings: RefCell<(u64, Rc<HttpSettings>)>,
}

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

impl Local {
    /// The thread's; made with the first listener that the worker starts.
    pub(crate) fn of(worker: &Worker, log: Option<&AccessLog>) -> Rc<Self> {
        LOCAL.with_borrow_mut(|slot| {
            let current = slot
                .as_ref()
                .filter(|local| Arc::ptr_eq(&local.board, worker.board()));
            if let Some(local) = current {
                return Rc::clone(local);
            }
            let version = worker.board().settings_version();
            let settings = worker.board().settings().http.clone();
            let now = Instant::now();
            let local = Rc::new(Self {
                worker: worker.index(),
                board: Arc::clone(worker.board()),
                idle: Idle::default(),
                closing: Closing::default(),
                handshakes: Handshakes::default(),
                fields: RefCell::default(),
                routing: RefCell::new(Scratch::new()),
                spare: RefCell::default(),
                sleeps: RefCell::default(),
                ids: RefCell::new(rand::make_rng()),
                now: Cell::new(now),
                date: Cell::new((now, [b' '; 29])),
                wall: Cell::new((now, unix_micros())),
                log: RefCell::new(log.and_then(|log| log.sender(worker.index()))),
                settings: RefCell::new((version, Rc::new(settings))),
            });
            *slot = Some(Rc::clone(&local));
            local
        })
    }

    /// The worker's place among the board's workers.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The settings that hold now.
    pub(crate) fn settings(&self) -> Rc<HttpSettings> {
        let version = self.board.settings_version();
        let mut known = self.settings.borrow_mut();
        if version != known.0 {
            *known = (version, Rc::new(self.board.settings().http.clone()));
        }
        Rc::clone(&known.1)
    }

    /// Reads the clock, for [`now`](Self::now). Whoever has waited does this first.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        now
    }

    /// The time of the last [`tick`](Self::tick): since then nobody has waited, so it is this turn
    /// of the event loop. A request needs the time in eight places, and reading the clock in each
    /// is one percent of what it costs.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The time of now, in the board's milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.board.millis_at(self.now().into_std())
    }

    /// An empty buffer, if possible one that was used before.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for later.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if buffer.capacity() > 0
            && buffer.capacity() <= SPARE_CAPACITY
            && spare.len() < SPARE_BUFFERS
        {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Nothing is waited for yet.
    pub(crate) fn timers(&self) -> Timers {
        Timers::with(self.sleeps.borrow_mut().pop())
    }

    /// Keeps the runtime's timer for later.
    pub(crate) fn give_back_timers(&self, timers: Timers) {
        let mut spare = self.sleeps.borrow_mut();
        if let Some(sleep) = timers.leave()
            && spare.len() < SPARE_TIMERS
        {
            spare.push(sleep);
        }
    }

    /// A new request's id: 128 random bits, so that ids of all gateways stay apart.
    pub(crate) fn request_id(&self) -> [u8; ID_OCTETS] {
        let random: [u8; ID_OCTETS / 2] = self.random();
        let mut id = [0; ID_OCTETS];
        for (pair, octet) in id.chunks_exact_mut(2).zip(random) {
            let digits = HEXADECIMAL.get(usize::from(octet));
            pair.copy_from_slice(digits.unwrap_or(b"00"));
        }
        id
    }

    /// Random octets, not for secrets.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut random = [0; N];
        self.ids.borrow_mut().fill_bytes(&mut random);
        random
    }

    /// Whether the access log wants rows.
    pub(crate) fn is_logging(&self) -> bool {
        self.log.borrow().as_ref().is_some_and(Sender::is_enabled)
    }

    /// Hands a row to the access log.
    pub(crate) fn log(&self, row: &Row<'_>) {
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.send(row);
        }
    }

    /// A moment in microseconds since 1970. The time of day is read once a second.
    pub(crate) fn unix_micros(&self, at: Instant) -> u64 {
        let (read, wall) = self.wall.get();
        let passed = at.saturating_duration_since(read);
        if passed < WALL_HOLDS {
            return wall + u64::try_from(passed.as_micros()).unwrap_or(0);
        }
        let wall = unix_micros();
        self.wall.set((at, wall));
        wall
    }

    /// Seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or(Duration::ZERO).as_secs()
    }

    /// The date of now (RFC 9110 5.6.7), written once a second.
    pub(crate) fn date(&self) -> Date {
        let now = self.now();
        let (until, text) = self.date.get();
        if now < until {
            return text;
        }
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let text = imf_fixdate(since_1970.as_secs());
        let nanos = 1_000_000_000_u32.saturating_sub(since_1970.subsec_nanos());
        self.date
            .set((now + Duration::from_nanos(nanos.into()), text));
        text
    }
}

/// Microseconds since 1970.
fn unix_micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or(Duration::ZERO).as_micros()).unwrap_or(u64::MAX)
}
