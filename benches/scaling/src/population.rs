//! Who uses a cluster: sessions, their users, and the users' tenants.

use crate::parameters::Cluster;
use crate::random::{Random, Zipf};

/// Sessions, by number from 0 on.
#[derive(Debug)]
pub(crate) struct Population {
    users: Vec<u32>,
    tenants: Vec<u32>,
}

impl Population {
    /// So many sessions, with so many per user in the mean; each user belongs to one of the tenants.
    pub(crate) fn new(sessions: usize, sessions_per_user: f64, cluster: &Cluster, random: &mut Random) -> Self {
        Self::of_tenants(sessions, sessions_per_user, cluster.tenants, random)
    }

    /// The same with another number of tenants.
    pub(crate) fn of_tenants(sessions: usize, sessions_per_user: f64, tenants: usize, random: &mut Random) -> Self {
        let count = ((sessions as f64 / sessions_per_user).round() as usize).max(1);
        let zipf = Zipf::new(tenants);
        let tenants = (0..count).map(|_| u32::try_from(zipf.pick(random)).unwrap_or(0)).collect();
        let users = (0..sessions).map(|_| u32::try_from(random.below(count)).unwrap_or(0)).collect();
        Self { users, tenants }
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.users.len()
    }

    /// The user of a session, and that one's tenant.
    pub(crate) fn who(&self, session: usize) -> (u32, u32) {
        let user = self.users.get(session).copied().unwrap_or(0);
        (user, self.tenants.get(user as usize).copied().unwrap_or(0))
    }
}

/// Whether a tenant is one of the `share` of all that has something; the first, which is the largest, is.
pub(crate) fn has(tenant: u32, share: f64) -> bool {
    // Evenly over large and small ones.
    let upto = |n: u32| (f64::from(n) * share).ceil();
    share > 0.0 && upto(tenant + 1) > upto(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_tenants_has_it_the_largest_among_them() {
        let with: Vec<u32> = (0..8).filter(|tenant| has(*tenant, 0.5)).collect();
        assert_eq!(with, [0, 2, 4, 6]);
        assert_eq!((0..100).filter(|tenant| has(*tenant, 0.25)).count(), 25);
        assert!((0..9).all(|tenant| has(tenant, 1.0) && !has(tenant, 0.0)));
    }

    #[test]
    fn users_have_their_sessions_and_one_tenant() {
        let population = Population::of_tenants(10_000, 4.0, 20, &mut Random::new(1, "population"));
        let mut users: Vec<_> = (0..10_000).map(|session| population.who(session)).collect();
        users.sort_unstable();
        users.dedup();
        // Of 2,500 users, e^-4 are without a session.
        assert!(users.len().abs_diff(2_454) < 30, "{}", users.len());
        users.dedup_by_key(|user| user.0);
        assert!(users.len().abs_diff(2_454) < 30, "no user has two tenants");
        assert_eq!(population.sessions(), 10_000);
    }
}
