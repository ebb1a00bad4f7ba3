//! The account cache of one node, as `crates/store/src/cached.rs` has it: an answer is believed for its own
//! life, concurrent lookups of one name make one request, and what fails is not kept.
//!
//! How long an answer lives is decided by the program's own [`cached::Config::life`]. What differs: moka keeps
//! the more popular of two entries when it is full, while here a new one is not kept then, which is a little
//! worse for new users.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_store::cached;

use crate::queue::Micros;
use crate::random::Random;

/// The accounts that a node remembers.
#[derive(Debug, Default)]
pub(crate) struct AccountCache {
    entries: HashMap<u32, Entry>,
    /// With so many entries, those whose time is over are thrown out.
    tidy_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When the directory's answer comes.
    ready: Micros,
    /// Until when it is believed.
    until: Micros,
}

/// What a lookup finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An answer that is still believed.
    Remembered,
    /// Somebody has asked and waits for the answer, which comes at this time.
    Asked(Micros),
    /// Nothing: the directory has to be asked.
    Nothing,
}

impl AccountCache {
    const TIDY_MIN: usize = 64;

    /// Looks a user up.
    pub(crate) fn find(&self, now: Micros, user: u32) -> Found {
        match self.entries.get(&user) {
            Some(entry) if now < entry.ready => Found::Asked(entry.ready),
            Some(entry) if now < entry.until => Found::Remembered,
            _ => Found::Nothing,
        }
    }

    /// Notes that the directory is asked, that it will answer at `ready`, and draws how long that will be
    /// believed.
    pub(crate) fn ask(&mut self, now: Micros, user: u32, ready: Micros, config: &cached::Config, random: &mut Random) {
        let took = ready.saturating_sub(now);
        let life = config.life(true, random.unit(), Duration::from_micros(took));
        let until = ready.saturating_add(u64::try_from(life.as_micros()).unwrap_or(u64::MAX));
        let capacity = usize::try_from(config.capacity).unwrap_or(usize::MAX);
        if self.entries.len() >= self.tidy_at.max(Self::TIDY_MIN).min(capacity) {
            self.entries.retain(|_, entry| now < entry.until);
            self.tidy_at = self.entries.len() * 2;
        }
        if self.entries.len() < capacity || self.entries.contains_key(&user) {
            self.entries.insert(user, Entry { ready, until });
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::micros;

    #[test]
    fn an_answer_is_shared_while_it_comes_and_believed_for_its_life() {
        let (config, mut random) = (cached::Config::default(), Random::new(1, "cache"));
        let mut cache = AccountCache::default();
        assert_eq!(cache.find(0, 7), Found::Nothing);
        cache.ask(0, 7, 10_000, &config, &mut random);
        assert_eq!((cache.find(9_999, 7), cache.find(10_000, 7)), (Found::Asked(10_000), Found::Remembered));
        assert_eq!(cache.find(0, 8), Found::Nothing);
        let ttl = config.ttl.as_micros() as Micros;
        assert_eq!(cache.find(ttl, 7), Found::Nothing, "never longer than the bound, counted from the question");
        assert_eq!(cache.find(ttl * 7 / 10, 7), Found::Remembered, "chance takes a fifth at most");
    }

    #[test]
    fn it_keeps_no_more_than_its_capacity() {
        let config = cached::Config { capacity: 100, ..cached::Config::default() };
        let (mut cache, mut random) = (AccountCache::default(), Random::new(1, "capacity"));
        for user in 0..1_000 {
            cache.ask(0, user, 0, &config, &mut random);
            assert!(cache.len() <= 100);
        }
        assert_eq!((cache.find(1, 99), cache.find(1, 100)), (Found::Remembered, Found::Nothing));
        cache.ask(micros(60.0), 500, micros(60.0), &config, &mut random);
        assert_eq!(cache.len(), 1, "what is over makes room");
    }

    /// Poisson arrivals of rate r at one entry that lives for L: each miss is followed by r × L hits in the
    /// mean, so that r L / (1 + r L) of all are hits. L is the bound less half of what chance may take.
    #[test]
    fn the_hit_rate_is_that_of_poisson_arrivals() {
        let config = cached::Config::default();
        let mean_life = config.life(true, 0.5, Duration::ZERO).as_secs_f64();
        for rate in [0.01, 0.1, 1.0] {
            let (mut cache, mut random) = (AccountCache::default(), Random::new(1, "poisson"));
            let (mut now, mut hits, arrivals) = (0, 0_u32, 50_000);
            for _ in 0..arrivals {
                now += micros(random.exponential(1.0 / rate));
                match cache.find(now, 1) {
                    Found::Remembered => hits += 1,
                    _ => cache.ask(now, 1, now, &config, &mut random),
                }
            }
            let (measured, expected) =
                (f64::from(hits) / f64::from(arrivals), rate * mean_life / (1.0 + rate * mean_life));
            assert!((measured - expected).abs() < 0.01, "at {rate} a second: {measured}, not {expected}");
        }
    }
}
