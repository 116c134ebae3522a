//! The end of a turn of the worker's loop.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

/// Lets a task wait until the others that are ready have had their turn, whoever wakes it
/// meanwhile.
#[derive(Debug, Default)]
pub(super) struct EndOfTurn {
    bell: Option<(Arc<Bell>, Waker)>,
    is_awaited: bool,
}

#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

impl EndOfTurn {
    /// Ready once for each end of a turn that was waited for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (bell, waker) = self.bell.get_or_insert_with(|| {
            let bell = Arc::new(Bell {
                has_rung: AtomicBool::new(false),
                // A spawned task has one waker as long as it lives.
                task: cx.waker().clone(),
            });
            (Arc::clone(&bell), bell.into())
        });
        if self.is_awaited {
            if !bell.has_rung.swap(false, Ordering::Relaxed) {
                return Poll::Pending;
            }
            self.is_awaited = false;
            return Poll::Ready(());
        }
        self.is_awaited = true;
        // The runtime keeps the waker until it has polled what is ready and looked for events.
        let _ = pin!(yield_now()).poll(&mut Context::from_waker(waker));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn what_is_ready_comes_first() {
        let done = Rc::new(Cell::new(0));
        let others = Rc::clone(&done);
        let local = LocalSet::new();
        let waits = async move {
            let mut turn = EndOfTurn::default();
            let mut seen = Vec::new();
            for _ in 0..3 {
                for _ in 0..5 {
                    let done = Rc::clone(&done);
                    spawn_local(async move { done.set(done.get() + 1) });
                }
                // Woken by others too, as a connection is by its streams.
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    turn.poll(cx)
                })
                .await;
                seen.push(done.get());
            }
            seen
        };
        assert_eq!(local.run_until(waits).await, [5, 10, 15]);
        assert_eq!(others.get(), 15);
    }
}
