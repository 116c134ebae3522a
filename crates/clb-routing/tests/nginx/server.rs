//! Debian's nginx on sockets of its own, without privileges, until the test ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clb_model::{DomainPattern, UrlModifier};
use tempfile::TempDir;

use crate::generate::Rule;

/// Requests that are sent before their answers are read.
const BATCH: usize = 32;

pub struct Nginx {
    child: Child,
    folder: TempDir,
}

/// What nginx said.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Which server block answered, by the order of its oldest rule.
    pub domain: Option<usize>,
    /// Which location, by its order.
    pub rule: Option<usize>,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// Each of these sets of rules behind a socket of its own.
    pub fn start(sets: &[Vec<Rule>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let mut text = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr emerg;\n\
             events {{ worker_connections {}; }}\n\
             http {{\n\
             access_log off; root {path}/nothing; keepalive_requests 100000000;\n\
             server_names_hash_bucket_size 256; server_names_hash_max_size 65536;\n",
            // Sockets that listen count, too.
            sets.len() + 64
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text.push_str(&format!("{kind}_temp_path {path}/{kind};\n"));
        }
        for (at, rules) in sets.iter().enumerate() {
            write_set(&mut text, rules, &format!("unix:{path}/{at}"));
        }
        text.push('}');
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .args(["-p", path, "-c", &format!("{path}/nginx.conf")])
            .env(
                "PATH",
                "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
            )
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nginx is needed: Debian's package nginx-light");
        let mut nginx = Self { child, folder };
        nginx.wait(sets.len() - 1);
        nginx
    }

    /// Until the last socket answers: nginx opens them in order and answers when all are open.
    fn wait(&mut self, last: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(self.socket(last)).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                let stderr = self.child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut said).unwrap();
                panic!("nginx ended with {status}: {said}");
            }
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn socket(&self, set: usize) -> PathBuf {
        self.folder.path().join(set.to_string())
    }

    pub fn connect(&self, set: usize) -> Connection {
        let stream = UnixStream::connect(self.socket(set)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Connection {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }
}

pub struct Connection {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// The answers to as many of the requests as nginx answers on one connection: after a 400 it
    /// closes.
    pub fn ask(&mut self, requests: &[Vec<u8>]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for batch in requests.chunks(BATCH) {
            // Once nginx has closed, its answers so far can be read all the same.
            let sent = self.stream.write_all(&batch.concat());
            for _ in batch {
                match self.read() {
                    Some(answer) => answers.push(answer),
                    None => return answers,
                }
            }
            if sent.is_err() {
                return answers;
            }
        }
        answers
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8(line).unwrap();
        line.strip_suffix("\r\n").map(str::to_owned)
    }

    fn read(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let (mut length, mut domain) = (0, None);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ")?;
            match name {
                "Content-Length" => length = value.parse().ok()?,
                "X-Domain" => domain = value.parse().ok(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        let rule = match status {
            200 => Some(std::str::from_utf8(&body).unwrap().parse().unwrap()),
            _ => None,
        };
        Some(Answer {
            status,
            domain,
            rule,
        })
    }
}

/// In double quotes nginx takes a backslash away before another one and before quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn write_set(text: &mut String, rules: &[Rule], listen: &str) {
    text.push_str(&format!(
        "server {{ listen {listen} default_server; server_name \"\"; return 404; }}\n"
    ));
    let mut written: Vec<&DomainPattern> = Vec::new();
    for (order, first) in rules.iter().enumerate() {
        if written
            .iter()
            .any(|domain| domain.key() == first.domain.key())
        {
            continue;
        }
        written.push(&first.domain);
        text.push_str(&format!(
            "server {{ listen {listen}; server_name {}; add_header X-Domain {order} always;\n",
            quoted(first.domain.as_str())
        ));
        for (order, rule) in rules.iter().enumerate() {
            if rule.domain.key() != first.domain.key() {
                continue;
            }
            let modifier = match rule.url.modifier() {
                UrlModifier::Prefix => "",
                UrlModifier::Exact => "=",
                UrlModifier::PrefixNoRegex => "^~",
                UrlModifier::Regex => "~",
                UrlModifier::RegexNoCase => "~*",
            };
            let url = quoted(rule.url.expression());
            text.push_str(&format!(
                "location {modifier} {url} {{ return 200 \"{order}\"; }}\n"
            ));
        }
        text.push_str("}\n");
    }
}
