//! The world of a listener's sessions: its pool, its sockets towards backends, the board.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::AsFd as _;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use clb_model::BindingId;
use clb_net::Exhausted;
use clb_snapshot::{
    Admission, Board, ListenerLive, Pool, PoolView, Refusal, Stickiness, TriedSet, Turn, UdpDrop,
    UdpSession, UdpSessionPermit, UdpSocketPermit,
};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, spawn_local};

use super::paths::{Kind, Sockets};
use super::serve::{Proxy, read_answers};
use super::sessions::{Choice, World};
use crate::accept::count_exhausted;
use crate::worker::Worker;

/// A session's share of the counts of its listener and of the board.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) admission: Admission,
    _permit: UdpSessionPermit,
}

/// A socket towards backends.
struct Towards {
    socket: Rc<UdpSocket>,
    is_connected: bool,
    /// The task that reads what comes back.
    reader: AbortHandle,
    drops: DropCount,
    _permit: UdpSocketPermit,
}

impl Drop for Towards {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What the kernel dropped at one socket, as far as it was counted.
#[derive(Debug, Default)]
pub(super) struct DropCount(u32);

impl DropCount {
    /// What was dropped so far was counted by whoever had the socket before.
    pub(super) fn from_now(socket: &UdpSocket) -> Self {
        Self(clb_net::udp::dropped(socket).unwrap_or(0))
    }

    /// Counts what was dropped since the last call.
    pub(super) fn update(&mut self, socket: &UdpSocket, board: &Board) {
        let Ok(total) = clb_net::udp::dropped(socket) else {
            return;
        };
        let new = total.wrapping_sub(std::mem::replace(&mut self.0, total));
        if new > 0 {
            board.udp.count_dropped(UdpDrop::ReceiveBuffer, new.into());
        }
    }
}

pub(super) struct Plane {
    proxy: Weak<Proxy>,
    worker: Worker,
    live: Arc<ListenerLive>,
    pool: Arc<Pool>,
    view: Arc<PoolView>,
    version: u64,
    sockets: Vec<Option<Towards>>,
    /// The number of the socket whose drops are counted next.
    counted: usize,
}

impl Plane {
    pub(super) fn new(
        proxy: Weak<Proxy>,
        worker: Worker,
        live: Arc<ListenerLive>,
        pool: Arc<Pool>,
    ) -> Self {
        let view = Arc::clone(&pool.view());
        Self {
            proxy,
            worker,
            live,
            pool,
            view,
            version: 0,
            sockets: Vec::new(),
            counted: 0,
        }
    }

    /// Takes over what the pool is like now; before each batch, so that sessions of one batch see
    /// the same.
    pub(super) fn refresh(&mut self) {
        let view = self.pool.view();
        if !Arc::ptr_eq(&view, &self.view) {
            self.view = Arc::clone(&view);
            self.version += 1;
        }
    }

    /// A socket, and whether it is connected.
    pub(super) fn socket(&self, number: u32) -> Option<(Rc<UdpSocket>, bool)> {
        let towards = self.sockets.get(usize::try_from(number).ok()?)?.as_ref()?;
        Some((Rc::clone(&towards.socket), towards.is_connected))
    }

    /// Counts what the kernel dropped at the next `most` sockets.
    pub(super) fn count_drops(&mut self, most: usize) {
        let board = self.worker.board();
        for _ in 0..most.min(self.sockets.len()) {
            self.counted = (self.counted + 1) % self.sockets.len();
            if let Some(Some(towards)) = self.sockets.get_mut(self.counted) {
                towards.drops.update(&towards.socket, board);
            }
        }
    }

    /// Puts a socket that another process had in place; false if there can not be one more.
    pub(super) fn adopt(&mut self, number: u32, socket: StdUdpSocket, is_connected: bool) -> bool {
        let Some(permit) = self.board().udp_socket() else {
            return false;
        };
        match UdpSocket::from_std(socket) {
            Ok(socket) => {
                let drops = DropCount::from_now(&socket);
                self.place(number, socket, is_connected, (drops, permit))
            }
            Err(error) => {
                tracing::warn!(%error, "a UDP socket can not be taken over");
                false
            }
        }
    }

    /// Takes the socket itself out, for another process.
    pub(super) fn release(&mut self, number: u32) -> Option<StdUdpSocket> {
        let place = self.sockets.get_mut(usize::try_from(number).ok()?)?;
        let mut towards = place.take()?;
        towards.drops.update(&towards.socket, self.worker.board());
        // A copy: the reader holds the socket until the runtime drops it.
        copy(&towards.socket).ok()
    }

    /// What goes on with a session that another process had: its backend's and the listener's
    /// counts. None: the backend is not to be used, or there can not be one session more.
    pub(super) fn go_on(&mut self, session: &UdpSession) -> Option<(Admission, Place)> {
        let view = Arc::clone(&self.view);
        let member = view.eligible_member(session.binding)?;
        if member.addr != session.to {
            return None;
        }
        let place = Place {
            _permit: self.board().udp_session(session.client.ip()).ok()?,
            admission: self.live.count(self.worker.index()),
        };
        Some((member.live.count(self.worker.index()), place))
    }

    fn place(
        &mut self,
        number: u32,
        socket: UdpSocket,
        is_connected: bool,
        (drops, permit): (DropCount, UdpSocketPermit),
    ) -> bool {
        let (Some(proxy), Ok(index)) = (self.proxy.upgrade(), usize::try_from(number)) else {
            return false;
        };
        let socket = Rc::new(socket);
        let reader = spawn_local(read_answers(proxy, number, Rc::clone(&socket)));
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sockets.get_mut(index) {
            *place = Some(Towards {
                socket,
                drops,
                is_connected,
                reader: reader.abort_handle(),
                _permit: permit,
            });
        }
        true
    }

    /// A socket with a port that no backend has: what is sent to one of this machine that is away
    /// would come back as its answer.
    fn bound(&self, kind: Kind) -> io::Result<StdUdpSocket> {
        let mut refused = Vec::new();
        loop {
            let socket = clb_net::udp::open(kind.is_v6, kind.hops)?;
            let port = socket.local_addr()?.port();
            if !self
                .view
                .members()
                .iter()
                .any(|member| member.addr.port() == port)
            {
                return Ok(socket);
            }
            // Held, so that the next one gets another port.
            refused.push(socket);
        }
    }

    fn board(&self) -> &Arc<Board> {
        self.worker.board()
    }
}

impl Sockets for Plane {
    fn are_plenty(&self) -> bool {
        self.board().udp_sockets_are_plenty()
    }

    fn open(&mut self, number: u32, kind: Kind, to: Option<SocketAddr>) -> bool {
        let Some(permit) = self.board().udp_socket() else {
            return false;
        };
        let socket = self.bound(kind).and_then(|socket| {
            if let Some(to) = to {
                socket.connect(to)?;
            }
            UdpSocket::from_std(socket)
        });
        match socket {
            Ok(socket) => {
                let counts = (DropCount::default(), permit);
                self.place(number, socket, to.is_some(), counts)
            }
            Err(error) => {
                // Each datagram of a new session may come here, for want of descriptors or of a way to
                // the backend. It is counted when nothing else is found for it.
                tracing::debug!(%error, ?to, "no UDP socket towards backends");
                false
            }
        }
    }

    fn close(&mut self, number: u32) {
        let Some(place) = usize::try_from(number)
            .ok()
            .and_then(|index| self.sockets.get_mut(index))
        else {
            return;
        };
        if let Some(mut towards) = place.take() {
            towards.drops.update(&towards.socket, self.worker.board());
        }
        while let Some(None) = self.sockets.last() {
            self.sockets.pop();
        }
    }
}

impl World for Plane {
    type Member = Admission;
    type Place = Place;

    fn version(&self) -> u64 {
        self.version
    }

    fn keeps(&self, binding: BindingId) -> Option<SocketAddr> {
        Some(self.view.eligible_member(binding)?.addr)
    }

    fn pick(
        &mut self,
        client: SocketAddr,
        now: u64,
        failed: Option<(BindingId, Turn)>,
    ) -> Option<Choice<Admission>> {
        let persistence = &self.board().persistence;
        let tried =
            failed.map_or_else(TriedSet::new, |(binding, turn)| TriedSet::of(binding, turn));
        let pick = self.pool.pick(client.ip(), now, persistence, &tried);
        let pick = pick.or_else(|| {
            // Nobody else: perhaps it is there again.
            let anyone = TriedSet::new();
            failed.and_then(|_| self.pool.pick(client.ip(), now, persistence, &anyone))
        })?;
        let (binding, turn, to) = (pick.binding(), pick.turn(), pick.addr());
        let member = pick.count(self.worker.index());
        member.count_opened();
        Some(Choice {
            binding,
            turn,
            to,
            member,
        })
    }

    fn stay(&mut self, client: SocketAddr, binding: BindingId, now: u64) {
        if matches!(self.view.stickiness(), Stickiness::Address(_)) {
            let persistence = &self.board().persistence;
            self.pool.stay(client.ip(), binding, now, persistence);
        }
    }

    fn admit(&mut self, client: SocketAddr) -> Result<Place, Refusal> {
        let permit = self.board().udp_session(client.ip())?;
        let admission = self.live.count(self.worker.index());
        admission.count_opened();
        Ok(Place {
            admission,
            _permit: permit,
        })
    }
}

/// Another handle of a socket, for another process.
pub(super) fn copy(socket: &UdpSocket) -> io::Result<StdUdpSocket> {
    socket.as_fd().try_clone_to_owned().map(Into::into)
}

/// Counts a datagram of a client that goes nowhere.
pub(super) fn count_denied(board: &Board, denied: super::sessions::Denied) {
    use super::sessions::Denied;
    let reason = match denied {
        Denied::NoRoom(reason) => reason,
        Denied::Sockets => {
            let error = "there are as many UDP sockets as there may be";
            count_exhausted(board, Exhausted::Descriptors, &io::Error::other(error));
            return;
        }
        Denied::NoBackend => Refusal::NoBackend,
        Denied::Hops => return board.udp.count_dropped(UdpDrop::Hops, 1),
    };
    board.refused.count(reason);
}

/// The time that sessions go by.
pub(super) fn now_ms(board: &Board) -> u64 {
    board.millis_at(Instant::now())
}
