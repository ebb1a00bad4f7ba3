//! Chance with a seed. Every experiment has a stream of its own, so that one can be run again alone.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A stream of chance.
#[derive(Debug)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream of the experiment `name`. The same seed and name give the same stream always.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: the standard library's hash may change from release to release.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(Xoshiro256PlusPlus::seed_from_u64(seed ^ hash))
    }

    /// From 0 to 1, without 1. Not by the library's own conversion, which may change from release to release.
    pub(crate) fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 / STEPS
    }

    /// From `low` to `high`, without `high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// From 0 to `count`, without `count`; 0 if that is 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Whether something happens that happens in so many of 1 cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// How often something happens once that happens so often in the mean: the whole part always, the rest by
    /// chance.
    pub(crate) fn times(&mut self, mean: f64) -> u64 {
        mean.floor() as u64 + u64::from(self.chance(mean.fract()))
    }

    /// Until the next event, with this mean: the distribution without memory.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        // 1 less, since the logarithm of 0 is no number.
        -mean * (1.0 - self.unit()).ln()
    }
}

/// Picks from a number of things of which the n-th is 1/n as frequent as the first (Zipf's law): a few large
/// tenants, and many small ones.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// What the first n take together, as a share of all.
    cumulated: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let mut cumulated: Vec<f64> = (1..=count.max(1))
            .map(|n| {
                sum += 1.0 / n as f64;
                sum
            })
            .collect();
        cumulated.iter_mut().for_each(|part| *part /= sum);
        Self { cumulated }
    }

    /// One of them, from 0 on.
    pub(crate) fn pick(&self, random: &mut Random) -> usize {
        let at = random.unit();
        self.cumulated.partition_point(|part| *part <= at).min(self.cumulated.len() - 1)
    }

    /// What the first takes of all.
    #[cfg(test)]
    fn largest_share(&self) -> f64 {
        self.cumulated.first().copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_give_one_stream() {
        let draw = |seed, name| {
            let mut random = Random::new(seed, name);
            [random.unit(), random.unit(), random.unit()]
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn the_stream_is_the_same_in_every_release() {
        let mut random = Random::new(1, "a");
        let drawn: Vec<_> = (0..3).map(|_| random.below(1_000_000)).collect();
        assert_eq!(drawn, [439_150, 13_255, 112_711]);
    }

    #[test]
    fn means_are_as_asked_for() {
        let mut random = Random::new(1, "means");
        let n = 200_000;
        let mean = (0..n).map(|_| random.exponential(30.0)).sum::<f64>() / f64::from(n);
        assert!((mean - 30.0).abs() < 0.3, "{mean}");
        let times = (0..n).map(|_| random.times(2.25)).sum::<u64>() as f64 / f64::from(n);
        assert!((times - 2.25).abs() < 0.01, "{times}");
        let mut counts = [0_u32; 4];
        (0..n).for_each(|_| counts[random.below(4)] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(50_000) < 1_000), "{counts:?}");
    }

    #[test]
    fn the_second_is_half_as_frequent_as_the_first() {
        let (zipf, mut random) = (Zipf::new(50), Random::new(1, "zipf"));
        let mut counts = [0_u32; 50];
        (0..200_000).for_each(|_| counts[zipf.pick(&mut random)] += 1);
        let share = f64::from(counts[0]) / 200_000.0;
        assert!((share - zipf.largest_share()).abs() < 0.005, "{share}");
        assert!((f64::from(counts[0]) / f64::from(counts[1]) - 2.0).abs() < 0.1);
        assert!(counts[49] > 0);
    }
}
