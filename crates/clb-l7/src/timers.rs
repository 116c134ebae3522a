//! What one connection waits for, with one timer of the runtime.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// What has taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The client sends nothing.
    ClientRead,
    /// The client takes nothing.
    ClientWrite,
    /// The backend sends nothing.
    BackendRead,
    /// The backend takes nothing.
    BackendWrite,
}

const ALL: [Wait; 4] = [
    Wait::ClientRead,
    Wait::ClientWrite,
    Wait::BackendRead,
    Wait::BackendWrite,
];

/// The deadlines of one connection.
///
/// They move with every request, but the runtime's timer only moves when a deadline comes before
/// it: when it fires early, it is set to the next deadline. So a busy connection pays for it once
/// in a timeout, not once in a request.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: [Option<Instant>; ALL.len()],
    sleep: Option<Pin<Box<Sleep>>>,
    /// The timer knows this task.
    is_registered: bool,
}

impl Timers {
    /// With the runtime's timer that others have [left](Self::leave), if there is one. It may still
    /// be set to another time and know another task, which [`poll_overdue`](Self::poll_overdue) sees
    /// to: making one anew costs more than all else here.
    pub(crate) fn with(sleep: Option<Pin<Box<Sleep>>>) -> Self {
        Self {
            sleep,
            ..Self::default()
        }
    }

    /// The runtime's timer, for others.
    pub(crate) fn leave(self) -> Option<Pin<Box<Sleep>>> {
        self.sleep
    }

    /// Sets a deadline; `None`, a time beyond what the clock can express, is never.
    pub(crate) fn set(&mut self, wait: Wait, due: Option<Instant>) {
        if let Some(slot) = self.due.get_mut(wait as usize) {
            *slot = due;
        }
    }

    /// Brings a deadline forward; one that comes earlier stays.
    pub(crate) fn advance(&mut self, wait: Wait, due: Option<Instant>) {
        if let Some(slot) = self.due.get_mut(wait as usize) {
            *slot = match (*slot, due) {
                (Some(old), Some(new)) => Some(old.min(new)),
                (old, new) => old.or(new),
            };
        }
    }

    /// Nothing is waited for on this side any more.
    pub(crate) fn clear(&mut self, wait: Wait) {
        self.set(wait, None);
    }

    /// Nothing is waited for.
    pub(crate) fn clear_all(&mut self) {
        self.due = Default::default();
    }

    /// Whether this deadline is set.
    pub(crate) fn is_set(&self, wait: Wait) -> bool {
        self.due.get(wait as usize).is_some_and(Option::is_some)
    }

    /// Ready with what is overdue; else the task is woken at the next deadline. To be called by
    /// one task only.
    pub(crate) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        let next = self
            .due
            .iter()
            .zip(ALL)
            .filter_map(|(due, wait)| Some(((*due)?, wait)));
        let Some((due, wait)) = next.min_by_key(|&(due, _)| due) else {
            return Poll::Pending;
        };
        loop {
            let Some(sleep) = &mut self.sleep else {
                self.sleep = Some(Box::pin(sleep_until(due)));
                self.is_registered = false;
                continue;
            };
            if sleep.deadline() > due {
                sleep.as_mut().reset(due);
                self.is_registered = false;
            }
            let is_elapsed = match self.is_registered {
                true => sleep.is_elapsed(),
                false => sleep.as_mut().poll(cx).is_ready(),
            };
            self.is_registered = true;
            if !is_elapsed {
                return Poll::Pending;
            }
            if sleep.deadline() >= due {
                return Poll::Ready(wait);
            }
            sleep.as_mut().reset(due);
            self.is_registered = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_deadline_fires_at_its_time() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(Wait::ClientRead, start.checked_add(seconds(5)));
        timers.set(Wait::BackendRead, start.checked_add(seconds(3)));
        let wait = poll_fn(|cx| timers.poll_overdue(cx)).await;
        assert_eq!((wait, start.elapsed().as_secs()), (Wait::BackendRead, 3));
        timers.clear(Wait::BackendRead);
        let wait = poll_fn(|cx| timers.poll_overdue(cx)).await;
        assert_eq!((wait, start.elapsed().as_secs()), (Wait::ClientRead, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_on_fires_at_its_last_place() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for second in 0..10 {
            timers.set(Wait::ClientRead, start.checked_add(seconds(second + 5)));
            let mut polled = false;
            poll_fn(|cx| {
                if timers.poll_overdue(cx).is_ready() {
                    return Poll::Ready(Err("too early"));
                }
                match std::mem::replace(&mut polled, true) {
                    true => Poll::Ready(Ok(())),
                    false => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            })
            .await
            .unwrap();
            tokio::time::advance(seconds(1)).await;
        }
        poll_fn(|cx| timers.poll_overdue(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 14);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_moves_the_timer() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(Wait::ClientRead, start.checked_add(seconds(60)));
        let mut polled = false;
        poll_fn(|cx| {
            assert!(timers.poll_overdue(cx).is_pending());
            match std::mem::replace(&mut polled, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
        .await;
        timers.set(Wait::BackendRead, start.checked_add(seconds(2)));
        let wait = poll_fn(|cx| timers.poll_overdue(cx)).await;
        assert_eq!((wait, start.elapsed().as_secs()), (Wait::BackendRead, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_others_left_wakes_its_new_task() {
        // Seconds until: the other's deadline, it is taken over, its new deadline from there.
        for (left, passed, due) in [(5, 0, 9), (5, 0, 2), (5, 5, 3), (5, 8, 3), (60, 1, 1)] {
            let mut others = Timers::default();
            others.set(Wait::ClientRead, Instant::now().checked_add(seconds(left)));
            let polling = async move {
                poll_fn(|cx| Poll::Ready(others.poll_overdue(cx).is_pending())).await;
                others
            };
            let others = tokio::spawn(polling).await.unwrap();
            tokio::time::advance(seconds(passed)).await;
            let start = Instant::now();
            let mut timers = Timers::with(others.leave());
            timers.set(Wait::BackendRead, start.checked_add(seconds(due)));
            let wait = poll_fn(|cx| timers.poll_overdue(cx)).await;
            let told = (wait, start.elapsed().as_secs());
            assert_eq!(told, (Wait::BackendRead, due), "{left} {passed} {due}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_deadlines_nothing_is_overdue() {
        let mut timers = Timers::default();
        timers.set(Wait::ClientWrite, None);
        let polled = poll_fn(|cx| Poll::Ready(timers.poll_overdue(cx).is_pending())).await;
        assert!(polled);
    }
}
