//! Many connections that do nothing, after each has been used once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::json;

use crate::connection::parse_head;
use crate::exchange::{Answer, Exchange, Options};
use crate::report::print;
use crate::stdin;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Opens them, prints `{"ready": N}`, waits for the end of stdin, prints how many are still open.
pub(crate) fn run(options: &Options, connections: usize) -> anyhow::Result<()> {
    let exchange = Exchange::new(options, false)?;
    let mut held = Vec::with_capacity(connections);
    for number in 0..connections {
        let one = use_once(options, &exchange, number);
        held.push(one.with_context(|| format!("connection {number}"))?);
    }
    print(&json!({"ready": held.len()}))?;
    stdin::wait()?;
    let mut open = 0;
    for connection in &held {
        connection.set_nonblocking(true)?;
        if let Err(error) = connection.peek(&mut [0])
            && error.kind() == ErrorKind::WouldBlock
        {
            open += 1;
        }
    }
    print(&json!({"open": open}))?;
    Ok(())
}

fn use_once(options: &Options, exchange: &Exchange, number: usize) -> anyhow::Result<TcpStream> {
    let mut connection = TcpStream::connect(options.to)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    ensure!(exchange.body == 0, "idle connections send no body");
    let sent = exchange.send(number);
    connection.write_all(sent)?;
    let mut all = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = connection.read(&mut buffer)?;
        ensure!(count > 0, "closed without a complete answer");
        all.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let whole = match exchange.answer {
            Answer::Echo => all.len() >= sent.len(),
            Answer::Http(size) => match parse_head(&all) {
                Ok(None) => false,
                Ok(Some(head)) if head.status == 200 && head.length == size => {
                    all.len() as u64 >= head.size as u64 + size
                }
                Ok(Some(head)) => bail!("status {}, length {}", head.status, head.length),
                Err(cause) => bail!(cause),
            },
        };
        if whole {
            return Ok(connection);
        }
    }
}
