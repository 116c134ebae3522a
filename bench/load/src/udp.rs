//! Datagrams: a backend that sends them back, clients that count what comes back, and sessions that
//! are begun and left.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use clb_net::udp::{BATCH, Batch, Outgoing};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::report::{Findings, print};
use crate::{Measured, cpu, stdin};

/// What a client waits for an answer before it takes its datagrams for lost.
const PATIENCE: Duration = Duration::from_millis(200);
/// The longest wait in one turn, so that the window ends in time.
const TURN: Duration = Duration::from_millis(50);
/// Octets of room in each direction.
const BUFFER: usize = 4 << 20;
/// Octets that tell when a datagram was sent.
const STAMP: usize = 8;

/// What a load of datagrams needs.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Where to
    #[arg(long)]
    to: SocketAddr,
    /// How many clients, each with a port of its own
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Octets of each datagram, at least 8
    #[arg(long, default_value_t = 64)]
    datagram: usize,
    /// How many each client has on their way
    #[arg(long, default_value_t = 1)]
    window: usize,
    #[command(flatten)]
    measured: Measured,
}

/// Sessions that are begun, one after the other.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Sessions {
    /// Where to
    #[arg(long)]
    to: SocketAddr,
    /// How many
    #[arg(long)]
    sessions: usize,
}

fn roomy(socket: &UdpSocket) -> io::Result<()> {
    use rustix::net::sockopt;
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, BUFFER)?;
    }
    sockopt::set_socket_send_buffer_size(socket, BUFFER)?;
    Ok(())
}

/// Sends everything back, until stdin ends.
pub(crate) fn backend(listen: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(listen)?;
    socket.set_nonblocking(true)?;
    roomy(&socket)?;
    print(&json!({"listening": socket.local_addr()?.to_string()}))?;
    let mut poll = Poll::new()?;
    let (own, end) = (Token(0), Token(1));
    let registry = poll.registry();
    registry.register(&mut SourceFd(&socket.as_raw_fd()), own, Interest::READABLE)?;
    stdin::watch(registry, end)?;
    let (mut events, mut batch) = (Events::with_capacity(8), Batch::new());
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        if events.iter().any(|event| event.token() == end) {
            return Ok(());
        }
        loop {
            let received = match batch.recv(&socket) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let back = |at| Outgoing {
                at,
                to: batch.from(at),
            };
            let outgoing: Vec<_> = (0..received).map(back).collect();
            let mut sent = 0;
            while let Some(rest) = outgoing.get(sent..).filter(|rest| !rest.is_empty()) {
                sent += batch.send(&socket, rest)?;
            }
            if received < BATCH {
                break;
            }
        }
    }
}

struct Client {
    socket: UdpSocket,
    /// Datagrams on their way.
    out: usize,
    heard: Instant,
}

/// Runs the load and prints what was found: datagrams that were relayed, two for each that came back.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.connections > 0, "--connections 0: at least 1");
    ensure!(options.window > 0, "--window 0: at least 1");
    ensure!(
        !options.measured.seconds.is_zero(),
        "--seconds 0: more than 0"
    );
    let length = options.datagram;
    ensure!(length >= STAMP, "--datagram {length}: at least {STAMP}");
    let start = Instant::now();
    let begin = start + options.measured.warm_up;
    let mut end = begin + options.measured.seconds;
    let mut poll = Poll::new()?;
    let mut clients = Vec::with_capacity(options.connections);
    for number in 0..options.connections {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(options.to)?;
        socket.set_nonblocking(true)?;
        roomy(&socket)?;
        let fd = socket.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
        let (out, heard) = (0, start);
        clients.push(Client { socket, out, heard });
    }
    let mut datagram = vec![0; length];
    let mut send = |client: &mut Client, found: &mut Findings| {
        while client.out < options.window {
            let stamp = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if let Some(place) = datagram.get_mut(..STAMP) {
                place.copy_from_slice(&stamp.to_be_bytes());
            }
            match client.socket.send(&datagram) {
                Ok(_) => client.out += 1,
                // There is no room, or nobody listens; what is on its way goes on.
                Err(_) => return found.failed("not sent"),
            }
        }
    };
    let mut found = Findings::new()?;
    for client in &mut clients {
        send(client, &mut found);
    }
    let (mut events, mut batch) = (Events::with_capacity(1024), Batch::new());
    let mut window = None;
    let (mut looked, mut now) = (start, start);
    while now < end {
        poll.poll(&mut events, Some(TURN.min(end - now)))?;
        now = Instant::now();
        if window.is_none() && now >= begin {
            // A late begin makes a late end.
            end = now + options.measured.seconds;
            found = Findings::new()?;
            window = Some((now, cpu::of(&options.measured.cpu_of)?, cpu::own()?));
        }
        let received_at = start.elapsed();
        for event in &events {
            let Some(client) = clients.get_mut(event.token().0) else {
                continue;
            };
            while let Ok(received) = batch.recv(&client.socket) {
                for at in 0..received {
                    let data = batch.data(at);
                    let stamp = data.first_chunk().map(|stamp| u64::from_be_bytes(*stamp));
                    let Some(stamp) = stamp.filter(|_| data.len() == length) else {
                        found.failed("changed");
                        continue;
                    };
                    found.requests += 2;
                    found.bytes_in += data.len() as u64;
                    found.bytes_out += data.len() as u64;
                    found.took(received_at.saturating_sub(Duration::from_nanos(stamp)));
                    client.out = client.out.saturating_sub(1);
                }
                client.heard = now;
                if received < BATCH {
                    break;
                }
            }
            send(client, &mut found);
        }
        if now - looked > PATIENCE {
            looked = now;
            for client in clients
                .iter_mut()
                .filter(|client| now - client.heard > PATIENCE)
            {
                (0..client.out).for_each(|_| found.failed("lost"));
                client.out = 0;
                client.heard = now;
                send(client, &mut found);
            }
        }
    }
    let (from, cpu_before, own_before) = window.context("the window never began")?;
    let cpu = cpu::of(&options.measured.cpu_of)?.saturating_sub(cpu_before);
    let own = cpu::own()?.saturating_sub(own_before);
    print(&found.json(now - from, cpu, own, 0))?;
    Ok(())
}

/// Begins sessions with one datagram and its answer each, from ports that are closed at once; prints
/// `{"ready": N}` with how many were answered, and ends with stdin.
pub(crate) fn sessions(options: &Sessions) -> anyhow::Result<()> {
    let mut answered = 0;
    // The ports of one address are too few; all of 127.0.0.0/8 is this machine.
    let addresses = (1..=250_u8)
        .cycle()
        .map(|last| Ipv4Addr::new(127, 77, 0, last));
    for address in addresses.take(options.sessions) {
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect(options.to)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send(b"session")?;
        if socket.recv(&mut [0; 16]).is_ok() {
            answered += 1;
        }
    }
    print(&json!({"ready": answered}))?;
    stdin::wait()?;
    Ok(())
}
