//! A request as it is carried out: read once, sent as often as it takes.

use std::sync::Arc;

use clb_access_log::Reason;
use clb_snapshot::Pool;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::body::Body;
use crate::http1::AnswerTo;
use crate::log::Entry;
use crate::sticky::Sticky;

/// The id of a request, ours or the client's.
pub(crate) type RequestId = SmallVec<[u8; 36]>;

/// A request as it is carried out.
#[derive(Debug)]
pub(crate) struct Order {
    /// The head as backends get it, and what of the body came with it.
    pub(crate) out: Vec<u8>,
    /// What is still to come of the body.
    pub(crate) body: Body,
    /// Some of the body is in `out`, or went to a backend already.
    pub(crate) body_has_begun: bool,
    /// The present backend has got some of the request.
    pub(crate) has_been_sent: bool,
    /// Some of the body went to a backend that is gone, and is not in `out`.
    pub(crate) is_spent: bool,
    /// Where the request goes and is counted.
    pub(crate) pool: Arc<Pool>,
    pub(crate) answer_to: AnswerTo,
    pub(crate) is_idempotent: bool,
    /// The client wants to keep its connection.
    pub(crate) keep_alive: bool,
    /// The client waits for 100 (Continue) before it sends the body.
    pub(crate) expects_continue: bool,
    /// How the client stays with its member.
    pub(crate) sticky: Option<Sticky>,
    /// The backend's connection may carry another request afterwards.
    pub(crate) may_share_backend: bool,
    pub(crate) started: Instant,
    /// A cookie for the answer.
    pub(crate) set_cookie: Option<Box<[u8]>>,
    pub(crate) id: RequestId,
    /// The status that the client got.
    pub(crate) status: Option<u16>,
    /// Why there is no answer of a backend, as far as it is known.
    pub(crate) reason: Reason,
    /// For the access log, if there is one.
    pub(crate) log: Option<Box<Entry>>,
}

impl Order {
    /// The request is over, or becomes a tunnel.
    pub(crate) fn end(&mut self, is_tunnel: bool) {
        if let Some(log) = &mut self.log {
            if is_tunnel {
                log.is_tunnel();
            }
            log.end(self.status, self.reason);
        }
    }

    /// The tunnel that it became is over, and so much has gone through it.
    pub(crate) fn end_tunnel(&mut self, bytes_in: u64, bytes_out: u64) {
        if let Some(log) = &mut self.log {
            log.received(bytes_in);
            log.sent(bytes_out);
            log.completed();
        }
    }

    /// Whether the request may be sent again although a backend has got it and gave no answer
    /// (RFC 9110 9.2.2; semantics.md 6).
    pub(crate) fn may_be_repeated(&self) -> bool {
        self.is_idempotent && !self.body_has_begun
    }

    /// Whether all that was read of the request is in `out`, so that a backend that got nothing of
    /// it may be replaced by another.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_spent
    }
}
