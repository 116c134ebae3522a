//! Where rows go besides the segments: a file, a syslog server.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::OFlags;

use crate::format::Shown;
use crate::row::{Number, Row};

/// How a file's lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// nginx's `combined`.
    Combined,
    /// One object a line, with the fields of DescribeLoadBalancerLog and our own.
    Json,
}

/// Where rows go besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// A file, and how its lines look.
    pub file: Option<(PathBuf, FileFormat)>,
    /// A syslog server: RFC 5424 over UDP (RFC 5426), facility local7, severity info, the message
    /// as in `combined`.
    pub syslog: Option<SocketAddr>,
}

/// Octets of lines that are written at once.
const AT_ONCE: usize = 64 * 1024;
/// Of a message to syslog: what every receiver should take (RFC 5426 3.2).
const MESSAGE: usize = 2_048;
/// local7 and info (RFC 5424 6.2.1).
const PRIORITY: u8 = 23 * 8 + 6;

/// The targets while they are open.
#[derive(Debug)]
pub(crate) struct Open {
    targets: Targets,
    file: Option<File>,
    lines: Vec<u8>,
    /// The file ends in the middle of a line.
    is_cut: bool,
    syslog: Option<UdpSocket>,
    zone: TimeZone,
    rule: fn(u64) -> String,
    hostname: String,
}

impl Open {
    /// Opens what there is to be opened.
    ///
    /// # Errors
    /// What opening the file, or the socket, gives.
    pub(crate) fn new(
        targets: Targets,
        zone: TimeZone,
        rule: fn(u64) -> String,
        hostname: &str,
    ) -> io::Result<Self> {
        let file = match &targets.file {
            Some((path, _)) => Some(open(path)?),
            None => None,
        };
        let syslog = match targets.syslog {
            Some(server) => Some(connect(server)?),
            None => None,
        };
        Ok(Self {
            targets,
            file,
            lines: Vec::new(),
            is_cut: false,
            syslog,
            zone,
            rule,
            hostname: hostname.to_owned(),
        })
    }

    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Takes a row.
    ///
    /// # Errors
    /// What writing gives; the lines that were not written are lost.
    pub(crate) fn take(&mut self, row: &Row<'_>) -> io::Result<()> {
        let shown = Shown::new(row, &self.zone);
        let mut message = None;
        if let Some((_, format)) = self.targets.file {
            let line = match format {
                FileFormat::Combined => message.insert(shown.combined()).clone(),
                FileFormat::Json => serde_json::to_string(&shown.full_object(self.rule))?,
            };
            self.lines.extend_from_slice(line.as_bytes());
            self.lines.push(b'\n');
        }
        if let Some(socket) = &self.syslog {
            let message = message.unwrap_or_else(|| shown.combined());
            let micros = i64::try_from(row.number(Number::Time)).unwrap_or(0);
            let time = Timestamp::from_microsecond(micros).unwrap_or_default();
            let text = format!(
                "<{PRIORITY}>1 {time:.6} {} clbd {} - - {message}",
                self.hostname,
                std::process::id()
            );
            // A server that is away is no reason to stop: what UDP loses is lost.
            let octets = text.as_bytes();
            let _ = socket.send(octets.get(..MESSAGE).unwrap_or(octets));
        }
        match self.lines.len() >= AT_ONCE {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes the lines that wait.
    ///
    /// # Errors
    /// As of [`take`](Self::take); `WouldBlock` for a pipe that is full.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut lines = std::mem::take(&mut self.lines);
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if lines.is_empty() {
            return Ok(());
        }
        if self.is_cut {
            lines.insert(0, b'\n');
        }
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, left) = rest.split_at_checked(written).unwrap_or((rest, b""));
                    self.is_cut = done.last() != Some(&b'\n');
                    rest = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens the file anew if its name has another one now, or none: whoever rotates it renames it.
    ///
    /// # Errors
    /// What opening gives; the lines go on to the old file then.
    pub(crate) fn follow(&mut self) -> io::Result<()> {
        let (Some((path, _)), Some(file)) = (&self.targets.file, &self.file) else {
            return Ok(());
        };
        let here = file.metadata()?;
        let is_same = std::fs::metadata(path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()));
        if !is_same {
            self.file = Some(open(path)?);
            self.is_cut = false;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        // A pipe that nobody reads is an error at once, and one that is full loses lines: neither
        // may hold up the rows that come after.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    // A full buffer loses messages and holds nobody up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Text;
    use std::fs;
    use std::time::Duration;

    fn row() -> Row<'static> {
        let mut row = Row::default();
        row.set(Number::Time, 1_509_595_393_000_000);
        row.set(Number::Status, 200);
        row.set_text(Text::Line, b"GET /\x1b HTTP/1.1");
        row
    }

    fn name(rule: u64) -> String {
        rule.to_string()
    }

    #[test]
    fn a_renamed_file_is_left_and_another_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let targets = Targets {
            file: Some((path.clone(), FileFormat::Combined)),
            syslog: None,
        };
        let mut open = Open::new(targets, TimeZone::UTC, name, "h").unwrap();
        open.take(&row()).unwrap();
        open.flush().unwrap();
        fs::rename(&path, &old).unwrap();
        open.follow().unwrap();
        open.take(&row()).unwrap();
        open.take(&row()).unwrap();
        open.flush().unwrap();
        open.follow().unwrap();
        let lines = |path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&old), lines(&path)), (1, 2));
    }

    #[test]
    fn a_full_pipe_loses_lines_and_goes_on_with_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_bits_truncate(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let targets = Targets {
            file: Some((path.clone(), FileFormat::Combined)),
            syslog: None,
        };
        let nobody = Open::new(targets.clone(), TimeZone::UTC, name, "h").unwrap_err();
        assert_eq!(nobody.raw_os_error(), Some(6), "ENXIO");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let mut reader = options.open(&path).unwrap();
        let mut open = Open::new(targets, TimeZone::UTC, name, "h").unwrap();
        let lines = |rows: usize, open: &mut Open| {
            (0..rows).try_for_each(|_| open.take(&row()))?;
            open.flush()
        };
        let full = (0..100).find_map(|_| lines(1_000, &mut open).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
        let mut read = vec![0; 1 << 20];
        let mut take = || {
            let length = io::Read::read(&mut reader, &mut read).unwrap();
            String::from_utf8(read[..length].to_vec()).unwrap()
        };
        let first = take();
        lines(1, &mut open).unwrap();
        let (all, last) = (first.clone() + &take(), first.lines().next().unwrap());
        assert_eq!(all.lines().last(), Some(last));
        assert!(all.ends_with('\n'));
    }

    #[test]
    fn json_lines_are_whole_objects() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let targets = Targets {
            file: Some((path.clone(), FileFormat::Json)),
            syslog: None,
        };
        let mut open = Open::new(targets, TimeZone::UTC, name, "h").unwrap();
        open.take(&row()).unwrap();
        open.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let object: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(object["request"], "GET /\\x1B HTTP/1.1");
    }

    #[test]
    fn syslog_gets_a_message_of_rfc_5424() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let targets = Targets {
            file: None,
            syslog: Some(server.local_addr().unwrap()),
        };
        let mut open = Open::new(targets, TimeZone::UTC, name, "gate").unwrap();
        open.take(&row()).unwrap();
        let mut buffer = [0; 4096];
        let length = server.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let expected = format!(
            "<190>1 2017-11-02T04:03:13.000000Z gate clbd {} - - - - - [02/Nov/2017:04:03:13 +0000] \"GET /\\x1B HTTP/1.1\" 200 0 \"-\" \"-\"",
            std::process::id()
        );
        assert_eq!(text, expected);
    }
}
