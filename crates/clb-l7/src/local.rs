//! What the connections of one worker share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clb_l4::worker::Worker;
use clb_routing::Scratch;
use clb_snapshot::{Board, HttpSettings, PlaneSettings};
use rand::Rng as _;
use rand::rngs::SmallRng;

use crate::http1::Fields;
use crate::http1::date::imf_fixdate;
use crate::idle::Idle;
use crate::tls::Handshakes;

/// Buffers that are kept for the next request.
const SPARE_BUFFERS: usize = 64;
/// Larger ones are given back to the allocator.
const SPARE_CAPACITY: usize = 16 * 1024;
/// Octets that a request's id has: 128 bits in hexadecimal.
pub(crate) const ID_OCTETS: usize = 32;

/// A date in a head.
pub(crate) type Date = [u8; 29];

/// What the connections of one worker share. Everything in it is borrowed within one poll only.
#[derive(Debug)]
pub(crate) struct Local {
    worker: usize,
    board: Arc<Board>,
    /// Backend connections that wait for their next request.
    pub(crate) idle: Idle,
    /// TLS handshakes in progress.
    pub(crate) handshakes: Handshakes,
    /// Where the fields of a head are found while it is read.
    pub(crate) fields: RefCell<Fields>,
    /// Buffers for routing.
    pub(crate) routing: RefCell<Scratch>,
    spare: RefCell<Vec<Vec<u8>>>,
    ids: RefCell<SmallRng>,
    date: Cell<(u64, Date)>,
    /// Those of the board that were read last, and the worker's own copy.
    settings: RefCell<(Arc<PlaneSettings>, Rc<HttpSettings>)>,
}

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

impl Local {
    /// The thread's; made with the first listener that the worker starts.
    pub(crate) fn of(worker: &Worker) -> Rc<Self> {
        LOCAL.with_borrow_mut(|slot| {
            let current = slot
                .as_ref()
                .filter(|local| Arc::ptr_eq(&local.board, worker.board()));
            if let Some(local) = current {
                return Rc::clone(local);
            }
            let settings = Arc::clone(&worker.board().settings());
            let local = Rc::new(Self {
                worker: worker.index(),
                board: Arc::clone(worker.board()),
                idle: Idle::default(),
                handshakes: Handshakes::default(),
                fields: RefCell::default(),
                routing: RefCell::new(Scratch::new()),
                spare: RefCell::default(),
                ids: RefCell::new(rand::make_rng()),
                date: Cell::new((u64::MAX, [b' '; 29])),
                settings: RefCell::new((Arc::clone(&settings), Rc::new(settings.http.clone()))),
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
        let current = self.board.settings();
        let mut known = self.settings.borrow_mut();
        if !Arc::ptr_eq(&current, &known.0) {
            *known = (Arc::clone(&current), Rc::new(current.http.clone()));
        }
        Rc::clone(&known.1)
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

    /// A new request's id: 128 random bits, so that ids of all gateways stay apart.
    pub(crate) fn request_id(&self) -> [u8; ID_OCTETS] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let random: [u8; ID_OCTETS / 2] = self.random();
        let mut id = [0; ID_OCTETS];
        for (pair, octet) in id.chunks_exact_mut(2).zip(random) {
            for (digit, value) in pair.iter_mut().zip([octet >> 4, octet & 15]) {
                *digit = DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
            }
        }
        id
    }

    /// Random octets, not for secrets.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut random = [0; N];
        self.ids.borrow_mut().fill_bytes(&mut random);
        random
    }

    /// Seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or(Duration::ZERO).as_secs()
    }

    /// The date of now (RFC 9110 5.6.7), written once a second.
    pub(crate) fn date(&self) -> Date {
        let now = self.unix_seconds();
        let (second, text) = self.date.get();
        if second == now {
            return text;
        }
        let text = imf_fixdate(now);
        self.date.set((now, text));
        text
    }
}
