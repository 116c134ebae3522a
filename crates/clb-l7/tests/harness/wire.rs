//! One end of a connection, read and written octet by octet, with a record of what passed.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

/// What no step of a row may take. `CLB_HTTP_PATIENCE_MS` shortens it for gateways that fail rows.
pub fn patience() -> Duration {
    std::env::var("CLB_HTTP_PATIENCE_MS")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(Duration::from_secs(10), Duration::from_millis)
}

/// What happened in a row, in order, for the report of a failure.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Adds one line.
    pub fn note(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(text, "    {line}");
    }

    fn octets(&self, who: &str, did: &str, octets: &[u8]) {
        const SHOWN: usize = 1500;
        let mut shown = octets[..octets.len().min(SHOWN)].escape_ascii().to_string();
        if octets.len() > SHOWN {
            let _ = write!(shown, "… ({} octets)", octets.len());
        }
        self.note(&format!("{who} {did}: {shown}"));
    }

    /// Everything so far; bounded, the end is what matters.
    pub fn text(&self) -> String {
        const SHOWN: usize = 12_000;
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (text.len().saturating_sub(SHOWN)..)
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        text[start..].to_string()
    }
}

/// How the other side ended the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An orderly end.
    End,
    /// A reset.
    Reset,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    ending: Option<Ending>,
    who: String,
    log: Log,
}

impl Wire {
    pub fn new(stream: TcpStream, who: &str, log: Log) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            ending: None,
            who: who.to_string(),
            log,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these octets on a thread of its own, as far as the other side takes them.
    pub fn send_aside(&self, octets: Vec<u8>) -> Result<std::thread::JoinHandle<()>> {
        let mut stream = self.stream.try_clone()?;
        self.log.octets(&self.who, "sends aside", &octets);
        Ok(std::thread::spawn(move || {
            let _ = stream.write_all(&octets);
        }))
    }

    /// Sends each octet on its own.
    pub fn send_each(&mut self, octets: impl AsRef<[u8]>) -> Result<()> {
        for octet in octets.as_ref() {
            self.send([*octet])?;
        }
        Ok(())
    }

    /// Sends all; fails when the other side has gone.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) -> Result<()> {
        let octets = octets.as_ref();
        self.log.octets(&self.who, "sends", octets);
        if let Err(error) = self.stream.write_all(octets) {
            bail!("{} cannot send: {error}", self.who);
        }
        Ok(())
    }

    /// Sends what the other side may refuse to take.
    pub fn try_send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.send(octets);
    }

    /// Ends the sending direction.
    pub fn half_close(&mut self) {
        self.log.note(&format!("{} ends its direction", self.who));
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub fn reset(self) -> Result<()> {
        self.log.note(&format!("{} resets", self.who));
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> Result<bool> {
        if self.ending.is_some() {
            return Ok(false);
        }
        let mut chunk = vec![0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => {
                self.log.note(&format!("{} sees the end", self.who));
                self.ending = Some(Ending::End);
                Ok(false)
            }
            Ok(length) => {
                self.log.octets(&self.who, "gets", &chunk[..length]);
                self.buffer.extend_from_slice(&chunk[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.log.note(&format!("{} sees a reset", self.who));
                self.ending = Some(Ending::Reset);
                Ok(false)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!(
                    "{} waits for ever: nothing more comes, and no end",
                    self.who
                )
            }
            Err(error) => bail!("{}: {error}", self.who),
        }
    }

    /// Everything up to and with `end`; fails if the connection ends before.
    pub fn read_until(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..from + at + end.len()).collect());
            }
            from = (self.buffer.len() + 1).saturating_sub(end.len());
            if !self.fill()? {
                bail!(
                    "{} sees {:?} after \"{}\", before {:?}",
                    self.who,
                    self.ending,
                    self.buffer.escape_ascii(),
                    String::from_utf8_lossy(end)
                );
            }
        }
    }

    /// Up to `length` octets; fewer only if the connection ends before.
    pub fn read_some(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length && self.fill()? {}
        Ok(self.buffer.drain(..length.min(self.buffer.len())).collect())
    }

    /// Exactly these octets come next.
    pub fn expect(&mut self, octets: impl AsRef<[u8]>) -> Result<()> {
        let octets = octets.as_ref();
        let got = self.read_some(octets.len())?;
        if got != octets {
            bail!(
                "{} expects \"{}\", gets \"{}\"",
                self.who,
                octets.escape_ascii(),
                got.escape_ascii()
            );
        }
        Ok(())
    }

    /// Everything until the connection ends, and how it ends.
    pub fn rest(&mut self) -> Result<(Vec<u8>, Ending)> {
        while self.fill()? {}
        let rest = std::mem::take(&mut self.buffer);
        Ok((rest, self.ending.unwrap_or(Ending::End)))
    }

    /// The connection ends, in order, without another octet.
    pub fn expect_end(&mut self) -> Result<()> {
        match self.rest()? {
            (rest, Ending::End) if rest.is_empty() => Ok(()),
            (rest, ending) => bail!(
                "{} expects an orderly end, gets \"{}\" and {ending:?}",
                self.who,
                rest.escape_ascii()
            ),
        }
    }

    /// The connection ends, in whatever way, without another octet.
    pub fn expect_gone(&mut self) -> Result<()> {
        let (rest, _) = self.rest()?;
        if !rest.is_empty() {
            bail!(
                "{} expects no more, gets \"{}\"",
                self.who,
                rest.escape_ascii()
            );
        }
        Ok(())
    }

    /// Waits until something has come or the connection has ended; false if it has ended.
    pub fn wait(&mut self) -> Result<bool> {
        Ok(!self.buffer.is_empty() || self.fill()?)
    }

    /// Whether the other side has ended the connection, as far as was read.
    pub fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// What has come so far, without waiting.
    pub fn so_far(&mut self) -> Result<&[u8]> {
        self.stream.set_nonblocking(true)?;
        while self.ending.is_none() && self.fill().is_ok_and(|more| more) {}
        self.stream.set_nonblocking(false)?;
        Ok(&self.buffer)
    }
}
