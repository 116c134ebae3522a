//! Connecting to a backend.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

/// Connects, with TCP_NODELAY on. Give it a limit of time.
///
/// # Errors
/// What socket(2) and connect(2) report; `ConnectionRefused` for a connection that met itself.
pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(addr).await?;
    // On the machine's own addresses a connection to a port where nobody listens can meet itself,
    // when the kernel chooses that very port as its source (simultaneous open, RFC 9293 3.5).
    if stream.local_addr()? == addr {
        clb_net::set_linger_zero(&stream)?;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}
