//! A listener that accepts and reads and does nothing else.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};

use clap::Args;
use serde_json::json;

use crate::report::print;

const BACKLOG: i32 = 4096;

/// Where it listens.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Address and port; port 0 takes a free one
    #[arg(long)]
    listen: SocketAddr,
}

/// Prints `{"listening": ADDRESS}` and holds whatever comes, until it is ended.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let socket = TcpListener::bind(options.listen)?;
    // Once more, with a longer queue: it may be away for a while, as what has the core's idle time only.
    rustix::net::listen(&socket, BACKLOG)?;
    print(&json!({"listening": socket.local_addr()?.to_string()}))?;
    let mut held = Vec::new();
    let mut octets = [0; 4096];
    loop {
        let (mut client, _) = socket.accept()?;
        client.set_nonblocking(true)?;
        match client.read(&mut octets) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Gone already.
            Err(_) => continue,
        }
        held.push(client);
    }
}
