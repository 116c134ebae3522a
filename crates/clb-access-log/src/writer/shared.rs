//! What the writer's thread and the [`AccessLog`](crate::AccessLog) have in common.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access_log::{AccessLogError, Settings};
use crate::block::Block;
use crate::chunk::Chunk;
use crate::notable::Notable;
use crate::ring::Bell;

/// Takes rows that are written one after the other, each with its domain.
pub type Sink = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// What the thread is to do besides.
pub(crate) enum Order {
    /// Open the folder.
    Open(SyncSender<Result<(), AccessLogError>>),
    /// Leave the folder and the targets to another process.
    HandOver(Sink, SyncSender<()>),
    /// Take rows in that another process has had.
    TakeIn(Vec<u8>),
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::HandOver(..) => "HandOver",
            Self::TakeIn(_) => "TakeIn",
        })
    }
}

/// The rows that can be asked for.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blocks: Vec<Arc<Block>>,
    /// What is in no block yet, the oldest first.
    pub(crate) open: Vec<Arc<Chunk>>,
    pub(crate) bytes: u64,
}

/// What the thread and the [`AccessLog`](crate::AccessLog) have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bell: Arc<Bell>,
    pub(crate) state: Mutex<State>,
    pub(crate) notable: Mutex<Notable>,
    /// With whether they are new.
    pub(crate) settings: Mutex<(Settings, bool)>,
    /// What the thread is to do besides.
    pub(crate) orders: Mutex<Vec<Order>>,
    /// Whom to tell that the rings have been emptied.
    pub(crate) waiting: Mutex<Vec<SyncSender<()>>>,
    pub(crate) stops: AtomicBool,
    pub(crate) written: AtomicU64,
    pub(crate) dropped_disk: AtomicU64,
    pub(crate) dropped_target: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Nothing was counted yet.
    pub(crate) fn new(settings: Settings) -> Self {
        let bell = Bell::default();
        bell.is_enabled.store(settings.enabled, Ordering::Relaxed);
        Self {
            bell: Arc::new(bell),
            state: Mutex::default(),
            notable: Mutex::default(),
            settings: Mutex::new((settings, false)),
            orders: Mutex::default(),
            waiting: Mutex::default(),
            stops: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped_disk: AtomicU64::new(0),
            dropped_target: AtomicU64::new(0),
        }
    }
}
