//! The life of a connection: request, answer, and what becomes of it then.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};

use clb_l4::io::Stream as _;
use clb_snapshot::{Admission, FinishedRequest};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::{Connection, Next, reset};
use crate::answer::GatewayAnswer;
use crate::exchange::{Asker, Outcome, exchange};
use crate::forward::{End, Forward};
use crate::local::Local;
use crate::order::Order;

/// Serves a client. Dropping the future closes both sides.
pub(crate) async fn serve(mut connection: Connection) {
    connection.local().tick();
    let mut patience = connection.local().settings().client_header;
    loop {
        let outcome = match connection.next(patience).await {
            Next::End => return connection.client.close(),
            Next::Gone => Outcome::Reset,
            Next::Answer(answer) => {
                connection.count(&answer);
                Box::pin(connection.answer(*answer)).await
            }
            Next::Order(order) => {
                // The place first: else the future is made elsewhere and copied, a KiB each time.
                let place = Box::new_uninit();
                Box::into_pin(Box::write(place, carry_out(&mut connection, order))).await
            }
        };
        match outcome {
            Outcome::Keep => patience = connection.local().settings().client_keepalive,
            Outcome::Close => return connection.client.close(),
            Outcome::Linger => return Box::pin(connection.linger()).await,
            Outcome::Reset => return reset(connection.client.socket()),
            Outcome::Cut(rest) => {
                return match Box::pin(connection.send(&rest)).await {
                    Ok(()) => connection.client.close(),
                    Err(_) => reset(connection.client.socket()),
                };
            }
            Outcome::Tunnel(tunnel) => return Box::pin(connection.tunnel(*tunnel)).await,
        }
    }
}

/// Carries a request out, to the client's answer.
async fn carry_out(connection: &mut Connection, mut order: Box<Order>) -> Outcome {
    let outcome = exchange(connection, &mut order).await;
    let local = Rc::clone(connection.local());
    local.give_back(std::mem::take(&mut order.out));
    let mut finished = FinishedRequest {
        status: order.status,
        is_gateways: false,
        took: local.now().saturating_duration_since(order.started),
    };
    let mut outcome = match outcome {
        Ok(outcome) => outcome,
        Err(status) => {
            finished.status = Some(status);
            finished.is_gateways = true;
            let answer = GatewayAnswer::to_order(status, &mut order);
            Box::pin(connection.answer(answer)).await
        }
    };
    order.pool.requests().record(local.worker(), &finished);
    order.end(matches!(outcome, Outcome::Tunnel(_)));
    if let Outcome::Tunnel(tunnel) = &mut outcome {
        tunnel.order = Some(order);
    }
    outcome
}

impl Asker for Connection {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn is_tls(&self) -> bool {
        self.client.is_tls()
    }

    fn local(&self) -> &Rc<Local> {
        Connection::local(self)
    }

    fn task(&self) -> Option<AbortHandle> {
        self.admission.task()
    }

    async fn forward(
        &mut self,
        order: &mut Order,
        local: &Rc<Local>,
        backend: &TcpStream,
        member: &Admission,
    ) -> (End, Vec<u8>) {
        let settings = local.settings();
        let service = Rc::clone(self.service());
        let is_last = || service.is_draining();
        let Self {
            client,
            received,
            timers,
            admission,
            ..
        } = self;
        let mut forward = Forward::new(
            client,
            backend,
            order,
            received,
            timers,
            local,
            &settings,
            (admission, member),
            &is_last,
        );
        // Nobody has waited before the first turn.
        let mut has_waited = false;
        let end = poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                local.tick();
            }
            forward.poll(cx)
        })
        .await;
        (end, forward.finish())
    }

    fn has_unread(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.received.is_empty()
            || self.client.socket().poll_read_ready(&mut cx).is_ready()
                && clb_net::peek(self.client.socket()).is_ok_and(|length| length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's future is, without making one.
    fn size_of_future<'a, F>(_: fn(&'a mut Connection, Box<Order>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_in_flight_stays_small() {
        // Up to here the allocator keeps freed memory at hand for the next request; without
        // optimisation the compiler keeps more.
        let limit = if cfg!(debug_assertions) { 2_048 } else { 1_024 };
        let size = size_of_future(carry_out);
        assert!(size <= limit, "{size}");
    }
}
