//! Backend connections that wait for their next request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::local::Local;

/// Connections that are kept to one backend on one worker; more are closed after their answer.
const KEPT_PER_BACKEND: usize = 512;

/// How often the kept connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections that one worker keeps, by the backend's address: all pools that have it use the
/// same ones, or ten thousand rules before one machine would keep a connection each.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    backends: RefCell<HashMap<SocketAddr, Vec<Kept>, FixedState>>,
    is_swept: Cell<bool>,
}

#[derive(Debug)]
struct Kept {
    stream: TcpStream,
    since: Instant,
}

impl Kept {
    /// It may be used: it is younger than `keep`, and neither octets nor the end have come.
    fn is_good(&self, keep: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < keep && is_silent(&self.stream)
    }
}

impl Idle {
    /// A connection to the backend that is younger than `keep` and silent so far. Of several the
    /// one used last: it has the best chance to be still open. Those that were not are `dismissed`.
    pub(crate) fn take(
        &self,
        backend: SocketAddr,
        keep: Duration,
        now: Instant,
        mut dismissed: impl FnMut(TcpStream),
    ) -> Option<TcpStream> {
        let mut backends = self.backends.borrow_mut();
        let kept = backends.get_mut(&backend)?;
        while let Some(last) = kept.pop() {
            if last.is_good(keep, now) {
                return Some(last.stream);
            }
            dismissed(last.stream);
        }
        None
    }

    /// Keeps a connection whose last answer ended in order.
    pub(crate) fn put(&self, backend: SocketAddr, stream: TcpStream, since: Instant) {
        let mut backends = self.backends.borrow_mut();
        let kept = backends.entry(backend).or_default();
        if kept.len() < KEPT_PER_BACKEND {
            kept.push(Kept { stream, since });
        }
    }

    /// Connections that are kept now.
    pub(crate) fn len(&self) -> usize {
        self.backends.borrow().values().map(Vec::len).sum()
    }

    /// What may not be used is `dismissed`.
    fn sweep(&self, keep: Duration, mut dismissed: impl FnMut(TcpStream)) {
        let now = Instant::now();
        self.backends.borrow_mut().retain(|_, kept| {
            for kept in kept.extract_if(.., |kept| !kept.is_good(keep, now)) {
                dismissed(kept.stream);
            }
            !kept.is_empty()
        });
    }
}

impl Local {
    /// Keeps a connection and sees to it that it is closed when it is not used.
    pub(crate) fn keep(self: &Rc<Self>, backend: SocketAddr, stream: TcpStream) {
        self.idle.put(backend, stream, self.now());
        if !self.idle.is_swept.replace(true) {
            let local = Rc::clone(self);
            tokio::task::spawn_local(async move {
                while local.idle.len() > 0 {
                    tokio::time::sleep(SWEEP).await;
                    let keep = local.board().settings().http.backend_keepalive;
                    local.idle.sweep(keep, |stream| local.close(stream));
                }
                local.idle.is_swept.set(false);
            });
        }
    }
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

    async fn pair() -> (SocketAddr, TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = listener.local_addr().unwrap();
        let ours = TcpStream::connect(backend).await.unwrap();
        (backend, ours, listener.accept().unwrap().0)
    }

    #[tokio::test]
    async fn the_connection_used_last_is_used_next_and_only_for_its_backend() {
        let idle = Idle::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = listener.local_addr().unwrap();
        let (other, _stream, _end) = pair().await;
        let mut ends = Vec::new();
        let mut last = None;
        for _ in 0..2 {
            let stream = TcpStream::connect(backend).await.unwrap();
            last = stream.local_addr().ok();
            idle.put(backend, stream, Instant::now());
            ends.push(listener.accept().unwrap());
        }
        assert!(idle.take(other, KEEP, Instant::now(), drop).is_none());
        assert_eq!(
            idle.take(backend, KEEP, Instant::now(), drop)
                .unwrap()
                .local_addr()
                .ok(),
            last
        );
        assert_eq!(idle.len(), 1);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_spoke_unasked_is_not_used() {
        let idle = Idle::default();
        let ((backend, closed, end), (_, spoke, mut speaker)) = (pair().await, pair().await);
        drop(end);
        speaker.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        for stream in [&closed, &spoke] {
            stream.readable().await.unwrap();
        }
        idle.put(backend, closed, Instant::now());
        idle.put(backend, spoke, Instant::now());
        assert!(idle.take(backend, KEEP, Instant::now(), drop).is_none());
        assert_eq!(idle.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn old_ones_are_closed() {
        let idle = Idle::default();
        let (backend, old, _end) = pair().await;
        idle.put(backend, old, Instant::now());
        idle.sweep(KEEP, drop);
        assert_eq!(idle.len(), 1);
        tokio::time::advance(KEEP).await;
        idle.sweep(KEEP, drop);
        assert_eq!(idle.len(), 0);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_kept() {
        let idle = Idle::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = listener.local_addr().unwrap();
        for _ in 0..KEPT_PER_BACKEND + 1 {
            idle.put(
                backend,
                TcpStream::connect(backend).await.unwrap(),
                Instant::now(),
            );
            listener.accept().unwrap();
        }
        assert_eq!(idle.len(), KEPT_PER_BACKEND);
    }
}
