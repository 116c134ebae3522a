//! The request rate of each key: a token bucket that holds one second's worth of requests.

use std::collections::HashMap;
use std::sync::Arc;

/// Tokens are counted in thousandths, so that a millisecond at rate r adds exactly r of them.
const ONE_REQUEST: u64 = 1000;

#[derive(Debug)]
struct Bucket {
    level: u64,
    filled_at_ms: u64,
}

/// One bucket per key that was ever admitted; keys are few and configured, so this is bounded.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    buckets: HashMap<Arc<str>, Bucket>,
}

impl RateLimiter {
    /// Takes one request of `key` at the rate of `per_second` (0: no limit); false when the rate
    /// is passed.
    pub(crate) fn take(&mut self, key: &Arc<str>, per_second: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let rate = u64::from(per_second);
        let full = rate * ONE_REQUEST;
        let bucket = self.buckets.entry(Arc::clone(key)).or_insert(Bucket {
            level: full,
            filled_at_ms: now_ms,
        });
        // A clock that was set back adds nothing and starts counting from there.
        let elapsed = now_ms.saturating_sub(bucket.filled_at_ms);
        bucket.level = bucket
            .level
            .saturating_add(elapsed.saturating_mul(rate))
            .min(full);
        bucket.filled_at_ms = now_ms;
        match bucket.level.checked_sub(ONE_REQUEST) {
            Some(rest) => {
                bucket.level = rest;
                true
            }
            None => false,
        }
    }

    /// Forgets the keys that are no longer configured.
    pub(crate) fn retain(&mut self, is_configured: impl Fn(&str) -> bool) {
        self.buckets.retain(|key, _| is_configured(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate_holds() {
        let mut limiter = RateLimiter::default();
        let key = key("a");
        let passed = (0..10).filter(|_| limiter.take(&key, 5, 1_000)).count();
        assert_eq!(passed, 5);
        assert!(!limiter.take(&key, 5, 1_199));
        assert!(limiter.take(&key, 5, 1_200));
        assert!(!limiter.take(&key, 5, 1_200));
    }

    #[test]
    fn keys_do_not_share_a_bucket() {
        let mut limiter = RateLimiter::default();
        assert!(limiter.take(&key("a"), 1, 0));
        assert!(!limiter.take(&key("a"), 1, 0));
        assert!(limiter.take(&key("b"), 1, 0));
    }

    #[test]
    fn zero_is_no_limit() {
        let mut limiter = RateLimiter::default();
        assert!((0..10_000).all(|_| limiter.take(&key("a"), 0, 0)));
    }

    #[test]
    fn a_clock_that_is_set_back_neither_fills_nor_blocks_the_bucket() {
        let mut limiter = RateLimiter::default();
        let key = key("a");
        assert!(limiter.take(&key, 1, 10_000));
        assert!(!limiter.take(&key, 1, 5_000));
        assert!(limiter.take(&key, 1, 6_000));
    }

    proptest! {
        #[test]
        fn no_span_passes_more_than_its_share_and_one_burst(
            rate in 1u32..50,
            steps in proptest::collection::vec(0u64..200, 1..300),
        ) {
            let mut limiter = RateLimiter::default();
            let key = key("a");
            let (mut now, mut passed) = (0u64, 0u64);
            for step in steps {
                now += step;
                passed += u64::from(limiter.take(&key, rate, now));
                prop_assert!(passed * 1000 <= now * u64::from(rate) + u64::from(rate) * 1000);
            }
        }
    }
}
