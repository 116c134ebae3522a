//! The new process.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clb_access_log::AccessLog;
use clb_control::applier::{Promised, Succession};
use clb_model::ListenerId;
use clb_net::Channel;
use clb_snapshot::{Board, ListenSockets, UdpSession, UdpSessions, UdpTowards};
use clb_store::StateLock;
use tokio::sync::{oneshot, watch};

use super::message::{Answer, Handover, PROTOCOL, Received, hear, tell};
use super::program::{PREDECESSOR, is_successor};

/// How long changes wait for the other process to close its copies of the listening sockets.
const CLOSED: Duration = Duration::from_secs(5);

/// What another process hands over to this one.
#[derive(Debug)]
pub struct Inheritance {
    channel: Channel,
    /// The folder of the state.
    state_dir: PathBuf,
    /// How many workers there are sockets for.
    pub workers: usize,
    /// The admin address as it was asked for, and its socket.
    pub admin: Option<(SocketAddr, TcpListener)>,
    /// The API's.
    pub api: Vec<(SocketAddr, TcpListener)>,
    promised: HashMap<ListenerId, Promised>,
}

/// The way to the process that hands over, while it does.
#[derive(Debug)]
pub struct Answers {
    channel: Channel,
    has_come: watch::Receiver<bool>,
    has_closed: watch::Receiver<bool>,
}

impl Answers {
    /// Waits until everything was handed over.
    ///
    /// # Errors
    /// It will not be.
    pub async fn come(&mut self) -> anyhow::Result<()> {
        let has_come = self.has_come.wait_for(|has_come| *has_come).await;
        has_come.map(drop).context("nothing was handed over")
    }

    /// What was handed over is served. Returns when only this process listens.
    ///
    /// # Errors
    /// The other process has gone.
    pub async fn serving(&mut self) -> anyhow::Result<()> {
        tell(&self.channel, &Answer::Serving, &[])?;
        // Else what is given up now would stay open. If it ends before it says so, it has none either;
        // and one that says nothing is not waited for, as traffic does not depend on it.
        let closed = self.has_closed.wait_for(|has_closed| *has_closed);
        if tokio::time::timeout(CLOSED, closed).await.is_err() {
            tracing::warn!(
                "upgrade: the process that is replaced does not say that its sockets are closed"
            );
        }
        Ok(())
    }
}

impl Inheritance {
    /// If another process has started this one as its successor: says hello, waits until the state
    /// is at rest, and takes over the lock of its folder. To be called before there are threads.
    ///
    /// # Errors
    /// The other process has gone, or hands over what this one does not know.
    pub fn receive(version: &str) -> anyhow::Result<Option<(Self, StateLock)>> {
        if !is_successor() {
            return Ok(None);
        }
        let channel = channel().context("standard input is no channel to the other process")?;
        let hello = Answer::Hello {
            protocol: PROTOCOL,
            version: version.to_owned(),
        };
        tell(&channel, &hello, &[]).context("the other process does not listen")?;
        let Received::Message(start, files) = hear(&channel)? else {
            bail!("the other process has changed its mind");
        };
        let (mut inheritance, lock) = Self::start(channel, start, files)?;
        loop {
            match hear(&inheritance.channel)? {
                Received::Message(Handover::Listeners(some), _) => {
                    for told in some {
                        let workers = inheritance.workers;
                        let sockets = ListenSockets::promised(told.is_udp, workers);
                        let promised = Promised {
                            addr: told.addr,
                            is_udp: told.is_udp,
                            sockets: Arc::new(sockets),
                            tickets: Vec::new(),
                        };
                        inheritance.promised.insert(told.id, promised);
                    }
                }
                Received::Message(Handover::Tickets(some), _) => {
                    for (listener, keys) in some {
                        if let Some(promised) = inheritance.promised.get_mut(&listener) {
                            promised.tickets = keys.into_iter().map(Into::into).collect();
                        }
                    }
                }
                Received::Message(Handover::Begin, _) => return Ok(Some((inheritance, lock))),
                Received::Message(..) | Received::Rows(_) => bail!("that was not expected yet"),
                Received::End => bail!("the other process has gone"),
            }
        }
    }

    fn start(
        channel: Channel,
        start: Handover,
        files: Vec<OwnedFd>,
    ) -> anyhow::Result<(Self, StateLock)> {
        let Handover::Start {
            state_dir,
            workers,
            admin,
            api,
        } = start
        else {
            bail!("the other process did not say what it begins with");
        };
        let mut files = files.into_iter();
        let mut file = || files.next().context("a file is missing");
        let lock = StateLock::inherited(file()?);
        let inheritance = Self {
            channel,
            state_dir,
            workers,
            admin: Some((admin, file()?.into())),
            api: api
                .into_iter()
                .map(|address| Ok((address, file()?.into())))
                .collect::<anyhow::Result<_>>()?,
            promised: HashMap::new(),
        };
        Ok((inheritance, lock))
    }

    /// Whether the state folder is the one that was handed over.
    ///
    /// # Errors
    /// It is not.
    pub fn check_folder(&self, state_dir: &Path) -> anyhow::Result<()> {
        let here = state_dir
            .canonicalize()
            .unwrap_or_else(|_| state_dir.into());
        ensure!(
            here == self.state_dir,
            "state_dir is {} now, the running clbd has {}: another folder takes a restart",
            here.display(),
            self.state_dir.display()
        );
        Ok(())
    }

    /// Takes over the rest in a thread of its own: the state can be compiled meanwhile. The
    /// receiver turns true when all of it is there.
    ///
    /// # Errors
    /// The thread can not be started.
    pub fn take_over(
        self,
        board: &Arc<Board>,
        access_log: &Arc<AccessLog>,
    ) -> anyhow::Result<(Succession, Answers)> {
        let (prepared, is_prepared) = oneshot::channel();
        let (go, went) = oneshot::channel();
        let (came, has_come) = watch::channel(false);
        let (closed, has_closed) = watch::channel(false);
        let answers = Answers {
            channel: self.channel.try_clone()?,
            has_come,
            has_closed,
        };
        let heir = Heir {
            channel: self.channel,
            promised: self.promised.clone(),
            sessions: HashMap::new(),
            board: Arc::clone(board),
            access_log: Arc::clone(access_log),
            has_closed: closed,
        };
        std::thread::Builder::new()
            .name("take-over".to_owned())
            .spawn(move || {
                if is_prepared.blocking_recv().is_err() {
                    return;
                }
                let taken = heir.take(|| {
                    // An error means that this process ends already.
                    let _ = go.send(());
                    came.send_replace(true);
                });
                if let Err(error) = taken {
                    tracing::error!("upgrade: {error:#}");
                }
            })?;
        let succession = Succession {
            promised: self.promised,
            prepared,
            go: went,
        };
        Ok((succession, answers))
    }
}

/// Standard input, which becomes empty for everyone else.
fn channel() -> anyhow::Result<Channel> {
    let channel = std::io::stdin().as_fd().try_clone_to_owned()?;
    let kind = rustix::net::sockopt::socket_type(&channel)?;
    ensure!(
        kind == rustix::net::SocketType::SEQPACKET,
        "{PREDECESSOR} is set by mistake"
    );
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(Channel::from(channel))
}

struct Heir {
    channel: Channel,
    promised: HashMap<ListenerId, Promised>,
    sessions: HashMap<(ListenerId, usize), UdpSessions>,
    board: Arc<Board>,
    access_log: Arc<AccessLog>,
    has_closed: watch::Sender<bool>,
}

impl Heir {
    /// Takes everything, calls `go`, and then takes rows until the other process has ended.
    fn take(mut self, go: impl FnOnce()) -> anyhow::Result<()> {
        tell(&self.channel, &Answer::Prepared, &[])?;
        let mut go = Some(go);
        loop {
            match hear(&self.channel)? {
                Received::Message(Handover::Go, _) => {
                    for ((listener, worker), sessions) in self.sessions.drain() {
                        if let Some(promised) = self.promised.get(&listener) {
                            promised.sockets.put_sessions(worker, sessions);
                        }
                    }
                    // They are the workers' now.
                    self.promised.clear();
                    self.access_log.open()?;
                    if let Some(go) = go.take() {
                        go();
                    }
                }
                Received::Message(message, files) if go.is_some() => {
                    self.receive(message, files)?
                }
                Received::Message(Handover::Closed, _) => {
                    self.has_closed.send_replace(true);
                }
                Received::Message(..) => bail!("something came after the end"),
                Received::Rows(rows) => self.access_log.take_in(rows),
                Received::End if go.is_some() => bail!("the other process has gone"),
                Received::End => {
                    tracing::info!("upgrade: the process that was replaced has ended");
                    return Ok(());
                }
            }
        }
    }

    fn receive(&mut self, message: Handover, files: Vec<OwnedFd>) -> anyhow::Result<()> {
        match message {
            Handover::Clients(clients) => {
                let now = self.board.millis_at(Instant::now());
                for client in clients {
                    self.board.persistence.remember(client.into(), now);
                }
            }
            Handover::Sockets(places) => {
                for ((listener, worker), file) in places.into_iter().zip(files) {
                    match self.promised.get(&listener) {
                        Some(promised) if promised.is_udp => {
                            promised.sockets.put_udp(worker, file.into());
                        }
                        Some(promised) => promised.sockets.put_tcp(worker, file.into()),
                        None => bail!("a socket of {listener} came that was not promised"),
                    }
                }
            }
            Handover::Towards(listener, worker, kinds) => {
                let all = self.sessions.entry((listener, worker)).or_default();
                let towards = kinds
                    .into_iter()
                    .zip(files)
                    .map(|((hops, connected), file)| UdpTowards {
                        socket: file.into(),
                        hops,
                        connected,
                    });
                all.sockets.extend(towards);
            }
            Handover::Sessions(listener, worker, sessions) => {
                let all = self.sessions.entry((listener, worker)).or_default();
                all.sessions
                    .extend(sessions.into_iter().map(UdpSession::from));
            }
            Handover::Start { .. }
            | Handover::Listeners(_)
            | Handover::Tickets(_)
            | Handover::Begin
            | Handover::Go
            | Handover::Closed => {
                bail!("that was not expected any more");
            }
        }
        Ok(())
    }
}
