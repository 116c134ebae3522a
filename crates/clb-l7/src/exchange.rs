//! A request and its answer: choosing backends until one answers (semantics.md 6).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clb_access_log::Reason;
use clb_l4::{Source, connect, count_exhausted};
use clb_model::BindingId;
use clb_net::exhausted;
use clb_snapshot::{Admission, FinishedRequest, MAX_ATTEMPTS, MemberLive, Refusal, TriedSet};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::forward::{Complete, End, Failure};
use crate::local::Local;
use crate::order::Order;

/// How often what can happen with each request is logged, all workers together; the access log and
/// the metrics have every one.
pub(crate) const LOG_EVERY_MS: u64 = 1_000;

/// Who asks: a client's connection, or one stream of it.
pub(crate) trait Asker {
    /// Where the client is.
    fn peer(&self) -> SocketAddr;

    /// Whether the client came over TLS.
    fn is_tls(&self) -> bool;

    fn local(&self) -> &Rc<Local>;

    /// The task that serves this request; it ends with the drain of the request's member.
    fn task(&self) -> Option<AbortHandle>;

    /// Runs one attempt; what of the answer the client has not got comes with its end.
    async fn forward(
        &mut self,
        order: &mut Order,
        local: &Rc<Local>,
        backend: &TcpStream,
        member: &Admission,
    ) -> (End, Vec<u8>);

    /// Whether the client has sent what nobody has read.
    fn has_unread(&self) -> bool;
}

/// What becomes of the client's connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It may bring another request.
    Keep,
    /// It is closed.
    Close,
    /// It is closed when the client has had time to read the answer although it is still sending.
    Linger,
    /// It is closed after these octets: the client sees from the framing that the answer broke off.
    Cut(Vec<u8>),
    /// It is reset: the client must not take what it got for the whole.
    Reset,
    /// It becomes a tunnel to the backend, with these octets for the client first.
    Tunnel(Box<Tunnel>),
}

/// A backend that speaks another protocol with the client now.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) backend: TcpStream,
    pub(crate) member: Admission,
    pub(crate) to_client: Vec<u8>,
    /// The request that it began with, for the log.
    pub(crate) order: Option<Box<Order>>,
    /// Over HTTP/2: octets from the client and to it.
    pub(crate) moved: (u64, u64),
}

/// A member that was picked.
struct Backend {
    live: Arc<MemberLive>,
    addr: SocketAddr,
    binding: BindingId,
}

impl Backend {
    /// It failed before the first octet of an answer (semantics.md 4, passive).
    fn failed(&self, order: &Order, local: &Local, member: &Admission) {
        member.count_failed();
        let board = local.board();
        if board.backend_failed(&order.pool, self.binding, local.now_ms()) {
            tracing::warn!(
                pool = order.pool.name(), backend = %self.addr,
                "out for a while: it has failed several requests in a row"
            );
        }
    }
}

/// How one attempt with one backend ended.
enum Attempt {
    Ended(Result<Outcome, u16>),
    /// Another backend may do better; else this status.
    Failed(u16),
    /// No other backend is asked.
    Over(u16),
}

/// Carries a request out.
///
/// # Errors
/// The status of the answer that the gateway is to give, for nobody else did.
pub(crate) async fn exchange(asker: &mut impl Asker, order: &mut Order) -> Result<Outcome, u16> {
    let local = Rc::clone(asker.local());
    let board = local.board();
    if board.is_over_memory() {
        board.refused.count(Refusal::MemoryLimit);
        order.reason = Reason::Exhausted;
        return Err(503);
    }
    let mut tried = TriedSet::new();
    let mut status = None;
    let wanted = order.sticky.as_ref().and_then(|sticky| sticky.wanted);
    while tried.len() < MAX_ATTEMPTS {
        let Some(pick) = order
            .pool
            .pick_request(asker.peer().ip(), wanted, local.now_ms(), &tried)
        else {
            break;
        };
        tried.record(&pick);
        let (addr, binding) = (pick.addr(), pick.binding());
        order.set_cookie = order.sticky.as_ref().and_then(|sticky| {
            let name = &local.settings().session_cookie;
            sticky.cookie(&pick, &order.pool, &local, name, asker.is_tls())
        });
        let live = Arc::clone(pick.live());
        let Some(task) = asker.task() else {
            order.reason = Reason::Drained;
            return Ok(Outcome::Reset);
        };
        // None is a member whose drain is over: it was picked from a view just replaced.
        let Some(member) = pick.admit(local.worker(), task) else {
            continue;
        };
        let backend = Backend {
            live,
            addr,
            binding,
        };
        match attempt(asker, order, &local, &backend, member).await {
            Attempt::Ended(outcome) => return outcome,
            Attempt::Over(status) => return Err(status),
            Attempt::Failed(failed) => status = Some(failed),
        }
    }
    match status {
        Some(status) => {
            board.refused.count(Refusal::BackendsFailed);
            Err(status)
        }
        None => {
            board.refused.count(Refusal::NoBackend);
            order.reason = Reason::NoBackend;
            Err(local.settings().no_backend_status)
        }
    }
}

/// Tries one backend, on a kept connection if there is one.
async fn attempt(
    asker: &mut impl Asker,
    order: &mut Order,
    local: &Rc<Local>,
    chosen: &Backend,
    member: Admission,
) -> Attempt {
    let Backend { addr, .. } = chosen;
    if let Some(log) = &mut order.log {
        log.asks(*addr);
    }
    let keep = local.settings().backend_keepalive;
    let mut kept = local
        .idle
        .take(*addr, keep, local.now(), |dead| local.close(dead))
        .filter(|stream| {
            // A request that may not be repeated asks the kernel too: what has come but was not
            // noticed yet would cost the client its answer.
            order.may_be_repeated() || is_open(stream)
        });
    loop {
        let is_kept = kept.is_some();
        let backend = match kept.take() {
            Some(stream) => stream,
            None => match Box::pin(open(local, *addr, order, &member)).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(backend = %addr, %error, "connect failed");
                    if let Some(what) = exhausted(&error) {
                        // Ours to blame, and no other backend would fare better.
                        count_exhausted(local.board(), what, &error);
                        order.reason = Reason::Exhausted;
                        return Attempt::Over(503);
                    }
                    chosen.failed(order, local, &member);
                    order.reason = Reason::ConnectFailed;
                    return failed(order, local, &member, 502, Attempt::Failed);
                }
            },
        };
        if is_kept && let Some(log) = &mut order.log {
            log.connected(Duration::ZERO);
        }
        order.has_been_sent = false;
        let (end, outgoing) = asker.forward(order, local, &backend, &member).await;
        let failure = match end {
            End::NoAnswer(failure) => failure,
            end => {
                let outcome = ended(asker, order, local, chosen, backend, member, end, outgoing);
                return Attempt::Ended(outcome);
            }
        };
        local.give_up(backend);
        match failure {
            Failure::Closed(error, was_untouched) => {
                tracing::debug!(backend = %addr, %error, is_kept, "no answer");
                let may_go_on = (was_untouched && order.is_whole()) || order.may_be_repeated();
                if !is_kept {
                    chosen.failed(order, local, &member);
                }
                order.reason = Reason::BackendClosed;
                match (may_go_on, is_kept) {
                    (false, _) => return failed(order, local, &member, 502, Attempt::Over),
                    (true, false) => return failed(order, local, &member, 502, Attempt::Failed),
                    (true, true) => {}
                }
                // A kept connection that ended under the request says nothing about the backend.
            }
            Failure::HeadCut | Failure::TooManyInterim => {
                tracing::debug!(backend = %addr, ?failure, "the answer broke off");
                member.count_failed();
                order.reason = Reason::BadAnswer;
                return failed(order, local, &member, 502, Attempt::Over);
            }
            Failure::Bad(error) => {
                if local
                    .board()
                    .bad_answer_log
                    .pass(local.now_ms(), LOG_EVERY_MS)
                {
                    let pool = order.pool.name();
                    tracing::warn!(pool, backend = %addr, %error, "the backend's answer is refused");
                }
                member.count_failed();
                order.reason = Reason::BadAnswer;
                return failed(order, local, &member, 502, Attempt::Over);
            }
            Failure::TimedOut => {
                tracing::debug!(backend = %addr, "the backend did not answer in time");
                member.count_failed();
                order.reason = Reason::BackendTimeout;
                return failed(order, local, &member, 504, Attempt::Over);
            }
        }
    }
}

/// An attempt without an answer: counted at the member with the status that stands for it.
fn failed(
    order: &Order,
    local: &Local,
    member: &Admission,
    status: u16,
    attempt: fn(u16) -> Attempt,
) -> Attempt {
    count(order, local, member, status, true);
    attempt(status)
}

/// Counts an attempt at its member.
fn count(order: &Order, local: &Local, member: &Admission, status: u16, is_gateways: bool) {
    member.count_request(&FinishedRequest {
        status: Some(status),
        is_gateways,
        took: local.now().saturating_duration_since(order.started),
    });
}

/// What an attempt with an answer leaves behind.
#[expect(clippy::too_many_arguments, reason = "all that an attempt was made of")]
fn ended(
    asker: &mut impl Asker,
    order: &mut Order,
    local: &Rc<Local>,
    chosen: &Backend,
    backend: TcpStream,
    member: Admission,
    end: End,
    outgoing: Vec<u8>,
) -> Result<Outcome, u16> {
    match end {
        End::Complete(complete) => {
            local.give_back(outgoing);
            order.reason = Reason::None;
            count(order, local, &member, complete.status, false);
            chosen.live.passive().answered();
            if complete.keeps_backend && order.may_share_backend {
                local.keep(chosen.addr, backend);
            } else if complete.is_early {
                local.give_up(backend);
            }
            order.status = Some(complete.status);
            Ok(after_answer(asker, complete))
        }
        End::Tunnel(to_client) => {
            chosen.live.passive().answered();
            order.reason = Reason::None;
            count(order, local, &member, 101, false);
            order.status = Some(101);
            Ok(Outcome::Tunnel(Box::new(Tunnel {
                backend,
                member,
                to_client,
                order: None,
                moved: (0, 0),
            })))
        }
        end => {
            local.give_up(backend);
            order.reason = match end {
                End::Cut { .. } => Reason::AnswerCut,
                End::ClientFault(408) => Reason::ClientTimeout,
                End::ClientFault(_) => Reason::BadBody,
                _ => Reason::ClientGone,
            };
            match end {
                End::Cut { needs_reset: false } => Ok(Outcome::Cut(outgoing)),
                End::ClientFault(status) => Err(status),
                _ => Ok(Outcome::Reset),
            }
        }
    }
}

fn after_answer(asker: &impl Asker, complete: Complete) -> Outcome {
    if complete.keeps_client {
        return Outcome::Keep;
    }
    // Closing a socket with unread octets resets it, and the answer may be lost on its way.
    match complete.is_early || asker.has_unread() {
        true => Outcome::Linger,
        false => Outcome::Close,
    }
}

/// A new connection to a backend.
async fn open(
    local: &Local,
    addr: SocketAddr,
    order: &mut Order,
    member: &Admission,
) -> io::Result<TcpStream> {
    let began = local.tick();
    let (limit, more) = {
        let settings = local.board().settings();
        let more = Arc::clone(&settings.source_addresses);
        (settings.backend_connect, more)
    };
    let connected = timeout(limit, connect(addr, Source::Gateway(&more))).await;
    let took = local.tick().saturating_duration_since(began);
    let stream = connected??;
    member.count_opened();
    order.pool.requests().record_connect(local.worker(), took);
    if let Some(log) = &mut order.log {
        log.connected(took);
    }
    Ok(stream)
}

/// Nothing has come on the connection; asks the kernel.
fn is_open(stream: &TcpStream) -> bool {
    clb_net::peek(stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
