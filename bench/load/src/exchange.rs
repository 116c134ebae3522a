//! What is sent and what must come back.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

/// The size to which request heads are filled up, in octets: about what a browser sends.
const HEAD: usize = 390;

/// What one exchange is.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The proxy
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Lines of "HOST PATH", asked for in a mixed order; without it "www.example.com /"
    #[arg(long, conflicts_with = "echo")]
    requests: Option<PathBuf>,
    /// The size of the answer's body to ask for; the answer must have it
    #[arg(long, default_value_t = 256, conflicts_with = "echo")]
    answer: u64,
    /// Send a body of this size with POST
    #[arg(long, default_value_t = 0, conflicts_with = "echo")]
    body: u64,
    /// Instead of HTTP: send so many octets and expect the same back
    #[arg(long, value_name = "OCTETS")]
    echo: Option<usize>,
}

/// Everything that is sent, made before the start.
pub(crate) struct Exchange {
    /// Heads (or echo payloads) in the order in which they are sent, then from the start again.
    sends: Vec<Vec<u8>>,
    /// Octets of body after each head.
    pub(crate) body: u64,
    /// What the answer is.
    pub(crate) answer: Answer,
}

/// What must come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Status 200 with a body of this size.
    Http(u64),
    /// What was sent.
    Echo,
}

impl Exchange {
    /// `close`: the requests ask for the connection to be closed after the answer.
    pub(crate) fn new(options: &Options, close: bool) -> anyhow::Result<Self> {
        if let Some(size) = options.echo {
            ensure!(size > 0, "--echo 0: at least 1 octet");
            let payload = (0..size).map(|at| b'a' + (at % 26) as u8).collect();
            return Ok(Self {
                sends: vec![payload],
                body: 0,
                answer: Answer::Echo,
            });
        }
        let targets = match &options.requests {
            None => vec![("www.example.com".to_owned(), "/".to_owned())],
            Some(file) => {
                let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
                let lines: Option<Vec<_>> = text
                    .lines()
                    .map(|line| line.split_once(' '))
                    .map(|pair| pair.map(|(host, path)| (host.to_owned(), path.to_owned())))
                    .collect();
                lines.with_context(|| format!("{}: not lines of HOST PATH", file.display()))?
            }
        };
        ensure!(!targets.is_empty(), "--requests: the file is empty");
        let mut sends: Vec<_> = targets
            .iter()
            .map(|(host, path)| head(host, path, options, close))
            .collect();
        mix(&mut sends);
        Ok(Self {
            sends,
            body: options.body,
            answer: Answer::Http(options.answer),
        })
    }

    /// What the request of this number begins with.
    pub(crate) fn send(&self, number: usize) -> &[u8] {
        let at = number.checked_rem(self.sends.len()).unwrap_or_default();
        self.sends.get(at).map_or(&[], Vec::as_slice)
    }
}

/// A request head of about HEAD octets.
fn head(host: &str, path: &str, options: &Options, close: bool) -> Vec<u8> {
    let method = if options.body > 0 { "POST" } else { "GET" };
    let mut head = format!("{method} {path}?size={} HTTP/1.1\r\n", options.answer);
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    };
    field("Host", &host);
    field("User-Agent", &"Mozilla/5.0 (X11; Linux x86_64; rv:140.0)");
    field("Accept", &"text/html,application/xhtml+xml,*/*;q=0.8");
    field("Accept-Language", &"en-GB,en;q=0.5");
    field("Accept-Encoding", &"gzip, deflate, br, zstd");
    if options.body > 0 {
        field("Content-Type", &"application/octet-stream");
        field("Content-Length", &options.body);
    }
    if close {
        field("Connection", &"close");
    }
    let frame = "Cookie: session=\r\n\r\n".len();
    let filler = HEAD.saturating_sub(head.len() + frame).max(1);
    let _ = write!(head, "Cookie: session={}\r\n\r\n", "x".repeat(filler));
    head.into_bytes()
}

/// A fixed pseudo-random order, the same in every run, so that neighbours are not asked one after the
/// other. (Fisher-Yates with the multiplier and increment of Knuth's MMIX.)
fn mix<T>(items: &mut [T]) {
    let mut state: u64 = 1;
    for last in (1..items.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, (state >> 33) as usize % (last + 1));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Options as if given on the command line.
    pub(crate) fn options(to: SocketAddr) -> Options {
        Options {
            to,
            requests: None,
            answer: 256,
            body: 0,
            echo: None,
        }
    }

    #[test]
    fn a_head_has_the_promised_size_and_parses() {
        let made = Exchange::new(&options(([127, 0, 0, 1], 1).into()), true).unwrap();
        assert_eq!(made.send(0).len(), HEAD);
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        assert!(request.parse(made.send(0)).unwrap().is_complete());
        assert_eq!(request.path, Some("/?size=256"));
        assert!(
            request
                .headers
                .iter()
                .any(|field| field.name == "Connection")
        );
    }

    #[test]
    fn every_target_is_asked_once_a_turn() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: String = (0..100).map(|n| format!("h{n}.example.com /\n")).collect();
        std::fs::write(file.path(), lines).unwrap();
        let mut given = options(([127, 0, 0, 1], 1).into());
        given.requests = Some(file.path().to_owned());
        let made = Exchange::new(&given, false).unwrap();
        let asked: std::collections::BTreeSet<_> = (0..100).map(|n| made.send(n)).collect();
        assert_eq!(asked.len(), 100);
        assert_eq!(made.send(100), made.send(0));
    }
}
