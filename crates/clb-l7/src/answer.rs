//! Answers in the gateway's own name.

use crate::http1::{
    MethodKind, Request, Version, reason_phrase, write_final_answer, write_gateway_answer,
};
use crate::order::{Order, RequestId};

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
        }
    }

    /// To a request that was to be carried out.
    pub(crate) fn to_order(status: u16, order: &Order) -> Self {
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
        }
    }

    /// Writes the answer.
    pub(crate) fn write(&self, close: bool, date: &[u8], out: &mut Vec<u8>) {
        if let Some(whole) = &self.whole {
            return out.extend_from_slice(whole);
        }
        write_gateway_answer(
            self.status,
            self.why,
            &self.id,
            date,
            close,
            self.is_head,
            (self.status == 503).then_some(RETRY_AFTER),
            out,
        );
    }
}

/// What the text of an answer says about its status.
fn why(status: u16) -> &'static str {
    match status {
        404 => "no rule takes this host and path",
        408 => "the request did not come in time",
        413 => "the body is too long",
        502 => "no backend gave a valid answer",
        503 => "no backend can take the request",
        504 => "the backend did not answer in time",
        status => reason_phrase(status),
    }
}
