//! Requests to S3: how many a file takes, and how many each tenant's prefix gets each second.

use serde::{Deserialize, Serialize};

use crate::measured::Measured;
use crate::parameters::Profile;
use crate::queue::{Micros, second};
use crate::random::Random;
use crate::table::add;

/// Reads of a large file are this long at most (`SEGMENT_MAX` of `crates/vfs/src/reader/window.rs`), in bytes.
const SEGMENT: u64 = 8 << 20;

/// Requests, as S3 limits them: PUT, COPY, POST and DELETE on one side, GET, HEAD and LIST on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requests {
    /// PUT, COPY, POST, DELETE.
    pub(crate) writes: f64,
    /// GET, HEAD, LIST.
    pub(crate) reads: f64,
}

/// A file that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Whether it went up.
    pub(crate) up: bool,
    /// Its parts, if it was larger than one.
    pub(crate) parts: Option<u64>,
}

impl Moved {
    /// One of the files of a session.
    pub(crate) fn draw(profile: &Profile, part_size: u64, random: &mut Random) -> Self {
        let up = random.chance(profile.upload_share);
        let parts = (profile.large_mib << 20).div_ceil(part_size.max(1));
        Self { up, parts: random.chance(profile.large_share).then_some(parts) }
    }

    /// STATs of the client for it, in the mean: each of them has a HEAD or a LIST among the other requests.
    pub(crate) fn stats(self, measured: &Measured) -> f64 {
        match (self.up, self.parts) {
            (true, None) => measured.small_up.1,
            (true, Some(_)) => (measured.large_up_others - 2.0).max(0.0),
            (false, None) => measured.small_down.1,
            (false, Some(_)) => 1.0,
        }
    }

    /// What the file takes in the mean. Large uploads have the two requests that frame them among the others;
    /// what is left of those are questions of the client. Large downloads end with a HEAD for the checksum.
    pub(crate) fn requests(self, measured: &Measured, part_size: u64) -> Requests {
        match (self.up, self.parts) {
            (true, None) => Requests { writes: measured.small_up.0, reads: measured.small_up.1 },
            (true, Some(parts)) => Requests { writes: parts as f64 + 2.0, reads: self.stats(measured) },
            (false, None) => Requests { writes: 0.0, reads: measured.small_down.0 + measured.small_down.1 },
            (false, Some(parts)) => {
                let segments = parts.saturating_mul(part_size).div_ceil(SEGMENT);
                Requests { writes: 0.0, reads: segments as f64 + 2.0 }
            }
        }
    }
}

/// Requests of each tenant in each second.
#[derive(Debug)]
pub(crate) struct Prefixes {
    from: Micros,
    tenants: Vec<Seconds>,
}

#[derive(Clone, Debug, Default)]
struct Seconds {
    writes: Vec<u64>,
    reads: Vec<u64>,
}

impl Prefixes {
    /// Counts what happens from then on, for so many tenants.
    pub(crate) fn from(from: Micros, tenants: usize) -> Self {
        Self { from, tenants: vec![Seconds::default(); tenants] }
    }

    /// Counts requests of a tenant; parts of one are made whole by chance.
    pub(crate) fn count(&mut self, at: Micros, tenant: u32, requests: Requests, random: &mut Random) {
        let (writes, reads) = (random.times(requests.writes), random.times(requests.reads));
        let Some(since) = at.checked_sub(self.from) else { return };
        let Some(seconds) = self.tenants.get_mut(tenant as usize) else { return };
        add(&mut seconds.writes, second(since), writes);
        add(&mut seconds.reads, second(since), reads);
    }

    /// A second's mean over so many seconds, of all tenants.
    pub(crate) fn mean(&self, seconds: f64) -> Requests {
        let sum = |of: fn(&Seconds) -> &Vec<u64>| self.tenants.iter().flat_map(of).sum::<u64>() as f64 / seconds;
        Requests { writes: sum(|tenant| &tenant.writes), reads: sum(|tenant| &tenant.reads) }
    }

    /// The busiest second of the busiest prefix.
    pub(crate) fn peak(&self) -> Requests {
        let most = |of: fn(&Seconds) -> &Vec<u64>| self.tenants.iter().flat_map(of).copied().max().unwrap_or(0) as f64;
        Requests { writes: most(|tenant| &tenant.writes), reads: most(|tenant| &tenant.reads) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use crate::queue::SECOND;

    #[test]
    fn files_take_what_was_measured() {
        let measured = Measured::load().unwrap();
        let part = 8 << 20;
        let up = Moved { up: true, parts: None }.requests(&measured, part);
        assert_eq!((up.writes, up.reads), measured.small_up);
        let large = Moved { up: true, parts: Some(8) }.requests(&measured, part);
        assert_eq!(large.writes + large.reads, 8.0 + measured.large_up_others);
        let down = Moved { up: false, parts: Some(8) }.requests(&measured, part);
        assert_eq!((down.writes, down.reads), (0.0, 10.0));
    }

    #[test]
    fn a_file_of_a_profile_has_its_parts() {
        let mut profile = Parameters::default().profiles.remove(0);
        (profile.large_share, profile.upload_share, profile.large_mib) = (1.0, 1.0, 17);
        let file = Moved::draw(&profile, 8 << 20, &mut Random::new(1, "file"));
        assert_eq!(file, Moved { up: true, parts: Some(3) });
    }

    #[test]
    fn the_busiest_prefix_is_found() {
        let (mut prefixes, mut random) = (Prefixes::from(0, 3), Random::new(1, "prefixes"));
        for (second, tenant, writes) in [(0, 0, 5.0), (0, 1, 9.0), (1, 0, 6.0)] {
            prefixes.count(second * SECOND, tenant, Requests { writes, reads: 1.0 }, &mut random);
        }
        assert_eq!(prefixes.peak(), Requests { writes: 9.0, reads: 1.0 });
        assert_eq!(prefixes.mean(2.0), Requests { writes: 10.0, reads: 1.5 });
    }
}
