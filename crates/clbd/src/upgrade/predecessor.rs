//! The old process.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clb_access_log::AccessLog;
use clb_control::Control;
use clb_control::api::Stop;
use clb_net::{Channel, MESSAGE_FILES};
use clb_snapshot::{Board, Listener, UdpSessions};
use clb_store::StateLock;

use super::message::{AT_ONCE, Answer, Handover, PROTOCOL, ToldListener, expect, tell, tell_rows};
use super::program::start_successor;
use crate::api_service::ApiService;

/// How long the new process may take to read its configuration.
const HELLO: Duration = Duration::from_secs(30);
/// How long connections to the API that wait for a request may still bring one.
const IDLE: Duration = Duration::from_millis(500);
/// How long it may take to read and compile the state; changes wait meanwhile.
const PREPARED: Duration = Duration::from_secs(120);
/// How long it may take to serve what is compiled; new connections wait meanwhile.
const SERVING: Duration = Duration::from_secs(20);
/// How long a new process that fails may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a send of rows waits for a successor that does not read.
const ROWS: Duration = Duration::from_secs(10);

/// Listeners whose ticket keys go in one message: each has a few, of some 200 octets.
const TICKETS_AT_ONCE: usize = 50;

/// What is handed over, and by whom.
pub struct Parts<'a> {
    /// Of the state folder.
    pub lock: &'a StateLock,
    /// What the lock is of.
    pub state_dir: &'a PathBuf,
    /// As it was asked for, and its socket.
    pub admin: (SocketAddr, &'a TcpListener),
    /// The API.
    pub api: &'a mut ApiService,
    pub control: &'a Arc<Control>,
    pub board: &'a Arc<Board>,
    pub access_log: &'a AccessLog,
}

/// Starts the program anew and hands everything over to it; then this process has only to let its
/// connections end. Blocks its thread.
///
/// # Errors
/// Why the new process can not or does not take over; then this one serves as before.
pub async fn replace(parts: Parts<'_>) -> anyhow::Result<u32> {
    ensure!(
        std::process::id() != 1,
        "this is process 1, with which a container ends: start another container instead"
    );
    let (channel, end) = Channel::pair().context("no channel to a new process")?;
    let child = start_successor(end).context("the new program can not be started")?;
    let id = child.id();
    let mut attempt = Attempt {
        parts,
        channel,
        child: Some(child),
        is_held: false,
        let_go: false,
        gave_log: false,
    };
    match attempt.run().await {
        Ok(()) => {
            // It lives on; this process does not wait for it.
            attempt.child = None;
            Ok(id)
        }
        Err(error) => {
            tokio::task::block_in_place(|| attempt.undo());
            Err(error)
        }
    }
}

struct Attempt<'a> {
    parts: Parts<'a>,
    channel: Channel,
    child: Option<Child>,
    is_held: bool,
    /// Nobody serves new clients.
    let_go: bool,
    gave_log: bool,
}

impl Attempt<'_> {
    async fn run(&mut self) -> anyhow::Result<()> {
        self.channel.set_patience(Some(HELLO))?;
        let version = tokio::task::block_in_place(|| self.hello())?;
        tracing::info!(
            process = self.child.as_ref().map(Child::id),
            version,
            "upgrade: it has started"
        );
        self.is_held = true;
        self.parts.api.stop(Stop::Within(IDLE)).await;
        self.parts.control.hold().await;
        let listeners: Vec<Arc<Listener>> = self.parts.board.snapshot().iter().cloned().collect();
        self.channel.set_patience(Some(PREPARED))?;
        let began = Instant::now();
        let told = tokio::task::block_in_place(|| {
            self.begin(&listeners)?;
            expect(&self.channel, "prepared", |answer| {
                matches!(answer, Answer::Prepared).then_some(())
            })?;
            tracing::info!(took = ?began.elapsed(), "upgrade: it is prepared");
            self.tell_clients(0)
        })?;
        self.channel.set_patience(Some(SERVING))?;
        let stopped = Instant::now();
        self.let_go = true;
        let listeners = self.parts.control.release_sockets().await;
        tokio::task::block_in_place(|| {
            self.tell_clients(told)?;
            self.hand_over_sockets(&listeners)?;
            self.hand_over_log()?;
            tell(&self.channel, &Handover::Go, &[])?;
            expect(&self.channel, "serving", |answer| {
                matches!(answer, Answer::Serving).then_some(())
            })
        })?;
        // Not with the listeners, which live as long as connections that came by them do: a port that is
        // given up meanwhile would go on to take connections, which nobody accepts.
        for listener in &listeners {
            listener.sockets.close();
        }
        // If it has gone by now, it was serving: nothing is left to go back to.
        let _ = tell(&self.channel, &Handover::Closed, &[]);
        tracing::info!(took = ?stopped.elapsed(), "upgrade: it serves");
        Ok(())
    }

    fn hello(&self) -> anyhow::Result<String> {
        let (protocol, version) = expect(&self.channel, "hello", |answer| match answer {
            Answer::Hello { protocol, version } => Some((protocol, version)),
            _ => None,
        })?;
        ensure!(
            protocol == PROTOCOL,
            "clbd {version} takes over by protocol {protocol}, this one hands over by {PROTOCOL}: stop and start instead"
        );
        Ok(version)
    }

    /// Names what will come, now that the state is at rest.
    fn begin(&self, listeners: &[Arc<Listener>]) -> anyhow::Result<()> {
        let (parts, channel) = (&self.parts, &self.channel);
        let api = parts.api.sockets();
        let mut files = vec![parts.lock.as_fd(), parts.admin.1.as_fd()];
        files.extend(api.iter().map(|(_, socket)| socket.as_fd()));
        let start = Handover::Start {
            state_dir: parts.state_dir.canonicalize()?,
            workers: parts.board.workers().len(),
            admin: parts.admin.0,
            api: api.iter().map(|(address, _)| *address).collect(),
        };
        tell(channel, &start, &files)?;
        for some in listeners.chunks(AT_ONCE) {
            let told = some.iter().map(|listener| ToldListener {
                id: listener.id,
                addr: listener.addr,
                is_udp: listener.protocol.is_udp(),
            });
            tell(channel, &Handover::Listeners(told.collect()), &[])?;
        }
        let tls = listeners.iter().filter_map(|listener| {
            let keys = listener.tls.as_ref()?.tickets().tell();
            Some((listener.id, keys.into_iter().map(Into::into).collect()))
        });
        let mut tickets: Vec<_> = tls.collect();
        while !tickets.is_empty() {
            let some = tickets.split_off(tickets.len().saturating_sub(TICKETS_AT_ONCE));
            tell(channel, &Handover::Tickets(some), &[])?;
        }
        tell(channel, &Handover::Begin, &[])
    }

    /// Tells of layer-4 clients that were here since; until when it was told.
    fn tell_clients(&self, since: u64) -> anyhow::Result<u64> {
        let board = self.parts.board;
        let now = board.millis_at(Instant::now());
        let mut clients = Vec::new();
        board
            .persistence
            .tell(since, now, |client| clients.push(client));
        // Those first that were here last: where there is no room for all, the others are left out.
        clients.sort_by_key(|client| client.unused_ms);
        for some in clients.chunks(AT_ONCE) {
            let told = some.iter().map(|client| (*client).into()).collect();
            tell(&self.channel, &Handover::Clients(told), &[])?;
        }
        Ok(now)
    }

    fn hand_over_sockets(&self, listeners: &[Arc<Listener>]) -> anyhow::Result<()> {
        let mut places = Vec::new();
        let mut sockets: Vec<std::os::fd::OwnedFd> = Vec::new();
        for listener in listeners {
            for worker in 0..self.parts.board.workers().len() {
                let given = &listener.sockets;
                // Copies go, so that this process can go on with its own.
                if let Some(socket) = given.take_tcp(worker) {
                    sockets.push(socket.as_fd().try_clone_to_owned()?);
                    given.put_tcp(worker, socket);
                } else if let Some(socket) = given.take_udp(worker) {
                    sockets.push(socket.as_fd().try_clone_to_owned()?);
                    given.put_udp(worker, socket);
                } else {
                    // It could not be started on this worker.
                    continue;
                }
                places.push((listener.id, worker));
                if let Some(sessions) = given.take_sessions(worker) {
                    let told = self.hand_over_sessions(listener, worker, &sessions);
                    given.put_sessions(worker, sessions);
                    told?;
                }
                if sockets.len() == MESSAGE_FILES {
                    self.tell_sockets(&mut places, &mut sockets)?;
                }
            }
        }
        self.tell_sockets(&mut places, &mut sockets)
    }

    fn tell_sockets(
        &self,
        places: &mut Vec<(clb_model::ListenerId, usize)>,
        sockets: &mut Vec<std::os::fd::OwnedFd>,
    ) -> anyhow::Result<()> {
        let files: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let told = Handover::Sockets(std::mem::take(places));
        tell(&self.channel, &told, &files)?;
        sockets.clear();
        Ok(())
    }

    fn hand_over_sessions(
        &self,
        listener: &Listener,
        worker: usize,
        sessions: &UdpSessions,
    ) -> anyhow::Result<()> {
        for some in sessions.sockets.chunks(MESSAGE_FILES) {
            let files: Vec<_> = some.iter().map(|towards| towards.socket.as_fd()).collect();
            let kinds = some.iter().map(|towards| (towards.hops, towards.connected));
            let told = Handover::Towards(listener.id, worker, kinds.collect());
            tell(&self.channel, &told, &files)?;
        }
        for some in sessions.sessions.chunks(AT_ONCE) {
            let told = some.iter().map(|session| (*session).into()).collect();
            let told = Handover::Sessions(listener.id, worker, told);
            tell(&self.channel, &told, &[])?;
        }
        Ok(())
    }

    /// Rows go to the new process from now on, which writes them down.
    fn hand_over_log(&mut self) -> anyhow::Result<()> {
        let channel = self.channel.try_clone()?;
        self.gave_log = true;
        self.parts.access_log.hand_over(Box::new(move |rows| {
            channel.set_patience(Some(ROWS))?;
            tell_rows(&channel, rows)
        }));
        Ok(())
    }

    /// The new process has failed: it must be gone before this one goes on with what it had.
    fn undo(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that ends by itself has something to say. But clients wait once they were let go.
            let patience = if self.let_go {
                Duration::ZERO
            } else {
                LAST_WORDS
            };
            let began = Instant::now();
            while began.elapsed() < patience && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.gave_log
            && let Err(error) = self.parts.access_log.open()
        {
            tracing::error!(%error, "the access log can not be opened again");
        }
        if self.is_held {
            self.parts.control.go_on();
            self.parts.api.start();
        }
    }
}
