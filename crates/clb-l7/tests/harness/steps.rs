//! Steps that scripts are made of.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::kinds::OK;
use super::lane::Lane;
use super::message::Request;
use super::wire::Wire;

impl Lane<'_> {
    /// Waits for the client's answer; fails if a backend gets anything before.
    pub fn client_hears_first(&self, client: &mut Wire) -> Result<()> {
        let mut backends: Vec<Wire> = Vec::new();
        let started = std::time::Instant::now();
        loop {
            if !client.so_far()?.is_empty() {
                return Ok(());
            }
            backends.extend(self.backend_within(0, Duration::from_millis(1))?);
            for backend in &mut backends {
                let seen = backend.so_far()?;
                if !seen.is_empty() {
                    bail!(
                        "the backend must see nothing, it gets \"{}\"",
                        seen.escape_ascii()
                    );
                }
            }
            ensure!(
                started.elapsed() < super::patience(),
                "neither the client nor the backend hears anything"
            );
        }
    }

    /// The next request's wire: the one that the backend has, or a fresh connection.
    pub fn next_wire(&self, backend: Wire) -> Result<Wire> {
        let mut backend = backend;
        let started = std::time::Instant::now();
        loop {
            if !backend.so_far()?.is_empty() {
                return Ok(backend);
            }
            if let Some(fresh) = self.backend_within(0, Duration::from_millis(1))? {
                return Ok(fresh);
            }
            ensure!(
                started.elapsed() < super::patience(),
                "no further request reaches the backend"
            );
        }
    }

    /// As [`next_wire`](Self::next_wire), for a client whose connection may end instead.
    pub fn next_wire_or_end(&self, backend: Wire, client: &mut Wire) -> Result<Wire> {
        let mut backend = backend;
        let started = std::time::Instant::now();
        while started.elapsed() < super::patience() {
            if !backend.so_far()?.is_empty() {
                return Ok(backend);
            }
            if let Some(fresh) = self.backend_within(0, Duration::from_millis(1))? {
                return Ok(fresh);
            }
            client.so_far()?;
            if client.has_ended() {
                bail!("the client's connection has ended");
            }
        }
        bail!("no further request reaches the backend, and the client's connection goes on")
    }

    /// A plain request on this client connection is passed on and answered: the connection lives.
    pub fn lives(&self, client: &mut Wire, backend: Wire) -> Result<Wire> {
        client
            .send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")
            .context("the connection should live on")?;
        let mut backend = self
            .next_wire_or_end(backend, client)
            .context("the connection should live on")?;
        let request = backend.request()?;
        ensure!(
            request.target == "/again",
            "the second request is {}",
            request.target
        );
        backend.send(OK)?;
        client.answer("GET")?.status(200)?.body.is("ok")?;
        Ok(backend)
    }

    /// One whole exchange on fresh connections; the backend saw the request that is given back.
    pub fn exchange(&self, request: &str, answer: &[u8]) -> Result<(Wire, Wire, Request)> {
        let client = self.client_sends(request)?;
        let mut backend = self.backend()?;
        let request = backend.request()?;
        backend.send(answer)?;
        Ok((client, backend, request))
    }
}
