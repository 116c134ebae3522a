//! From a request's head to what is done about it.

use std::sync::Arc;

use clb_access_log::Reason;
use clb_net::prefetch;
use clb_routing::RouteError;
use clb_snapshot::{HttpSettings, Listener, Pool, Routed, Service as Target};

use crate::answer::{GatewayAnswer, Instead};
use crate::body::Body;
use crate::connection::{Connection, Next};
use crate::exchange::LOG_EVERY_MS;
use crate::http1::{
    HeadLimits, Refusal, Request, RequestAdditions, Scheme, check_request_line, leading_crlf,
    parse_request_over, parse_whole_request, write_request,
};
use crate::local::Local;
use crate::log::Seen;
use crate::order::{Order, RequestId};
use crate::sticky::Sticky;
use crate::trace::{Traced, traced};

/// What is to be done about a request, and how many octets of those that followed its head belong
/// to its body and were used.
type Done = (Next, usize);

impl Connection {
    /// Looks for a request at the start of `data`; nothing when its head is not complete yet. Gives
    /// how many octets were used too.
    pub(crate) fn read_head(&mut self, data: &[u8]) -> (Option<Next>, usize) {
        let settings = self.local().settings();
        let limits = HeadLimits {
            line: settings.request_line,
            head: settings.request_head,
            fields: settings.request_fields,
        };
        let scheme = match self.client.is_tls() {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        let start = leading_crlf(data);
        let local = std::rc::Rc::clone(self.local());
        let mut fields = local.fields.borrow_mut();
        if self.scanner.is_fresh() {
            let data = data.get(start..).unwrap_or_default();
            if let Some(request) = parse_whole_request(scheme, data, &limits, &mut fields) {
                let used = start + request.head_length();
                let rest = data.get(request.head_length()..).unwrap_or_default();
                return match self.prepare(&request, rest, &local, &settings) {
                    Ok((next, of_body)) => (Some(next), used + of_body),
                    Err(refusal) => (Some(self.refuse_for(refusal, data)), start + data.len()),
                };
            }
        }
        let length = match self
            .scanner
            .scan(data.get(start..).unwrap_or_default(), &limits)
        {
            Ok(Some(length)) => length,
            Ok(None) => {
                let line = self
                    .scanner
                    .first_line(data.get(start..).unwrap_or_default());
                return match line.map(check_request_line) {
                    // Judged at once: one who speaks HTTP/0.9 sends a line and waits.
                    Some(Err(refusal)) => (Some(self.refuse_for(refusal, data)), data.len()),
                    _ => (None, 0),
                };
            }
            Err(error) => {
                return (
                    Some(self.refuse_for(Refusal::from(error), data)),
                    data.len(),
                );
            }
        };
        let (head, rest) = data
            .get(start..)
            .unwrap_or_default()
            .split_at_checked(length)
            .unwrap_or_default();
        let request = parse_request_over(scheme, head, &mut fields);
        match request.and_then(|request| self.prepare(&request, rest, &local, &settings)) {
            Ok((next, used)) => (Some(next), start + length + used),
            Err(refusal) => (Some(self.refuse_for(refusal, data)), data.len()),
        }
    }

    /// Decides what is done about a request.
    ///
    /// # Errors
    /// [`Refusal`] of what is no request that this gateway takes.
    fn prepare(
        &mut self,
        request: &Request<'_>,
        rest: &[u8],
        local: &Local,
        settings: &HttpSettings,
    ) -> Result<Done, Refusal> {
        let id = match request.request_id {
            Some(id) => RequestId::from_slice(id),
            None => RequestId::from_slice(&local.request_id()),
        };
        let mut body = Body::announced(request, settings.request_body)?;
        let mut log = self.log(|| Seen::request(request), &id, request.head_length());
        // After an answer of the gateway's own nobody reads the body.
        let keeps = request.keep_alive && body.is_complete();
        if request.max_forwards == Some(0) {
            let answer = GatewayAnswer::as_the_target(request, keeps, &local.date()).logged(log);
            return Ok((Next::Answer(Box::new(answer)), 0));
        }
        let (target, port, default_host) = self.cell.with(|listener| {
            let default_host = match request.authority.is_empty() {
                true => listener.addr.to_string(),
                false => String::new(),
            };
            let target = target(listener, request, local);
            (target, listener.addr.port(), default_host)
        });
        let (pool, name) = match target {
            Ok(target) => target,
            Err(instead) => {
                let answer = GatewayAnswer::instead(instead, id, request, keeps).logged(log);
                return Ok((Next::Answer(Box::new(answer)), 0));
            }
        };
        let mut out = local.buffer();
        let traced = traced(settings.tracing, request, &id, local);
        if let (Some(log), Some(traced)) = (&mut log, &traced) {
            log.belongs_to_trace(traced.context);
        }
        let additions = RequestAdditions {
            client: self.peer.ip(),
            port,
            https: self.client.is_tls(),
            client_certificate: self.client.certificate_fields(),
            request_id: &id,
            http2: false,
            default_host: default_host.as_bytes(),
            trace: traced.as_ref().map(Traced::addition),
            via: settings.via,
            session_cookie: Some(settings.session_cookie.as_bytes()),
        };
        write_request(request, &additions, &mut out);
        let head_length = out.len();
        let used = match body.reframe(rest, &mut out) {
            Ok(used) => used,
            Err(fault) => {
                let id = RequestId::from_slice(&local.request_id());
                let mut answer = GatewayAnswer::refusal(fault.status(), fault.why(), id, false);
                answer.reason = Reason::BadBody;
                let answer = answer.logged(log);
                return Ok((Next::Answer(Box::new(answer)), rest.len()));
            }
        };
        if let Some(log) = &mut log {
            log.received(used as u64);
            log.belongs_to(pool.key(), name);
        }
        let order = Order {
            body_has_begun: out.len() > head_length,
            out,
            body,
            has_been_sent: false,
            is_spent: false,
            sticky: Sticky::of(request, &pool, local, &settings.session_cookie),
            pool,
            may_share_backend: request.may_share_backend(),
            started: local.now(),
            answer_to: request.answer_to(),
            is_idempotent: request.method.is_idempotent(),
            keep_alive: request.keep_alive,
            expects_continue: request.expects_continue,
            set_cookie: None,
            status: None,
            reason: Reason::None,
            log,
            id,
        };
        Ok((Next::Order(Box::new(order)), used))
    }

    fn refuse_for(&mut self, refusal: Refusal, data: &[u8]) -> Next {
        tracing::debug!(peer = %self.peer, %refusal, "request refused");
        let is_head = data.trim_ascii_start().starts_with(b"HEAD ");
        let (status, why) = (refusal.status(), refusal.reason());
        self.refuse(status, why, is_head, data, Reason::BadRequest)
    }
}

/// Where a request goes and is counted, and the number of its rule's name.
///
/// # Errors
/// What is done instead when there is no such place, or another address is.
pub(crate) fn target(
    listener: &Listener,
    request: &Request<'_>,
    local: &Local,
) -> Result<(Arc<Pool>, u32), Instead> {
    let router = match &listener.service {
        Target::Pool(pool) => return Ok((Arc::clone(pool), 0)),
        Target::Rules(router) => router,
    };
    // OPTIONS * asks about the host as a whole (RFC 9110 9.3.7).
    let path = match request.path {
        b"*" => b"/",
        path => path,
    };
    let mut scratch = local.routing.borrow_mut();
    match router.route_visiting(request.host, path, &mut scratch, prefetch) {
        Ok(route) => match route.value {
            Routed::To(pool, name, _) => {
                // Before the count of the `Arc`, which the processor waits for.
                pool.visit_choice(local.worker(), prefetch);
                Ok((Arc::clone(pool), *name))
            }
            Routed::Away(rule) => Err(Instead::Redirect(Arc::clone(rule))),
        },
        Err(RouteError::BadHost(_) | RouteError::BadPath(_)) => Err(Instead::Status(400)),
        Err(RouteError::NoDomain | RouteError::NoLocation) => Err(Instead::Status(404)),
        Err(error) => {
            if local.board().routing_log.pass(local.now_ms(), LOG_EVERY_MS) {
                tracing::warn!(listener = %listener.id, %error, "routing gave up");
            }
            Err(Instead::Status(500))
        }
    }
}
