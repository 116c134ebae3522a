//! Answers in the gateway's own name.

use std::sync::Arc;
use std::time::Duration;

use clb_access_log::Reason;
use clb_l4::worker::ListenerCell;
use clb_snapshot::{FinishedRequest, Pool, Rule};

use crate::http1::{
    GatewayField, MethodKind, Request, Version, reason_phrase, write_final_answer,
    write_gateway_answer,
};
use crate::log::Entry;
use crate::order::{Order, RequestId};
use crate::redirect::location;

/// Seconds after which a client may try again when there was no backend or no room for it.
const RETRY_AFTER: u32 = 1;

/// An answer in the gateway's own name.
#[derive(Debug)]
pub(crate) struct GatewayAnswer {
    pub(crate) status: u16,
    why: &'static str,
    id: RequestId,
    is_head: bool,
    /// The request was read to its end and the client wants to go on.
    pub(crate) keeps_connection: bool,
    /// The answer itself, when it says more than its status.
    whole: Option<Vec<u8>>,
    /// Where the client is to go instead.
    location: Option<Vec<u8>>,
    /// Where the request belongs, if it is counted there and not at the listener.
    pool: Option<Arc<Pool>>,
    /// The number of its rule's name.
    name: u32,
    /// Why the gateway answers.
    pub(crate) reason: Reason,
    /// For the access log, if there is one.
    pub(crate) log: Option<Box<Entry>>,
}

/// What is done about a request in the place of carrying it out.
#[derive(Debug)]
pub(crate) enum Instead {
    /// It is answered with this status, for no rule takes it.
    Status(u16),
    /// Its rule redirects it.
    Redirect(Arc<Rule>),
}

impl GatewayAnswer {
    /// To what is no request, or none whose end can be found.
    pub(crate) fn refusal(status: u16, why: &'static str, id: RequestId, is_head: bool) -> Self {
        Self {
            status,
            why,
            id,
            is_head,
            keeps_connection: false,
            whole: None,
            location: None,
            pool: None,
            name: 0,
            reason: Reason::BadRequest,
            log: None,
        }
    }

    /// To a request that was to be carried out.
    pub(crate) fn to_order(status: u16, order: &mut Order) -> Self {
        Self {
            status,
            why: why(status),
            id: order.id.clone(),
            is_head: order.answer_to.method == MethodKind::Head,
            // One of HTTP/1.0 would have to be told that the connection goes on.
            keeps_connection: order.keep_alive
                && order.answer_to.client == Version::Http11
                && order.body.is_complete()
                && !matches!(status, 400 | 408 | 413),
            whole: None,
            location: None,
            pool: Some(Arc::clone(&order.pool)),
            name: 0,
            reason: order.reason,
            log: order.log.take(),
        }
    }

    /// To a request that no rule takes.
    pub(crate) fn to_request(
        status: u16,
        id: RequestId,
        request: &Request<'_>,
        keeps: bool,
    ) -> Self {
        Self {
            status,
            why: why(status),
            id,
            is_head: request.method.kind() == MethodKind::Head,
            keeps_connection: keeps && request.version == Version::Http11,
            whole: None,
            location: None,
            pool: None,
            name: 0,
            reason: Reason::BadRequest,
            log: None,
        }
    }

    /// To a request that is not carried out.
    pub(crate) fn instead(
        instead: Instead,
        id: RequestId,
        request: &Request<'_>,
        keeps: bool,
    ) -> Self {
        let rule = match instead {
            Instead::Status(status) => {
                return Self {
                    reason: match status {
                        404 => Reason::NoRule,
                        500 => Reason::RoutingFailed,
                        _ => Reason::BadRequest,
                    },
                    ..Self::to_request(status, id, request, keeps)
                };
            }
            Instead::Redirect(rule) => rule,
        };
        let redirect = rule.redirect.as_deref();
        let location = redirect.map(|to| location(to, request.host, request.path));
        let status = match location {
            Some(Ok(_)) => 302,
            // Routing has read them before.
            Some(Err(_)) | None => 500,
        };
        Self {
            location: location.and_then(Result::ok),
            pool: Some(Arc::clone(&rule.pool)),
            name: rule.name.number(),
            reason: Reason::Redirected,
            ..Self::to_request(status, id, request, keeps)
        }
    }

    /// To a request that is not to be forwarded (RFC 9110 7.6.2).
    pub(crate) fn as_the_target(request: &Request<'_>, keeps: bool, date: &[u8]) -> Self {
        let keeps_connection = keeps && request.version == Version::Http11;
        let mut whole = Vec::new();
        write_final_answer(request, date, !keeps_connection, &mut whole);
        Self {
            status: 200,
            why: "",
            id: RequestId::new(),
            is_head: false,
            keeps_connection,
            whole: Some(whole),
            location: None,
            pool: None,
            name: 0,
            reason: Reason::None,
            log: None,
        }
    }

    /// Counts it, at the rule that the request belongs to, or at the listener.
    pub(crate) fn count(&self, worker: usize, cell: &ListenerCell) {
        let finished = FinishedRequest {
            status: Some(self.status),
            is_gateways: true,
            took: Duration::ZERO,
        };
        match &self.pool {
            Some(pool) => pool.requests().record(worker, &finished),
            None => cell.with(|listener| listener.requests().record(worker, &finished)),
        }
    }

    /// For the access log: it is `log`'s end.
    pub(crate) fn logged(mut self, mut log: Option<Box<Entry>>) -> Self {
        if let (Some(log), Some(pool)) = (&mut log, &self.pool) {
            log.belongs_to(pool.key(), self.name);
        }
        self.log = log;
        self
    }

    /// The client was sent `head` octets of head and `body` octets of body; not, if it is gone.
    pub(crate) fn sent(
        &mut self,
        worker: usize,
        cell: &ListenerCell,
        (head, body): (u64, u64),
        is_taken: bool,
    ) {
        match &self.pool {
            Some(pool) => pool.requests().count_bytes(worker, 0, head + body),
            None => cell.with(|listener| listener.requests().count_bytes(worker, 0, head + body)),
        }
        if let Some(log) = &mut self.log {
            log.sent_head(head);
            log.sent(head + body);
            match is_taken {
                true => log.end(Some(self.status), self.reason),
                false => log.end(None, Reason::ClientGone),
            }
        }
    }

    /// Octets of the head in what [`write`](Self::write) has written.
    pub(crate) fn head_length(text: &[u8]) -> usize {
        memchr::memmem::find(text, b"\r\n\r\n").map_or(text.len(), |at| at + 4)
    }

    /// Writes the answer.
    pub(crate) fn write(&self, close: bool, date: &[u8], out: &mut Vec<u8>) {
        if let Some(whole) = &self.whole {
            return out.extend_from_slice(whole);
        }
        let retry_after = (self.status == 503).then_some(GatewayField::RetryAfter(RETRY_AFTER));
        let location = self.location.as_deref().map(GatewayField::Location);
        let field = location.or(retry_after);
        write_gateway_answer(
            self.status,
            self.why,
            &self.id,
            date,
            close,
            self.is_head,
            field,
            out,
        );
    }
}

/// What the text of an answer says about its status.
fn why(status: u16) -> &'static str {
    match status {
        302 => "it is elsewhere, see Location",
        404 => "no rule takes this host and path",
        408 => "the request did not come in time",
        413 => "the body is too long",
        502 => "no backend gave a valid answer",
        503 => "no backend can take the request",
        504 => "the backend did not answer in time",
        status => reason_phrase(status),
    }
}
