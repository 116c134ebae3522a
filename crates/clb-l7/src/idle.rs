//! Backend connections that wait for their next request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use clb_snapshot::MemberLive;
use foldhash::fast::FixedState;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::local::Local;

/// Connections that are kept for one member on one worker; more are closed after their answer.
const KEPT_PER_MEMBER: usize = 512;

/// How often the kept connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections that one worker keeps, by member, so that none is ever used for another.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    members: RefCell<HashMap<usize, Kept, FixedState>>,
    is_swept: Cell<bool>,
}

#[derive(Debug)]
struct Kept {
    /// Whose they are. Held, so that no other member's state comes to lie at its address.
    live: Arc<MemberLive>,
    /// The one used last is at the end, and is used next: it has the best chance to be still open.
    connections: Vec<(TcpStream, Instant)>,
}

impl Idle {
    /// A connection that was kept for the member, younger than `keep` and silent so far.
    pub(crate) fn take(&self, live: &Arc<MemberLive>, keep: Duration) -> Option<TcpStream> {
        let mut members = self.members.borrow_mut();
        let kept = members.get_mut(&address(live))?;
        while let Some((stream, since)) = kept.connections.pop() {
            if since.elapsed() < keep && is_silent(&stream) {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection whose last answer ended in order.
    pub(crate) fn put(&self, live: &Arc<MemberLive>, stream: TcpStream) {
        let mut members = self.members.borrow_mut();
        let kept = members.entry(address(live)).or_insert_with(|| Kept {
            live: Arc::clone(live),
            connections: Vec::new(),
        });
        if kept.connections.len() < KEPT_PER_MEMBER {
            kept.connections.push((stream, Instant::now()));
        }
    }

    /// Connections that are kept now.
    pub(crate) fn len(&self) -> usize {
        let members = self.members.borrow();
        members.values().map(|kept| kept.connections.len()).sum()
    }

    /// Closes what is too old, what the backend has closed or spoken on without being asked, and
    /// all of members that are no more.
    fn sweep(&self, keep: Duration) {
        self.members.borrow_mut().retain(|_, kept| {
            // Only this entry still knows the member: its binding is gone.
            if Arc::strong_count(&kept.live) == 1 {
                return false;
            }
            kept.connections
                .retain(|(stream, since)| since.elapsed() < keep && is_silent(stream));
            !kept.connections.is_empty()
        });
    }
}

impl Local {
    /// Keeps a connection and sees to it that it is closed when it is not used.
    pub(crate) fn keep(self: &Rc<Self>, live: &Arc<MemberLive>, stream: TcpStream) {
        self.idle.put(live, stream);
        if !self.idle.is_swept.replace(true) {
            let local = Rc::clone(self);
            tokio::task::spawn_local(async move {
                while local.idle.len() > 0 {
                    tokio::time::sleep(SWEEP).await;
                    let keep = local.board().settings().http.backend_keepalive;
                    local.idle.sweep(keep);
                }
                local.idle.is_swept.set(false);
            });
        }
    }
}

fn address(live: &Arc<MemberLive>) -> usize {
    Arc::as_ptr(live).addr()
}

/// Nothing has come on the connection, neither octets nor its end.
fn is_silent(stream: &TcpStream) -> bool {
    stream
        .poll_read_ready(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::TcpListener;

    const KEEP: Duration = Duration::from_secs(60);

    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        (ours.unwrap(), listener.accept().unwrap().0)
    }

    #[tokio::test]
    async fn the_connection_used_last_is_used_next_and_only_for_its_member() {
        let idle = Idle::default();
        let (live, other) = (Arc::new(MemberLive::new(1)), Arc::new(MemberLive::new(1)));
        let ((first, _first), (second, _second)) = (pair().await, pair().await);
        let last = second.local_addr().unwrap();
        idle.put(&live, first);
        idle.put(&live, second);
        assert!(idle.take(&other, KEEP).is_none());
        assert_eq!(idle.take(&live, KEEP).unwrap().local_addr().unwrap(), last);
        assert_eq!(idle.len(), 1);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_spoke_unasked_is_not_used() {
        let idle = Idle::default();
        let live = Arc::new(MemberLive::new(1));
        let ((closed, backend), (spoke, mut speaker)) = (pair().await, pair().await);
        drop(backend);
        speaker.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        for stream in [&closed, &spoke] {
            stream.readable().await.unwrap();
        }
        idle.put(&live, closed);
        idle.put(&live, spoke);
        assert!(idle.take(&live, KEEP).is_none());
        assert_eq!(idle.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn old_ones_and_those_of_removed_members_are_closed() {
        let idle = Idle::default();
        let (live, removed) = (Arc::new(MemberLive::new(1)), Arc::new(MemberLive::new(1)));
        let ((old, _old), (orphan, _orphan)) = (pair().await, pair().await);
        idle.put(&removed, orphan);
        drop(removed);
        idle.put(&live, old);
        idle.sweep(KEEP);
        assert_eq!(idle.len(), 1);
        tokio::time::advance(KEEP).await;
        idle.sweep(KEEP);
        assert_eq!(idle.len(), 0);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_kept() {
        let idle = Idle::default();
        let live = Arc::new(MemberLive::new(1));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..KEPT_PER_MEMBER + 1 {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
            idle.put(&live, stream.unwrap());
            listener.accept().unwrap();
        }
        assert_eq!(idle.len(), KEPT_PER_MEMBER);
    }
}
