//! How many reports may come: token buckets, one for a key, one for each of its users.

use crate::limits::{KEY_GUESSES, MAX_RATED_USERS, USER_BURST_S};
use crate::net::household;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// A bucket that holds nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// Seconds until it holds something again.
    pub(crate) retry_after_s: u64,
}

/// A bucket for each user who sent lately, by a hash of the user's id that nobody outside can foresee.
pub(crate) struct UserRates {
    reports_per_second: u32,
    burst: NonZeroU32,
    hasher: RandomState,
    limiter: DefaultKeyedRateLimiter<u64>,
}

impl UserRates {
    pub(crate) fn new(reports_per_second: u32) -> UserRates {
        let rate = NonZeroU32::new(reports_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = rate.saturating_mul(USER_BURST_S);
        let quota = Quota::per_second(rate).allow_burst(burst);
        UserRates { reports_per_second, burst, hasher: RandomState::new(), limiter: RateLimiter::keyed(quota) }
    }

    pub(crate) fn reports_per_second(&self) -> u32 {
        self.reports_per_second
    }

    /// Takes reports of a user, if there are any. A body with more than a whole bucket counts
    /// for a bucket, so that it is slowed down and not refused for ever.
    pub(crate) fn take(&self, user_id: &str, reports: u32) -> Result<(), Exhausted> {
        let Some(reports) = NonZeroU32::new(reports) else { return Ok(()) };
        if self.limiter.len() >= MAX_RATED_USERS {
            self.limiter.retain_recent(); // a bucket that is full again is as good as none
        }
        let user = self.hasher.hash_one(user_id);
        match self.limiter.check_key_n(&user, reports.min(self.burst)) {
            Ok(Err(not_until)) => Err(not_until.into()),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for UserRates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} reports/s and user", self.reports_per_second)
    }
}

/// Unknown keys that a client address (of IPv6 a /64) may try: a mistaken player is told what is wrong, and who goes on is only
/// told to wait. A key that is right is taken all the same, since many players may share the address; what keeps keys from being
/// guessed is their length.
pub(crate) struct Guesses(DefaultKeyedRateLimiter<IpAddr>);

impl Guesses {
    pub(crate) fn new() -> Guesses {
        Guesses(RateLimiter::keyed(Quota::per_second(NonZeroU32::MIN).allow_burst(KEY_GUESSES)))
    }

    /// Counts a guess.
    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Exhausted> {
        if self.0.len() >= MAX_RATED_USERS {
            self.0.retain_recent();
        }
        self.0.check_key(&household(client)).map_err(Exhausted::from)
    }
}

impl From<NotUntil<<DefaultClock as Clock>::Instant>> for Exhausted {
    fn from(not_until: NotUntil<<DefaultClock as Clock>::Instant>) -> Exhausted {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        Exhausted { retry_after_s: wait.as_secs_f64().ceil().max(1.0) as u64 }
    }
}

/// A token bucket in thousandths of a report. It holds two seconds of its rate; a request may overdraw it once, so that
/// a large body is slowed down and not refused for ever.
pub(crate) struct Bucket {
    reports_per_second: i64,
    thousandths: i64,
    filled_at: i64,
}

impl Bucket {
    pub(crate) fn new(reports_per_second: u32) -> Bucket {
        let reports_per_second = i64::from(reports_per_second);
        Bucket { reports_per_second, thousandths: reports_per_second * 2_000, filled_at: 0 }
    }

    pub(crate) fn reports_per_second(&self) -> i64 {
        self.reports_per_second
    }

    pub(crate) fn take(&mut self, reports: usize, now_ms: i64) -> Result<(), Exhausted> {
        // A clock that was set back fills nothing and takes nothing; an hour fills any bucket.
        let elapsed_ms = (now_ms - self.filled_at).clamp(0, 3_600_000);
        self.filled_at = now_ms;
        let most = self.reports_per_second * 2_000;
        self.thousandths = (self.thousandths + elapsed_ms * self.reports_per_second).min(most);
        if self.thousandths <= 0 {
            let missing = 1 - self.thousandths;
            let retry_after_s = (missing as u64).div_ceil(self.reports_per_second as u64 * 1_000);
            return Err(Exhausted { retry_after_s });
        }
        self.thousandths -= reports as i64 * 1_000;
        Ok(())
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} reports/s", self.reports_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refuses_when_it_is_used_up_and_fills_again() {
        let mut bucket = Bucket::new(10);
        assert_eq!(bucket.take(20, 1_000_000), Ok(()));
        assert_eq!(bucket.take(0, 1_000_000), Err(Exhausted { retry_after_s: 1 }));
        assert_eq!(bucket.take(1, 1_000_000), Err(Exhausted { retry_after_s: 1 }));
        assert_eq!(bucket.take(1, 1_000_100), Ok(()));
        assert_eq!(bucket.take(500, 1_000_200), Ok(()), "a large body overdraws once");
        assert_eq!(bucket.take(1, 1_000_200), Err(Exhausted { retry_after_s: 50 }));
        assert_eq!(bucket.take(1, 1_050_300), Ok(()));
    }

    #[test]
    fn keys_cannot_be_guessed_without_end() {
        let guesses = Guesses::new();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert!((0..KEY_GUESSES.get()).all(|_| guesses.take(one).is_ok()));
        assert!(guesses.take(one).is_err());
        assert!(guesses.take(other).is_ok());
        let of_household = |device: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, device]);
        assert!((0..KEY_GUESSES.get() as u16).all(|device| guesses.take(of_household(device)).is_ok()));
        assert!(guesses.take(of_household(0xffff)).is_err());
    }

    #[test]
    fn each_user_has_a_bucket() {
        let rates = UserRates::new(1);
        assert_eq!(rates.take("a", 10_000), Ok(()), "a large body counts for a bucket");
        assert!(rates.take("a", 1).is_err_and(|exhausted| (1..=60).contains(&exhausted.retry_after_s)));
        assert_eq!(rates.take("b", 1), Ok(()));
    }
}
