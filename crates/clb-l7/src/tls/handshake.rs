//! Shaking hands with a client.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clb_l4::io::poll_recv;
use clb_snapshot::{HandshakeFailure, ServerTls};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::certificate::certificate_fields;
use super::limit::Place;
use super::stream::{TlsStream, flush_once, with_ciphertext};
use crate::local::Local;

/// Octets that are read at once: no more than rustls keeps decrypted, for requests may follow the
/// handshake's last message at once.
const READ: usize = 16 * 1024;

/// How long a connection that was sent an alert is still read.
const LINGER: Duration = Duration::from_secs(1);

/// How a handshake ended.
#[derive(Debug)]
pub(crate) enum Shaken {
    /// Well.
    Done(Box<TlsStream>),
    /// The client speaks HTTP without TLS.
    PlainHttp(TcpStream),
    /// Otherwise; the client was told if it could be.
    Failed,
}

/// Shakes hands with a client, within `timeouts.tls_handshake` and `limits.tls_handshakes`. `task`
/// is what runs this.
pub(crate) async fn shake_hands(
    socket: TcpStream,
    tls: Arc<ServerTls>,
    local: Rc<Local>,
    task: AbortHandle,
) -> Shaken {
    let began = local.tick();
    // To the end of this, whatever that is.
    let place = Place::take(&local, task, &tls.live);
    let mut session = None;
    let limit = local.settings().tls_handshake;
    let driven = timeout(limit, drive(&socket, &tls, &local, &place, &mut session)).await;
    let result = driven
        .unwrap_or(Err(HandshakeFailure::TimedOut))
        .and_then(|()| session.ok_or(HandshakeFailure::Cut))
        .and_then(|session| {
            let fields = certificate_fields(session.peer_certificates())
                .ok_or(HandshakeFailure::BadClientCertificate)?;
            Ok((session, fields))
        });
    match result {
        Ok((session, fields)) => {
            let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
            tls.live.count_done(is_resumed);
            let took = local.tick().saturating_duration_since(began);
            Shaken::Done(Box::new(TlsStream::new(socket, *session, fields, took)))
        }
        Err(why) => {
            tracing::debug!(reason = why.name(), "no TLS handshake");
            tls.live.count_failed(why);
            match why {
                HandshakeFailure::PlainHttp => Shaken::PlainHttp(socket),
                HandshakeFailure::TimedOut | HandshakeFailure::Cut => Shaken::Failed,
                _ => {
                    linger(&socket, &place).await;
                    Shaken::Failed
                }
            }
        }
    }
}

/// Reads what the client has sent on before it saw the alert: closing a socket with unread octets
/// resets it, and the alert may be lost on its way. The handshake keeps its place meanwhile.
async fn linger(socket: &TcpStream, _: &Place) {
    if clb_net::shutdown_write(socket).is_err() {
        return;
    }
    let ended = poll_fn(|cx| {
        loop {
            match with_ciphertext(READ, |buffer| poll_recv(socket, cx, buffer)) {
                Ok(Poll::Ready(0)) | Err(_) => return Poll::Ready(()),
                Ok(Poll::Ready(_)) => {}
                Ok(Poll::Pending) => return Poll::Pending,
            }
        }
    });
    // Whoever has not ended by then does not read.
    let _ = timeout(LINGER, ended).await;
}

/// Waits for the client and takes one step after the other, each in its turn.
async fn drive(
    socket: &TcpStream,
    tls: &ServerTls,
    local: &Local,
    place: &Place,
    session: &mut Option<Box<ServerConnection>>,
) -> Result<(), HandshakeFailure> {
    loop {
        poll_fn(|cx| poll_wanted(socket, session.as_deref(), cx)).await;
        let turn = local.handshakes.turn(place, session.is_some()).await;
        poll_fn(|cx| Poll::Ready(step(socket, tls, session, cx))).await?;
        drop(turn);
        if session.as_ref().is_some_and(|one| !one.is_handshaking()) {
            return Ok(());
        }
    }
}

/// Ready when the socket has something for the session or takes something from it.
fn poll_wanted(
    socket: &TcpStream,
    session: Option<&ServerConnection>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let writable = match session.is_some_and(|session| session.wants_write()) {
        true => socket.poll_write_ready(cx),
        false => Poll::Pending,
    };
    // An error shows in the step.
    match (writable, socket.poll_read_ready(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => Poll::Ready(()),
    }
}

/// Takes in what has come and sends what is to be said. The session is made with the first octets:
/// a client that sends nothing costs its socket and its task only.
fn step(
    socket: &TcpStream,
    tls: &ServerTls,
    session: &mut Option<Box<ServerConnection>>,
    cx: &mut Context<'_>,
) -> Result<(), HandshakeFailure> {
    with_ciphertext(READ, |buffer| {
        let received = poll_recv(socket, cx, buffer).map_err(|_| HandshakeFailure::Cut)?;
        let data = match received {
            Poll::Ready(length) => buffer.get(..length).unwrap_or_default(),
            Poll::Pending => return flush(socket, session.as_deref_mut(), cx),
        };
        let Some(first) = data.first() else {
            return Err(HandshakeFailure::Cut);
        };
        let session = match session {
            Some(session) => session,
            // A record's first octet is its type, 22 (RFC 8446 5.1), a request's a letter.
            None if first.is_ascii_alphabetic() => return Err(HandshakeFailure::PlainHttp),
            None => {
                let config = Arc::clone(&tls.config);
                let made = ServerConnection::new(config).map_err(|error| reason(&error))?;
                session.insert(Box::new(made))
            }
        };
        let taken = take_in(session, data);
        if taken.is_err() {
            // The alert; the client is not waited for.
            let _ = flush(
                socket,
                Some(session),
                &mut Context::from_waker(Waker::noop()),
            );
        }
        let asked = taken? > 0;
        // A client of TLS 1.3 that has sent its request behind its Finished waits for nothing but the
        // answer, and tickets can go with that: one send less.
        let is_tls13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if asked && is_tls13 && !session.is_handshaking() {
            return Ok(());
        }
        flush(socket, Some(session), cx)
    })
}

/// Takes octets in; how many octets of content wait to be read then.
fn take_in(session: &mut ServerConnection, mut data: &[u8]) -> Result<usize, HandshakeFailure> {
    let mut waiting = 0;
    while !data.is_empty() {
        match session.read_tls(&mut data) {
            // After close_notify nothing counts.
            Ok(0) => return Err(HandshakeFailure::Cut),
            Ok(_) => {}
            Err(_) => return Err(HandshakeFailure::Malformed),
        }
        let state = session
            .process_new_packets()
            .map_err(|error| reason(&error))?;
        waiting = state.plaintext_bytes_to_read();
    }
    Ok(waiting)
}

fn flush(
    socket: &TcpStream,
    session: Option<&mut ServerConnection>,
    cx: &mut Context<'_>,
) -> Result<(), HandshakeFailure> {
    if let Some(session) = session {
        while session.wants_write() {
            match flush_once(socket, session, false, cx) {
                Ok(Poll::Ready(())) => {}
                Ok(Poll::Pending) => break,
                Err(_) => return Err(HandshakeFailure::Cut),
            }
        }
    }
    Ok(())
}

fn reason(error: &Error) -> HandshakeFailure {
    match error {
        Error::NoCertificatesPresented => HandshakeFailure::NoClientCertificate,
        Error::InvalidCertificate(_) => HandshakeFailure::BadClientCertificate,
        Error::AlertReceived(_) => HandshakeFailure::RefusedByClient,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::Incompatible,
        _ => HandshakeFailure::Malformed,
    }
}
