//! One request and its answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use clb_access_log::Reason;
use clb_snapshot::{Admission, FinishedRequest, HttpSettings};
use h2::server::SendResponse;
use h2::{Reason as ResetReason, RecvStream, SendStream};
use http::Request as H2Request;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::connection::Shared;
use super::fields::response;
use super::forward::{Attempt, Forward};
use super::request::{Fault, Limits, write_head};
use super::tasks::Place;
use super::{tunnel, websocket};
use crate::answer::GatewayAnswer;
use crate::body::Body;
use crate::exchange::{Asker, Outcome, exchange};
use crate::forward::End;
use crate::head::target;
use crate::http1::{
    AnswerAdditions, AnswerTo, Fields, MethodKind, Refusal, RequestAdditions, Scheme, Transfer,
    UpgradeAsked, Version, parse_answer, parse_written_request, write_request,
};
use crate::local::Local;
use crate::log::Seen;
use crate::order::{Order, RequestId};
use crate::sticky::Sticky;
use crate::timers::{Timers, Wait};
use crate::trace::{Traced, traced};

/// Octets of a body that are read when it is answered already.
const DISCARDED: usize = 1024 * 1024;
/// For how long.
const LINGER: Duration = Duration::from_secs(2);

/// How a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// It was answered.
    Answered,
    /// The client did not want the answer any more, or sent what is none of a request's.
    Cancelled,
    /// The answer broke off.
    Cut,
}

/// A stream as an exchange needs it.
pub(super) struct Stream {
    pub(super) shared: Rc<Shared>,
    pub(super) recv: RecvStream,
    pub(super) respond: SendResponse<Bytes>,
    /// After the final answer's head.
    pub(super) send: Option<SendStream<Bytes>>,
    pub(super) timers: Timers,
    /// What the backend is to prove that it knows, if a WebSocket was asked for.
    pub(super) websocket_accept: Option<String>,
    /// The last to be dropped: who sees that it is gone sees nothing of the stream any more.
    place: Place,
}

/// What is done about a request.
enum Next {
    Order(Box<Order>),
    Answer(Box<GatewayAnswer>),
}

/// Serves one stream. Dropping the future resets it.
pub(super) async fn serve(
    shared: Rc<Shared>,
    place: Place,
    request: H2Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let local = Rc::clone(shared.local());
    local.tick();
    let (parts, recv) = request.into_parts();
    let mut stream = Stream {
        shared,
        recv,
        respond,
        send: None,
        timers: local.timers(),
        websocket_accept: None,
        place,
    };
    let done = stream.serve(&parts).await;
    if done == Done::Answered && !stream.recv.is_end_stream() {
        stream.discard().await;
    }
    stream.place.ended(done);
    local.give_back_timers(stream.timers);
}

impl Stream {
    async fn serve(&mut self, parts: &http::request::Parts) -> Done {
        let is_head = parts.method == http::Method::HEAD;
        match self.prepare(parts) {
            Ok(Next::Order(order)) => self.carry_out(order).await,
            Ok(Next::Answer(mut answer)) => {
                self.count(&answer);
                self.answer(&mut answer).await
            }
            Err(Fault::Malformed) => {
                self.respond.send_reset(ResetReason::PROTOCOL_ERROR);
                Done::Cancelled
            }
            Err(Fault::Refused(refusal)) => {
                tracing::debug!(peer = %self.shared.arrival.peer, %refusal, "request refused");
                let id = RequestId::from_slice(&self.shared.local().request_id());
                let line = line(parts);
                let seen = Seen::octets(line.as_bytes());
                let log = self.shared.log(&seen, &id, line.len());
                let mut answer =
                    GatewayAnswer::refusal(refusal.status(), refusal.reason(), id, is_head)
                        .logged(log);
                self.count(&answer);
                self.answer(&mut answer).await
            }
        }
    }

    /// Decides what is done about a request.
    fn prepare(&mut self, parts: &http::request::Parts) -> Result<Next, Fault> {
        let local = Rc::clone(self.shared.local());
        let settings = local.settings();
        let is_connect = parts.method == http::Method::CONNECT;
        let key = is_connect.then(|| websocket::key(local.random()));
        let limits = Limits {
            line: settings.request_line,
            fields: settings.request_fields,
        };
        let (scheme, name) = match self.is_tls() {
            true => (Scheme::Https, "https"),
            false => (Scheme::Http, "http"),
        };
        let mut head = local.buffer();
        let has_body = !self.recv.is_end_stream();
        let mut fields = local.fields.borrow_mut();
        let key_text = key.as_deref();
        write_head(
            parts,
            name,
            has_body,
            key_text,
            limits,
            &mut fields,
            &mut head,
        )?;
        self.websocket_accept = key.map(|key| websocket::accept(&key));
        let line = local.is_logging().then(|| line(parts));
        let next = self.order(scheme, &head, line, &mut fields, &local, &settings)?;
        drop(fields);
        local.give_back(head);
        Ok(next)
    }

    fn order(
        &self,
        scheme: Scheme,
        head: &[u8],
        line: Option<String>,
        fields: &mut Fields,
        local: &Local,
        settings: &HttpSettings,
    ) -> Result<Next, Refusal> {
        let request = parse_written_request(scheme, head, fields)?;
        let id = match request.request_id {
            Some(id) => RequestId::from_slice(id),
            None => RequestId::from_slice(&local.request_id()),
        };
        let answer = |answer| Ok(Next::Answer(Box::new(answer)));
        let body = Body::announced(&request, settings.request_body)?;
        let mut log = line.and_then(|line| {
            let mut seen = Seen::request(&request);
            seen.line = line.as_bytes();
            self.shared.log(&seen, &id, head.len())
        });
        if self.is_misdirected(request.host) {
            return answer(GatewayAnswer::to_request(421, id, &request, true).logged(log));
        }
        if request.max_forwards == Some(0) {
            let made = GatewayAnswer::as_the_target(&request, true, &local.date());
            return answer(made.logged(log));
        }
        let (target, port) = self
            .shared
            .cell()
            .with(|listener| (target(listener, &request, local), listener.addr.port()));
        let (pool, name) = match target {
            Ok(target) => target,
            Err(instead) => {
                return answer(GatewayAnswer::instead(instead, id, &request, true).logged(log));
            }
        };
        if let Some(log) = &mut log {
            log.belongs_to(pool.key(), name);
        }
        let mut out = local.buffer();
        let traced = traced(settings.tracing, &request, &id, local);
        if let (Some(log), Some(traced)) = (&mut log, &traced) {
            log.belongs_to_trace(traced.context);
        }
        let additions = RequestAdditions {
            client: self.peer().ip(),
            port,
            https: self.is_tls(),
            client_certificate: self.shared.client.certificate_fields(),
            request_id: &id,
            default_host: b"",
            http2: true,
            trace: traced.as_ref().map(Traced::addition),
            via: settings.via,
            session_cookie: Some(settings.session_cookie.as_bytes()),
        };
        write_request(&request, &additions, &mut out);
        Ok(Next::Order(Box::new(Order {
            out,
            body,
            body_has_begun: false,
            has_been_sent: false,
            is_spent: false,
            sticky: Sticky::of(&request, &pool, local, &settings.session_cookie),
            pool,
            may_share_backend: request.may_share_backend(),
            started: local.now(),
            // HTTP/2 has a place for trailer fields in every message.
            answer_to: AnswerTo {
                trailers: true,
                ..request.answer_to()
            },
            is_idempotent: request.method.is_idempotent(),
            keep_alive: true,
            expects_continue: request.expects_continue,
            set_cookie: None,
            status: None,
            reason: Reason::None,
            log,
            id,
        })))
    }

    /// Whether the request is for a host that the connection was not made for and that the
    /// certificate does not cover (RFC 9110 7.4; RFC 9113 9.1.1). A client that has named no host
    /// in the handshake has taken the certificate as it is.
    fn is_misdirected(&self, host: &[u8]) -> bool {
        let Some(name) = &self.shared.server_name else {
            return false;
        };
        if host == name.as_bytes() {
            return false;
        }
        let host = String::from_utf8_lossy(host);
        !host.eq_ignore_ascii_case(name) && !self.shared.tls.covers(&host)
    }

    async fn carry_out(&mut self, mut order: Box<Order>) -> Done {
        let outcome = exchange(self, &mut order).await;
        let local = Rc::clone(self.shared.local());
        local.give_back(std::mem::take(&mut order.out));
        let mut finished = FinishedRequest {
            status: order.status,
            is_gateways: false,
            took: order.started.elapsed(),
        };
        let done = match outcome {
            Err(status) => {
                finished.status = Some(status);
                finished.is_gateways = true;
                let mut answer = GatewayAnswer::to_order(status, &mut order);
                self.answer(&mut answer).await
            }
            Ok(Outcome::Keep | Outcome::Close | Outcome::Linger) => Done::Answered,
            Ok(Outcome::Tunnel(mut tunnel)) => {
                order.pool.requests().record(local.worker(), &finished);
                if order.log.is_some() {
                    // What the client of HTTP/2 was sent in the place of 101.
                    order.status = Some(200);
                }
                order.end(true);
                let done = tunnel::relay(self, &mut tunnel, &order.pool).await;
                let (bytes_in, bytes_out) = tunnel.moved;
                order.end_tunnel(bytes_in, bytes_out);
                return done;
            }
            Ok(Outcome::Cut(_)) => self.break_off(ResetReason::INTERNAL_ERROR, Done::Cut),
            Ok(Outcome::Reset) => self.break_off(ResetReason::CANCEL, Done::Cancelled),
        };
        order.pool.requests().record(local.worker(), &finished);
        order.end(false);
        done
    }

    /// The client must not take what it got for the whole.
    fn break_off(&mut self, reason: ResetReason, done: Done) -> Done {
        match &mut self.send {
            Some(send) => send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
        done
    }

    fn count(&self, answer: &GatewayAnswer) {
        answer.count(self.shared.local().worker(), self.shared.cell());
    }

    /// Answers in the gateway's own name.
    async fn answer(&mut self, answer: &mut GatewayAnswer) -> Done {
        let local = Rc::clone(self.shared.local());
        let mut text = local.buffer();
        answer.write(false, &local.date(), &mut text);
        let length = GatewayAnswer::head_length(&text);
        let (head, body) = text.split_at_checked(length).unwrap_or_default();
        let to = AnswerTo {
            method: MethodKind::Other,
            client: Version::Http11,
            upgrade_asked: UpgradeAsked::NONE,
            trailers: false,
        };
        let made = {
            let mut fields = local.fields.borrow_mut();
            parse_answer(head, &mut fields, to).ok().and_then(|answer| {
                let additions = AnswerAdditions {
                    client: Version::Http11,
                    close: false,
                    date: &local.date(),
                    set_cookie: None,
                    via: false,
                    transfer: Transfer::AsIs(0),
                };
                response(&answer, &additions, answer.status, |_| false).ok()
            })
        };
        let sent = made.map(|made| self.respond.send_response(made, body.is_empty()));
        let body = Bytes::copy_from_slice(body);
        local.give_back(text);
        let lengths = (length as u64, body.len() as u64);
        let done = match sent {
            Some(Ok(send)) => self.send_all(send, body).await,
            // The client is gone.
            _ => self.break_off(ResetReason::INTERNAL_ERROR, Done::Cancelled),
        };
        let is_taken = done == Done::Answered;
        answer.sent(local.worker(), self.shared.cell(), lengths, is_taken);
        done
    }

    /// Reads on for a while when the answer is whole and the upload is not: a client may take the
    /// reset that tells it to stop (RFC 9113, section 8.1) for a failure, as curl does to 7.88.
    async fn discard(&mut self) {
        let due = self.shared.local().now().checked_add(LINGER);
        self.timers.clear_all();
        self.timers.set(Wait::ClientRead, due);
        let mut left = DISCARDED;
        let (recv, timers) = (&mut self.recv, &mut self.timers);
        poll_fn(|cx| {
            while left > 0 {
                match recv.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) => {
                        left = left.saturating_sub(data.len());
                        // Fails when the stream has ended meanwhile, which the next turn sees.
                        let _ = recv.flow_control().release_capacity(data.len());
                    }
                    Poll::Ready(_) => break,
                    Poll::Pending => return timers.poll_overdue(cx).map(|_| ()),
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Sends a short body.
    async fn send_all(&mut self, mut send: SendStream<Bytes>, mut body: Bytes) -> Done {
        let local = self.shared.local();
        let due = local.now().checked_add(local.settings().client_body);
        self.timers.clear_all();
        self.timers.set(Wait::ClientWrite, due);
        let length = body.len() as u64;
        send.reserve_capacity(body.len());
        let timers = &mut self.timers;
        let sent = poll_fn(|cx| {
            while !body.is_empty() {
                let room = match send.capacity() {
                    0 => match send.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(room))) => room,
                        Poll::Ready(_) => return Poll::Ready(false),
                        Poll::Pending => {
                            return timers.poll_overdue(cx).map(|_| false);
                        }
                    },
                    room => room,
                };
                let piece = body.split_to(room.min(body.len()));
                if send.send_data(piece, body.is_empty()).is_err() {
                    return Poll::Ready(false);
                }
            }
            Poll::Ready(true)
        })
        .await;
        self.send = Some(send);
        match sent {
            true => {
                self.shared.admission().count_bytes(0, length);
                Done::Answered
            }
            false => self.break_off(ResetReason::CANCEL, Done::Cancelled),
        }
    }
}

impl Asker for Stream {
    fn peer(&self) -> SocketAddr {
        self.shared.arrival.peer
    }

    fn is_tls(&self) -> bool {
        self.shared.client.is_tls()
    }

    fn local(&self) -> &Rc<Local> {
        self.shared.local()
    }

    fn task(&self) -> Option<AbortHandle> {
        self.place.task()
    }

    async fn forward(
        &mut self,
        order: &mut Order,
        local: &Rc<Local>,
        backend: &TcpStream,
        member: &Admission,
    ) -> (End, Vec<u8>) {
        let settings = local.settings();
        let attempt = Attempt {
            backend,
            local,
            settings: &settings,
            member,
        };
        let mut forward = Forward::new(self, order, attempt);
        let end = poll_fn(|cx| {
            local.tick();
            forward.poll(cx)
        })
        .await;
        (end, forward.finish())
    }

    /// What a stream has not read concerns no other.
    fn has_unread(&self) -> bool {
        false
    }
}

/// The request line that a log of HTTP/1 would have.
fn line(parts: &http::request::Parts) -> String {
    let path = parts.uri.path_and_query();
    let target = path.map_or("*", http::uri::PathAndQuery::as_str);
    format!("{} {target} HTTP/2.0", parts.method)
}
