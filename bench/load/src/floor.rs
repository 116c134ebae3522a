//! The floor: what a proxy costs that does nothing but the system calls. Each client connection has one
//! backend connection; what comes from one side is sent to the other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use anyhow::Context;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use serde_json::json;
use slab::Slab;

use crate::report::print;
use crate::stdin;

const LISTENER: Token = Token(usize::MAX - 1);
const STDIN: Token = Token(usize::MAX - 2);
const READ: usize = 64 << 10;

/// Relays until stdin ends.
pub(crate) fn run(listen: SocketAddr, to: SocketAddr) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen).with_context(|| listen.to_string())?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    stdin::watch(poll.registry(), STDIN)?;
    print(&json!({"listening": listener.local_addr()?.to_string()}))?;
    let mut pairs = Slab::new();
    let mut scratch = vec![0; READ];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, to, poll.registry(), &mut pairs)?,
                STDIN => return Ok(()),
                Token(token) => {
                    let Some(pair) = pairs.get_mut(token / 2) else {
                        continue;
                    };
                    let alive = Pair::ready(pair, token % 2 == 0, event, &mut scratch);
                    if !alive.unwrap_or(false) {
                        pairs.remove(token / 2);
                    }
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    to: SocketAddr,
    registry: &Registry,
    pairs: &mut Slab<Pair>,
) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let entry = pairs.vacant_entry();
        let mut pair = Pair {
            client: Side::new(client),
            backend: Side::new(TcpStream::connect(to)?),
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = entry.key() * 2;
        pair.client.stream.set_nodelay(true)?;
        registry.register(&mut pair.client.stream, Token(token), interest)?;
        registry.register(&mut pair.backend.stream, Token(token + 1), interest)?;
        entry.insert(pair);
    }
}

struct Pair {
    client: Side,
    backend: Side,
}

/// One of the two connections.
struct Side {
    stream: TcpStream,
    /// An event said that there may be something to read.
    readable: bool,
    /// The event said that the end has come too.
    ended: bool,
    /// Nothing more will be read: the end was read.
    done: bool,
    /// What this side could not take yet.
    out: Vec<u8>,
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            readable: false,
            ended: false,
            done: false,
            out: Vec::new(),
        }
    }

    /// Sends what is left; false: not all of it is taken yet.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if not_yet(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Pair {
    /// Acts upon an event of one side. False: the pair has ended.
    fn ready(pair: &mut Pair, client: bool, event: &Event, scratch: &mut [u8]) -> io::Result<bool> {
        let Pair {
            client: front,
            backend,
        } = pair;
        let (this, other) = match client {
            true => (front, backend),
            false => (backend, front),
        };
        if event.is_readable() || event.is_read_closed() {
            this.readable = true;
            this.ended |= event.is_read_closed();
            relay(this, other, scratch)?;
        }
        if event.is_writable() && this.flush()? {
            // What the other side has was left unread while this one was full.
            relay(other, this, scratch)?;
        }
        Ok(!(this.done && other.done && this.out.is_empty() && other.out.is_empty()))
    }
}

/// Reads from one side and sends to the other until the one is empty or the other full.
fn relay(from: &mut Side, to: &mut Side, scratch: &mut [u8]) -> io::Result<()> {
    while from.readable && !from.done && to.out.is_empty() {
        let count = match from.stream.read(scratch) {
            Ok(count) => count,
            Err(error) if not_yet(&error) => {
                from.readable = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if count == 0 {
            from.done = true;
            // The other side may be gone already.
            let _ = to.stream.shutdown(Shutdown::Write);
            return Ok(());
        }
        // A read that filled less than the buffer emptied the socket.
        from.readable = count == scratch.len() || from.ended;
        let got = scratch.get(..count).unwrap_or_default();
        let sent = match to.stream.write(got) {
            Ok(sent) => sent,
            Err(error) if not_yet(&error) => 0,
            Err(error) => return Err(error),
        };
        to.out
            .extend_from_slice(got.get(sent..).unwrap_or_default());
    }
    Ok(())
}

/// A socket that is still connecting takes nothing yet either.
fn not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}
