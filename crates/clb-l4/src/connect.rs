//! Connecting to a backend.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// Where a connection to a backend comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The gateway: the address that the kernel chooses, and when all of its ports are taken
    /// towards this backend, the next of these that is of the backend's family.
    Gateway(&'a [IpAddr]),
    /// The client itself, at a port that the kernel chooses (IP_TRANSPARENT, ip(7)). Needs
    /// CAP_NET_ADMIN, and a way for answers through this machine.
    Client(IpAddr),
}

/// Connects, with TCP_NODELAY on. Give it a limit of time.
///
/// # Errors
/// What socket(2), bind(2) and connect(2) report; `ConnectionRefused` for a connection that met
/// itself; `AddrNotAvailable` when no port is left towards this backend at any address.
pub async fn connect(addr: SocketAddr, source: Source<'_>) -> io::Result<TcpStream> {
    let more = match source {
        Source::Client(client) => return open(addr, Some((client, true))).await,
        Source::Gateway(more) => more,
    };
    let mut error = match open(addr, None).await {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => error,
        connected => return connected,
    };
    for own in more.iter().filter(|own| own.is_ipv4() == addr.is_ipv4()) {
        match open(addr, Some((*own, false))).await {
            Err(next) if next.kind() == io::ErrorKind::AddrNotAvailable => error = next,
            connected => return connected,
        }
    }
    Err(error)
}

async fn open(addr: SocketAddr, from: Option<(IpAddr, bool)>) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_nodelay(true)?;
    if let Some((own, is_foreign)) = from {
        clb_net::choose_port_late(&socket)?;
        if is_foreign {
            clb_net::set_transparent(&socket, own.is_ipv6())?;
        }
        socket.bind((own, 0).into())?;
    }
    let stream = socket.connect(addr).await?;
    // On the machine's own addresses a connection to a port where nobody listens can meet itself,
    // when the kernel chooses that very port as its source (simultaneous open, RFC 9293 3.5).
    if clb_net::may_be_chosen(addr.port()) && stream.local_addr()? == addr {
        clb_net::set_linger_zero(&stream)?;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}
