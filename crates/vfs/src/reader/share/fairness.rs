//! Who may hold how much, and who has to drop something for others.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use tidegate_store::TenantName;

use super::{Member, Node, Trim};
use crate::reader::level::level;

/// This part of the memory is left out when shares are counted, so that who comes next finds some.
const SPARE: u64 = 8;

/// How long shares are good for, in milliseconds, if no more than one in [`SPARE`] readers came since.
pub(super) const SHARES_LIFE: u64 = 100;

/// How long the others are left alone after nothing was found to drop, in milliseconds.
const BARREN_LIFE: u64 = 10;

impl Node {
    pub(super) fn shares_are_old(&self, now: u64) -> bool {
        now.saturating_sub(self.counted_at.load(Relaxed)) >= SHARES_LIFE
            || self.newcomers.load(Relaxed) * SPARE > self.counted.load(Relaxed)
    }

    /// Max-min fair: first between the tenants, then between the readers of each.
    pub(super) fn count_shares(&self, now: u64) {
        let state = self.state();
        let mut tenants: HashMap<&TenantName, Vec<&Member>> = HashMap::new();
        let active = state.readers.values().filter(|member| !member.is_idle(now) && member.wants.load(Relaxed) > 0);
        for member in active {
            tenants.entry(&member.tenant).or_default().push(member);
        }
        let wants = |members: &[&Member]| members.iter().map(|member| member.wants.load(Relaxed)).collect::<Vec<_>>();
        let sum = |members: &[&Member]| wants(members).into_iter().fold(0_u64, u64::saturating_add);
        let usable = self.total - self.total / SPARE;
        let tenant_level = level(&mut tenants.values().map(|members| sum(members)).collect::<Vec<_>>(), usable);
        let (mut counted, mut least) = (0, u64::MAX);
        for members in tenants.values() {
            let share = tenant_level.and_then(|most| level(&mut wants(members), most)).unwrap_or(u64::MAX);
            for member in members {
                member.share.store(share, Relaxed);
            }
            least = least.min(share);
            counted += members.len() as u64;
        }
        drop(tenants);
        drop(state);
        self.counted.store(counted, Relaxed);
        self.least_share.store(least, Relaxed);
        self.counted_at.store(now, Relaxed);
        self.newcomers.store(0, Relaxed);
    }

    /// Lets those drop read-ahead who stopped reading, or hold more than their share, until there
    /// are `bytes` more than others wait for.
    pub(super) fn reclaim(&self, bytes: u64, asking: Option<u64>, reach: Reach) {
        let now = self.now();
        if now.saturating_sub(self.barren_at.load(Relaxed)) < BARREN_LIFE && now >= self.barren_at.load(Relaxed) {
            return;
        }
        let (mut lacking, mut holders) = {
            let state = self.state();
            let lacking = (state.wanted + bytes).saturating_sub(state.free);
            let others = state.readers.values().filter(|member| Some(member.id) != asking);
            let holders: Vec<_> = others.filter_map(|member| Surplus::of(member, now, reach)).collect();
            (lacking, holders)
        };
        if lacking == 0 {
            return;
        }
        let mut found = 0;
        holders.sort_unstable_by_key(|surplus| Reverse((surplus.idle, surplus.bytes)));
        for surplus in holders {
            let freed = surplus.holder.upgrade().map_or(0, |holder| holder.trim(surplus.keep));
            found += freed;
            lacking = lacking.saturating_sub(freed);
            if lacking == 0 {
                break;
            }
        }
        self.barren_at.store(if found == 0 { now } else { u64::MAX }, Relaxed);
    }
}

/// How much readers may be made to drop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All that no read waits for.
    All,
    /// What lies above their shares.
    Surplus,
}

/// What a reader may be made to drop.
struct Surplus {
    idle: bool,
    bytes: u64,
    keep: u64,
    holder: Weak<dyn Trim>,
}

impl Surplus {
    fn of(member: &Member, now: u64, reach: Reach) -> Option<Self> {
        let idle = member.is_idle(now);
        let keep = if idle || reach == Reach::All { 0 } else { member.may_hold() };
        let bytes = member.held.load(Relaxed).checked_sub(keep).filter(|bytes| *bytes > 0)?;
        Some(Self { idle, bytes, keep, holder: member.trim.get()?.clone() })
    }
}
