//! When the next request is due.

use std::time::{Duration, Instant};

/// The schedule of a run.
#[derive(Debug)]
pub(crate) enum Pace {
    /// At once, until the end.
    Closed {
        /// No request starts at or after this.
        end: Instant,
    },
    /// Evenly spaced, whether or not the earlier ones are answered.
    Open {
        /// When request 0 is due.
        start: Instant,
        /// Requests a second.
        rate: u32,
        /// The next request.
        next: u64,
        /// How many there are.
        total: u64,
    },
}

impl Pace {
    /// Requests at `rate` a second for `length`.
    pub(crate) fn open(start: Instant, length: Duration, rate: u32) -> Self {
        let total = (length.as_secs_f64() * f64::from(rate)) as u64;
        Self::Open {
            start,
            rate,
            next: 0,
            total,
        }
    }

    /// When the next request is due; `None`: there are no more.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        match *self {
            Self::Closed { end } => (now < end).then_some(now),
            Self::Open {
                start,
                rate,
                next,
                total,
            } => (next < total)
                .then(|| start + Duration::from_secs_f64(next as f64 / f64::from(rate))),
        }
    }

    /// Takes the next request if it is due, and says when it was.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due(now).filter(|due| *due <= now)?;
        if let Self::Open { next, .. } = self {
            *next += 1;
        }
        Some(due)
    }

    /// How many requests were never taken.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Closed { .. } => 0,
            Self::Open { next, total, .. } => total - next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_pace_keeps_its_schedule_however_late_it_is_asked() {
        let start = Instant::now();
        let mut pace = Pace::open(start, Duration::from_millis(10), 1000);
        assert_eq!(pace.left(), 10);
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(start), None, "the second is due 1 ms later");
        let late = start + Duration::from_secs(5);
        for index in 1..10 {
            let due = pace.take(late).unwrap() - start;
            let wanted = Duration::from_millis(index);
            assert!(due.abs_diff(wanted) < Duration::from_micros(1), "{due:?}");
        }
        assert_eq!(pace.take(late), None);
        assert_eq!(pace.left(), 0);
    }

    #[test]
    fn a_closed_pace_is_always_due_until_its_end() {
        let start = Instant::now();
        let end = start + Duration::from_secs(1);
        let mut pace = Pace::Closed { end };
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(end), None);
    }
}
