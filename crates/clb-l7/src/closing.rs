//! Closing backend connections a few at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::task::{spawn_local, yield_now};

use crate::local::Local;

/// Connections that are closed in one turn, if not many wait. Measured: one with an answer under way
/// costs 70 µs, since the reset frees what the peer has queued and wakes it. A client that leaves a
/// hundred streams must not keep the worker's other connections waiting for so long.
const CLOSED_PER_TURN: usize = 4;
/// Of many that wait, this part is closed in one turn, so that their number stays bounded.
const PART_PER_TURN: usize = 16;

/// Connections that wait for being closed.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    waiting: RefCell<VecDeque<TcpStream>>,
    is_emptied: Cell<bool>,
}

impl Closing {
    fn close_some(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let due = CLOSED_PER_TURN.max(waiting.len() / PART_PER_TURN);
        let due = due.min(waiting.len());
        waiting.drain(..due);
    }

    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }
}

impl Local {
    /// Closes a connection that is of no more use, when others have had their turn.
    pub(crate) fn close(self: &Rc<Self>, stream: TcpStream) {
        self.closing.waiting.borrow_mut().push_back(stream);
        if !self.closing.is_emptied.replace(true) {
            let local = Rc::clone(self);
            spawn_local(async move {
                loop {
                    local.closing.close_some();
                    if local.closing.is_empty() {
                        break;
                    }
                    yield_now().await;
                }
                local.closing.is_emptied.set(false);
            });
        }
    }

    /// The same without goodbye: whatever the backend still does is for nobody.
    pub(crate) fn give_up(self: &Rc<Self>, stream: TcpStream) {
        let _ = clb_net::set_linger_zero(&stream);
        self.close(stream);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};

    use super::*;

    #[tokio::test]
    async fn a_few_are_closed_at_a_time_and_of_many_a_part() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closing = Closing::default();
        let mut peers = Vec::new();
        for _ in 0..130 {
            let stream = TcpStream::connect(address).await.unwrap();
            closing.waiting.borrow_mut().push_back(stream);
            let (peer, _) = listener.accept().unwrap();
            peer.set_nonblocking(true).unwrap();
            peers.push(peer);
        }
        let open = || {
            let is_open = |mut peer: &std::net::TcpStream| {
                let read = peer.read(&mut [0]);
                read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            };
            peers.iter().filter(|peer| is_open(peer)).count()
        };
        let mut left = 130;
        for closed in [8, 7, 7, 6] {
            closing.close_some();
            left -= closed;
            assert_eq!((open(), closing.waiting.borrow().len()), (left, left));
        }
        while left > 0 {
            closing.close_some();
            assert!(left - open() >= 4.min(left), "{left} -> {}", open());
            left = open();
        }
        assert!(closing.is_empty());
        closing.close_some();
    }
}
