//! The kinds of rows that most rules need.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::lane::Lane;
use super::message::{Answer, Request};
use super::wire::Wire;
use super::{Row, row};

/// What a backend answers when the row does not care.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a backend does after its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Keeps the connection open.
    Keep,
    /// Ends it in order.
    Close,
    /// Resets it.
    Reset,
}

impl Then {
    fn apply(self, backend: Wire) -> Result<Option<Wire>> {
        match self {
            Self::Keep => Ok(Some(backend)),
            Self::Close => Ok(None),
            Self::Reset => backend.reset().map(|()| None),
        }
    }
}

/// The request is answered with 400 and the connection is closed; the backend sees nothing.
pub fn refused(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    octets: impl AsRef<[u8]>,
) -> Row {
    refused_by(name, section, why, &[400], octets)
}

/// As [`refused`], with these statuses.
pub fn refused_by(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    statuses: &'static [u16],
    octets: impl AsRef<[u8]>,
) -> Row {
    let octets = octets.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let mut client = lane.client()?;
        client.try_send(&octets);
        lane.client_hears_first(&mut client)?;
        is_refused(&mut client, statuses)?;
        lane.nothing_reached()
    })
}

/// The head is fine, the body is not: 400 and closed. The backend may have begun to get the
/// request, but never sees it complete.
pub fn refused_body(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    octets: impl AsRef<[u8]>,
) -> Row {
    let octets = octets.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let mut client = lane.client()?;
        client.try_send(&octets);
        client.wait()?;
        is_refused(&mut client, &[400])?;
        lane.nothing_came_whole()
    })
}

/// The client has its refusal, and its connection is closed in order after it.
pub fn is_refused(client: &mut Wire, statuses: &[u16]) -> Result<Answer> {
    let answer = client.answer("GET")?;
    ensure!(
        statuses.contains(&answer.status),
        "expected one of {statuses:?}, got {}",
        answer.status
    );
    ensure!(
        answer.fields.says_close(),
        "RFC 9112 9.6: an answer after which the connection is closed says so"
    );
    ensure!(answer.body.complete, "the refusal's body is cut");
    client
        .expect_end()
        .context("the connection must be closed after the refusal")?;
    Ok(answer)
}

/// The request reaches the backend as `check` wants it, is answered, and the connection lives on.
pub fn passed(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    octets: impl AsRef<[u8]>,
    check: impl Fn(&Request) -> Result<()> + Send + Sync + 'static,
) -> Row {
    let octets = octets.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let mut client = lane.client_sends(&octets)?;
        let backend = is_passed(lane, &mut client, &check)?;
        lane.lives(&mut client, backend)?;
        Ok(())
    })
}

/// As [`passed`], without a word about the connection afterwards.
pub fn passed_once(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    octets: impl AsRef<[u8]>,
    check: impl Fn(&Request) -> Result<()> + Send + Sync + 'static,
) -> Row {
    let octets = octets.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let mut client = lane.client_sends(&octets)?;
        is_passed(lane, &mut client, &check)?;
        Ok(())
    })
}

/// The RFC leaves the choice: refused with one of the statuses, or passed as `check` wants it.
pub fn either(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    statuses: &'static [u16],
    octets: impl AsRef<[u8]>,
    check: impl Fn(&Request) -> Result<()> + Send + Sync + 'static,
) -> Row {
    let octets = octets.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let mut client = lane.client()?;
        client.try_send(&octets);
        let started = std::time::Instant::now();
        let mut backend = None;
        loop {
            if !client.so_far()?.is_empty() {
                is_refused(&mut client, statuses)?;
                return match backend {
                    None => lane.nothing_reached(),
                    Some(_) => lane.nothing_came_whole(),
                };
            }
            if backend.is_none() {
                backend = lane.backend_within(0, Duration::from_millis(1))?;
            }
            if let Some(wire) = &mut backend
                && wire.so_far()?.windows(4).any(|four| four == b"\r\n\r\n")
            {
                let request = wire.request()?;
                check(&request)?;
                wire.send(OK)?;
                client.answer(&request.method)?.status(200)?;
                return Ok(());
            }
            ensure!(
                started.elapsed() < super::patience(),
                "neither a refusal nor a request at the backend"
            );
        }
    })
}

fn is_passed(
    lane: &Lane<'_>,
    client: &mut Wire,
    check: &impl Fn(&Request) -> Result<()>,
) -> Result<Wire> {
    let mut backend = first_backend(lane, client)?;
    let request = backend.request()?;
    check(&request)?;
    backend.send(OK)?;
    let answer = client.answer(&request.method)?;
    answer.status(200)?;
    if request.method != "HEAD" {
        answer.body.is("ok")?;
    }
    Ok(backend)
}

/// The backend's connection for a request that is to be passed; a refusal of it fails at once.
pub fn first_backend(lane: &Lane<'_>, client: &mut Wire) -> Result<Wire> {
    let started = std::time::Instant::now();
    loop {
        if let Some(backend) = lane.backend_within(0, Duration::from_millis(1))? {
            return Ok(backend);
        }
        if !client.so_far()?.is_empty() {
            let answer = client.answer_head("GET")?;
            bail!(
                "the request should be passed on, the gateway answers {}",
                answer.status
            );
        }
        ensure!(
            started.elapsed() < super::patience(),
            "no request reaches the backend"
        );
    }
}

/// The request (whose method is its first word) is passed, the backend answers and then does
/// `then`; the client's answer is what `check` wants.
pub fn answered(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    request: &'static str,
    answer: impl AsRef<[u8]>,
    then: Then,
    check: impl Fn(&Answer) -> Result<()> + Send + Sync + 'static,
) -> Row {
    let answer = answer.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let (mut client, backend, _) = lane.exchange(request, &answer)?;
        let _open = then.apply(backend)?;
        check(&client.answer(method_of(request))?)
    })
}

/// The backend's answer cannot be trusted: 502, and its connection is not used again.
pub fn bad_answer(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    answer: impl AsRef<[u8]>,
) -> Row {
    let answer = answer.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let (mut client, mut backend, _) =
            lane.exchange("GET / HTTP/1.1\r\nHost: test\r\n\r\n", &answer)?;
        client.answer("GET")?.status(502)?;
        backend
            .expect_gone()
            .context("the backend's connection must be closed")
    })
}

/// The backend's answer turns out to be cut or wrong in its body: the client gets 502, or an
/// answer that is visibly not complete, and then the end of the connection.
pub fn cut_answer(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    answer: impl AsRef<[u8]>,
    then: Then,
) -> Row {
    let octets = answer.as_ref().to_vec();
    row(name, section, why, move |lane| {
        let (mut client, backend, _) =
            lane.exchange("GET / HTTP/1.1\r\nHost: test\r\n\r\n", &octets)?;
        let open = then.apply(backend)?;
        let answer = client.answer("GET")?;
        if answer.status != 502 {
            ensure!(
                !answer.body.complete,
                "the client takes a cut answer for a whole one: {} {:?}",
                answer.status,
                answer.body
            );
            client.expect_gone()?;
        }
        if let Some(mut backend) = open {
            backend
                .expect_gone()
                .context("the backend's connection must be closed")?;
        }
        Ok(())
    })
}

pub fn method_of(request: &str) -> &str {
    request.split(' ').next().unwrap_or_default()
}
