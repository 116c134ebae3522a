//! Strict readers of messages: what a gateway sends must not need forgiveness (RFC 9112 2.2).
//! Text is kept with one char for each octet, so that nothing is lost.

use anyhow::{Context as _, Result, bail, ensure};

use super::wire::{Ending, Wire};

pub fn latin1(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// Field lines in order, names as sent.
#[derive(Debug, Clone, Default)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut fields = Vec::new();
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                bail!("a field line without colon: {line:?}");
            };
            ensure!(
                !name.is_empty() && name.bytes().all(is_tchar),
                "a field name that is no token: {name:?}"
            );
            ensure!(
                value
                    .chars()
                    .all(|c| c == '\t' || (c >= ' ' && c != '\u{7f}')),
                "a control character in the field {line:?}"
            );
            let value = value.trim_matches([' ', '\t']);
            fields.push((name.to_string(), value.to_string()));
        }
        Ok(Self(fields))
    }

    /// All values of a field in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The field's only value; absence and repetition are failures.
    pub fn one(&self, name: &str) -> Result<&str> {
        match self.all(name)[..] {
            [value] => Ok(value),
            ref values => bail!("expected one field {name}, there are {values:?}"),
        }
    }

    /// The field is there once with this value.
    pub fn is(&self, name: &str, value: &str) -> Result<()> {
        let have = self.one(name)?;
        ensure!(have == value, "expected {name}: {value:?}, it is {have:?}");
        Ok(())
    }

    /// None of the fields is there.
    pub fn lack(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let have = self.all(name);
            ensure!(
                have.is_empty(),
                "the field {name} must not be there: {have:?}"
            );
        }
        Ok(())
    }

    /// The members of a comma-separated field, lower case.
    pub fn members(&self, name: &str) -> Vec<String> {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(','))
            .map(|member| member.trim_matches([' ', '\t']).to_ascii_lowercase())
            .filter(|member| !member.is_empty())
            .collect()
    }

    pub fn says_close(&self) -> bool {
        self.members("connection").iter().any(|m| m == "close")
    }
}

fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body by the rules.
    None,
    /// Content-Length.
    Length(usize),
    /// The chunked coding.
    Chunked,
    /// The end of the connection.
    Close,
}

/// A body as far as it came.
#[derive(Debug, Clone)]
pub struct Body {
    pub framing: Framing,
    pub data: Vec<u8>,
    pub trailers: Fields,
    /// Whether it came to its end. With [`Framing::Close`] an orderly end is one.
    pub complete: bool,
}

impl Body {
    /// The body is complete and this.
    pub fn is(&self, data: impl AsRef<[u8]>) -> Result<()> {
        let data = data.as_ref();
        ensure!(
            self.complete,
            "the body was cut after {} octets",
            self.data.len()
        );
        if self.data != data {
            let differ = self.data.iter().zip(data).position(|(a, b)| a != b);
            bail!(
                "the body has {} octets instead of {}, the first other one at {differ:?}",
                self.data.len(),
                data.len()
            );
        }
        Ok(())
    }
}

/// A request as the backend saw it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub version: String,
    pub fields: Fields,
    pub body: Body,
}

/// An answer as the client saw it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub version: String,
    pub fields: Fields,
    pub body: Body,
}

impl Answer {
    pub fn status(&self, expected: u16) -> Result<&Self> {
        ensure!(
            self.status == expected,
            "expected {expected}, got {}",
            self.status
        );
        Ok(self)
    }
}

impl Wire {
    fn head(&mut self) -> Result<(String, Fields)> {
        let head = latin1(&self.read_until(b"\r\n\r\n")?);
        let text = head.strip_suffix("\r\n\r\n").unwrap_or(&head);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_string();
        let fields = Fields::parse(lines).with_context(|| format!("in {text:?}"))?;
        ensure!(
            !text.replace("\r\n", "").contains(['\r', '\n', '\0']),
            "bare CR, LF or NUL in {text:?}"
        );
        Ok((start, fields))
    }

    /// A request's head; the body is left to [`request_body`](Self::request_body).
    pub fn request_head(&mut self) -> Result<Request> {
        let (start, fields) = self.head()?;
        let parts: Vec<&str> = start.split(' ').collect();
        let [method, target, version] = parts[..] else {
            bail!("not a request line: {start:?}");
        };
        ensure!(
            !method.is_empty() && method.bytes().all(is_tchar),
            "method {method:?}"
        );
        ensure!(!target.is_empty(), "no target: {start:?}");
        ensure!(
            version == "HTTP/1.1",
            "RFC 9112 2.3: a gateway sends its own version, not {version:?}"
        );
        let framing = framing(&fields)?.unwrap_or(Framing::None);
        Ok(Request {
            method: method.to_string(),
            target: target.to_string(),
            version: version.to_string(),
            fields,
            body: Body {
                framing,
                data: Vec::new(),
                trailers: Fields::default(),
                complete: framing == Framing::None,
            },
        })
    }

    /// A request with its body.
    pub fn request(&mut self) -> Result<Request> {
        let mut request = self.request_head()?;
        request.body = self.body(request.body.framing)?;
        Ok(request)
    }

    /// An answer's head, final or interim, to a request with this method.
    pub fn answer_head(&mut self, method: &str) -> Result<Answer> {
        let (start, fields) = self.head()?;
        let (version, rest) = start.split_once(' ').context("not a status line")?;
        let (status, reason) = rest.split_once(' ').with_context(|| {
            format!("RFC 9112 4: the space after the status is not optional: {start:?}")
        })?;
        ensure!(
            version == "HTTP/1.1",
            "RFC 9112 2.3: a gateway sends its own version: {start:?}"
        );
        ensure!(status.len() == 3, "status {status:?}");
        let status: u16 = status
            .parse()
            .with_context(|| format!("status {status:?}"))?;
        let empty = method == "HEAD" || status < 200 || status == 204 || status == 304;
        if status < 200 || status == 204 {
            ensure!(
                fields.all("transfer-encoding").is_empty()
                    && fields.all("content-length").is_empty(),
                "RFC 9110 8.6, RFC 9112 6.1: {status} with Content-Length or Transfer-Encoding"
            );
        }
        let framing = match framing(&fields)? {
            _ if empty => Framing::None,
            Some(framing) => framing,
            None => Framing::Close,
        };
        Ok(Answer {
            status,
            reason: reason.to_string(),
            version: version.to_string(),
            fields,
            body: Body {
                framing,
                data: Vec::new(),
                trailers: Fields::default(),
                complete: framing == Framing::None,
            },
        })
    }

    /// An answer with its body, as far as it comes.
    pub fn answer(&mut self, method: &str) -> Result<Answer> {
        let mut answer = self.answer_head(method)?;
        answer.body = self.body(answer.body.framing)?;
        Ok(answer)
    }

    /// A body as far as it comes.
    pub fn body(&mut self, framing: Framing) -> Result<Body> {
        let mut body = Body {
            framing,
            data: Vec::new(),
            trailers: Fields::default(),
            complete: true,
        };
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                body.data = self.read_some(length)?;
                body.complete = body.data.len() == length;
            }
            Framing::Close => {
                let (data, ending) = self.rest()?;
                body.data = data;
                body.complete = ending == Ending::End;
            }
            Framing::Chunked => body.complete = self.chunks(&mut body)?.is_some(),
        }
        Ok(body)
    }

    /// Chunks until the last one; `None` when they are cut.
    fn chunks(&mut self, body: &mut Body) -> Result<Option<()>> {
        loop {
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            let size = line.split(';').next().unwrap_or_default();
            ensure!(
                !size.is_empty() && size.bytes().all(|c| c.is_ascii_hexdigit()),
                "RFC 9112 7.1: chunk line {line:?}"
            );
            let size = usize::from_str_radix(size, 16)?;
            if size == 0 {
                break;
            }
            let data = self.read_some(size)?;
            let whole = data.len() == size;
            body.data.extend(data);
            if !whole {
                return Ok(None);
            }
            let end = self.read_some(2)?;
            if end.len() < 2 {
                return Ok(None);
            }
            ensure!(end == b"\r\n", "RFC 9112 7.1: a chunk ends with {end:?}");
        }
        let mut lines = Vec::new();
        loop {
            match self.line()? {
                None => return Ok(None),
                Some(line) if line.is_empty() => break,
                Some(line) => lines.push(line),
            }
        }
        body.trailers = Fields::parse(lines.iter().map(String::as_str))?;
        Ok(Some(()))
    }

    /// A line without its CRLF; `None` when the connection ends before.
    fn line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let next = self.read_some(1)?;
            if next.is_empty() {
                return Ok(None);
            }
            line.extend(next);
        }
        let line = latin1(&line[..line.len() - 2]);
        ensure!(
            !line.contains(['\r', '\n', '\0']),
            "bare CR, LF or NUL in {line:?}"
        );
        Ok(Some(line))
    }
}

/// The framing that a head announces; what is doubtful is the gateway's mistake.
fn framing(fields: &Fields) -> Result<Option<Framing>> {
    let lengths = fields.all("content-length");
    let codings = fields.all("transfer-encoding");
    ensure!(
        lengths.is_empty() || codings.is_empty(),
        "RFC 9112 6.2: Content-Length beside Transfer-Encoding"
    );
    if let [coding] = codings[..] {
        ensure!(
            coding.eq_ignore_ascii_case("chunked"),
            "Transfer-Encoding: {coding:?}"
        );
        return Ok(Some(Framing::Chunked));
    }
    ensure!(
        codings.is_empty(),
        "Transfer-Encoding repeated: {codings:?}"
    );
    if let [length] = lengths[..] {
        ensure!(
            !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit()),
            "Content-Length: {length:?}"
        );
        return Ok(Some(Framing::Length(length.parse()?)));
    }
    ensure!(lengths.is_empty(), "Content-Length repeated: {lengths:?}");
    Ok(None)
}
