//! What a connection sends in the gateway's own name, and how it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use clb_access_log::Reason;
use clb_l4::io::{Stream as _, poll_recv, with_scratch};
use clb_l4::{Ahead, Session, relay};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Connection, Next};
use crate::answer::GatewayAnswer;
use crate::exchange::{Outcome, Tunnel};
use crate::timers::Wait;

/// How long a connection that is to be closed is still read, so that what the client sends does
/// not destroy the answer on its way (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(5);
/// How long it may be silent meanwhile.
const LINGER_SILENCE: Duration = Duration::from_secs(2);

impl Connection {
    /// Sends all of this; an error if the client does not take it in time.
    pub(super) async fn send(&mut self, data: &[u8]) -> io::Result<()> {
        let patience = self.local().settings().client_body;
        let mut rest = data;
        self.timers.clear_all();
        poll_fn(|cx| {
            let due = self.local().tick().checked_add(patience);
            let before = rest.len();
            let mut sent = Poll::Ready(0);
            while !rest.is_empty() && sent.is_ready() {
                sent = self.client.poll_send(cx, rest)?;
                if let Poll::Ready(length) = sent {
                    rest = rest.get(length..).unwrap_or_default();
                }
            }
            if sent.is_ready() && self.client.poll_flush(cx)?.is_ready() {
                return Poll::Ready(Ok::<_, io::Error>(()));
            }
            let has_moved = self.client.take_moved() || rest.len() < before;
            if has_moved || !self.timers.is_set(Wait::ClientWrite) {
                self.timers.set(Wait::ClientWrite, due);
            }
            self.timers
                .poll_overdue(cx)
                .map(|_| Err(io::ErrorKind::TimedOut.into()))
        })
        .await?;
        self.admission.count_bytes(0, data.len() as u64);
        self.timers.clear_all();
        Ok(())
    }

    /// Answers in the gateway's own name; what becomes of the connection.
    pub(super) async fn answer(&mut self, mut answer: GatewayAnswer) -> Outcome {
        let mut out = self.local().buffer();
        let keeps = answer.keeps_connection && !self.service().is_draining();
        answer.write(!keeps, &self.local().date(), &mut out);
        let sent = self.send(&out).await;
        let head = GatewayAnswer::head_length(&out);
        let lengths = (head as u64, (out.len() - head) as u64);
        answer.sent(self.local().worker(), &self.cell, lengths, sent.is_ok());
        self.local().give_back(out);
        match (sent, keeps) {
            (Err(_), _) => Outcome::Reset,
            (Ok(()), true) => Outcome::Keep,
            (Ok(()), false) => Outcome::Linger,
        }
    }

    /// Tells a client that it has to speak TLS here.
    pub(crate) async fn speak_tls(&mut self) {
        let why = "this port speaks HTTPS";
        if let Next::Answer(answer) = self.refuse(400, why, false, b"", Reason::BadRequest) {
            self.count(&answer);
            match self.answer(*answer).await {
                Outcome::Linger => self.linger().await,
                _ => reset(self.client.socket()),
            }
        }
    }

    /// Counts a request that the gateway answers without asking anybody.
    pub(super) fn count(&self, answer: &GatewayAnswer) {
        answer.count(self.local().worker(), &self.cell);
    }

    /// Closes so that the client can read what it was sent.
    pub(super) async fn linger(&mut self) {
        self.client.close();
        if clb_net::shutdown_write(self.client.socket()).is_err() {
            return;
        }
        let end = Instant::now().checked_add(LINGER);
        let (client, timers) = (self.client.socket(), &mut self.timers);
        timers.clear_all();
        timers.set(Wait::ClientWrite, end);
        timers.set(Wait::ClientRead, Instant::now().checked_add(LINGER_SILENCE));
        poll_fn(|cx| {
            loop {
                match with_scratch(|scratch| poll_recv(client, cx, scratch)) {
                    Ok(Poll::Ready(0)) | Err(_) => return Poll::Ready(()),
                    Ok(Poll::Ready(_)) => {
                        timers.set(Wait::ClientRead, Instant::now().checked_add(LINGER_SILENCE))
                    }
                    Ok(Poll::Pending) => return timers.poll_overdue(cx).map(|_| ()),
                }
                if timers.poll_overdue(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// Relays both directions until the end.
    pub(super) async fn tunnel(mut self, tunnel: Tunnel) {
        let mut order = tunnel.order;
        let (total, worker) = (Cell::new((0, 0)), self.local().worker());
        let pool = order.as_ref().map(|order| Arc::clone(&order.pool));
        let moved = |bytes_in, bytes_out| {
            let (before_in, before_out) = total.get();
            total.set((before_in + bytes_in, before_out + bytes_out));
            if let Some(pool) = &pool {
                pool.requests().count_bytes(worker, bytes_in, bytes_out);
            }
        };
        let ahead = Ahead {
            to_backend: std::mem::take(&mut self.received),
            to_client: tunnel.to_client,
        };
        let session = Session {
            client: &self.client,
            backend: &tunnel.backend,
            board: self.permit.board(),
            listener: &self.admission,
            member: &tunnel.member,
            idle: |settings| settings.http.tunnel_idle,
            moved: Some(&(&moved as &dyn Fn(u64, u64))),
        };
        let relayed = relay(&session, Some(Box::new(ahead))).await;
        self.local().tick();
        if let Some(order) = &mut order {
            let (bytes_in, bytes_out) = total.get();
            order.end_tunnel(bytes_in, bytes_out);
        }
        if let Err(broken) = relayed {
            tracing::debug!(%broken, "both sides of a tunnel reset");
            reset(self.client.socket());
            reset(&tunnel.backend);
        }
    }
}

/// Ends a connection so that whoever has it sees a reset.
pub(crate) fn reset(stream: &TcpStream) {
    // It fails only for a connection that is gone anyway.
    let _ = clb_net::set_linger_zero(stream);
}
