//! The tasks of one connection's streams.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;
use tokio::task::{AbortHandle, spawn_local};

use super::stream::Done;

/// Streams that are aborted in one turn: each may close a connection to a backend that is in the
/// middle of its answer, see [`Closing`](crate::closing::Closing).
const ABORTED_PER_TURN: usize = 4;

/// The tasks of one connection's streams, aborted when this is dropped.
///
/// What tokio's `JoinSet` is, without the list of those that are ready, for which it has a lock and
/// a waker for each task: all that anybody asks is how many there are and how they ended.
#[derive(Debug, Default)]
pub(super) struct Tasks(Rc<Running>);

#[derive(Debug, Default)]
struct Running {
    /// `None` until the task is there.
    handles: RefCell<Slab<Option<AbortHandle>>>,
    /// Streams that were cancelled, less those that came to another end.
    cancelled: Cell<u32>,
    /// The connection's task.
    connection: RefCell<Option<Waker>>,
}

/// A stream's place among the tasks, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    running: Rc<Running>,
    key: usize,
    done: Option<Done>,
}

impl Tasks {
    /// Starts a task for the stream that `serve` makes of its place.
    pub(super) fn spawn<F: Future<Output = ()> + 'static>(&self, serve: impl FnOnce(Place) -> F) {
        let key = self.0.handles.borrow_mut().insert(None);
        let place = Place {
            running: Rc::clone(&self.0),
            key,
            done: None,
        };
        // Boxed: the runtime moves a task's future eight times between its beginning and its end,
        // and a stream's has almost two KiB. The space first, so that it is made there.
        let space = Box::new_uninit();
        let future = Box::into_pin(Box::write(space, serve(place)));
        let handle = spawn_local(future).abort_handle();
        if let Some(slot) = self.0.handles.borrow_mut().get_mut(key) {
            *slot = Some(handle);
        }
    }

    /// From now on the task of `cx` is woken when a stream ends.
    pub(super) fn wake(&self, cx: &Context<'_>) {
        let mut connection = self.0.connection.borrow_mut();
        if !connection
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *connection = Some(cx.waker().clone());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.handles.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Streams that were cancelled, less those that came to another end.
    pub(super) fn cancelled(&self) -> u32 {
        self.0.cancelled.get()
    }

    /// Aborts as many as may cost one turn; they end when the runtime comes to them.
    pub(super) fn abort_some(&self) {
        self.abort(ABORTED_PER_TURN);
    }

    fn abort(&self, limit: usize) {
        for (_, handle) in self.0.handles.borrow().iter().take(limit) {
            if let Some(handle) = handle {
                handle.abort();
            }
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.abort(usize::MAX);
    }
}

impl Place {
    /// The stream's task.
    pub(super) fn task(&self) -> Option<AbortHandle> {
        self.running
            .handles
            .borrow()
            .get(self.key)
            .cloned()
            .flatten()
    }

    /// Says how the stream has ended. One that does not say it was aborted.
    pub(super) fn ended(&mut self, done: Done) {
        self.done = Some(done);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let running = &self.running;
        running.handles.borrow_mut().try_remove(self.key);
        let cancelled = running.cancelled.get();
        running.cancelled.set(match self.done {
            Some(Done::Cancelled) => cancelled.saturating_add(1),
            // An abort was the end of a member's drain.
            _ => cancelled.saturating_sub(1),
        });
        if let Some(connection) = &*running.connection.borrow() {
            connection.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    use tokio::task::LocalSet;

    use super::*;

    /// Waits as a connection does.
    async fn until(tasks: &Tasks, is_so: impl Fn(&Tasks) -> bool) {
        poll_fn(|cx| {
            tasks.wake(cx);
            match is_so(tasks) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn ending(tasks: &Tasks, done: Done) {
        tasks.spawn(|mut place| async move {
            assert!(place.task().is_some(), "its own task");
            place.ended(done);
        });
    }

    #[tokio::test]
    async fn the_connection_is_woken_when_a_stream_ends() {
        let work = async {
            let tasks = Tasks::default();
            for _ in 0..3 {
                ending(&tasks, Done::Cancelled);
            }
            ending(&tasks, Done::Answered);
            assert_eq!((tasks.len(), tasks.is_empty()), (4, false));
            until(&tasks, Tasks::is_empty).await;
            assert_eq!(tasks.cancelled(), 2);
            for _ in 0..5 {
                ending(&tasks, Done::Cut);
            }
            until(&tasks, Tasks::is_empty).await;
            assert_eq!(tasks.cancelled(), 0);
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn one_that_is_aborted_or_panics_has_ended() {
        let work = async {
            let tasks = Tasks::default();
            ending(&tasks, Done::Cancelled);
            tasks.spawn(|place| async move {
                assert!(place.task().is_none(), "a panic that the test wants");
            });
            until(&tasks, Tasks::is_empty).await;
            assert_eq!(tasks.cancelled(), 0);
            tasks.spawn(|place| async move {
                pending::<()>().await;
                drop(place);
            });
            tokio::task::yield_now().await;
            tasks.abort_some();
            until(&tasks, Tasks::is_empty).await;
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn no_more_are_aborted_in_one_turn_than_it_may_cost() {
        let work = async {
            let tasks = Tasks::default();
            for _ in 0..ABORTED_PER_TURN + 1 {
                tasks.spawn(|place| async move {
                    pending::<()>().await;
                    drop(place);
                });
            }
            tokio::task::yield_now().await;
            tasks.abort_some();
            tokio::task::yield_now().await;
            assert_eq!(tasks.len(), 1);
            tasks.abort_some();
            until(&tasks, Tasks::is_empty).await;
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn they_end_with_their_connection() {
        let work = async {
            let alive = Rc::new(());
            let tasks = Tasks::default();
            for _ in 0..3 {
                let alive = Rc::clone(&alive);
                tasks.spawn(|place| async move {
                    pending::<()>().await;
                    drop((place, alive));
                });
            }
            tokio::task::yield_now().await;
            assert_eq!(Rc::strong_count(&alive), 4);
            drop(tasks);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(Rc::strong_count(&alive), 1);
        };
        LocalSet::new().run_until(work).await;
    }
}
