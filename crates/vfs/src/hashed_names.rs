//! Names of what a node remembers, without their text.

use std::hash::{BuildHasher, Hash, RandomState};

/// Makes the names of one cache.
///
/// Two independent hashes with secret keys stand for a name: 128 bits, so that a collision won't happen by
/// chance and can't be made. Looking for a name takes no memory, and keeping it the same for all.
#[derive(Debug, Default)]
pub(crate) struct NameHasher(RandomState, RandomState);

/// What stands for a name in one cache; it means nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HashedName(u64, u64);

impl NameHasher {
    /// The name that is made of these: most often a bucket and a key.
    pub(crate) fn name(&self, of: &impl Hash) -> HashedName {
        HashedName(self.0.hash_one(of), self.1.hash_one(of))
    }
}

impl HashedName {
    /// One of so many groups that all names are divided among evenly.
    pub(crate) fn group(self, groups: usize) -> usize {
        // Less than the number of groups, which is a usize.
        (self.0 % groups.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_with_each_of_their_parts_and_with_the_cache() {
        let (one, two) = (NameHasher::default(), NameHasher::default());
        let name = one.name(&("bucket", "key"));
        assert_eq!(name, one.name(&("bucket", "key")));
        for other in [("bucket", "kez"), ("bucke", "tkey"), ("bucketk", "ey")] {
            assert_ne!(name, one.name(&other));
        }
        assert_ne!(name, two.name(&("bucket", "key")));
        assert_ne!(name.0, name.1);
    }

    #[test]
    fn every_group_is_used() {
        let hasher = NameHasher::default();
        let mut seen = [false; 8];
        (0..1_000).for_each(|n| seen[hasher.name(&n).group(8)] = true);
        assert_eq!(seen, [true; 8]);
    }
}
