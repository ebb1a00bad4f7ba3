//! Who gets memory next: pure, no clock and no I/O.
//!
//! Between tenants the least served comes first (max-min fairness), and no tenant takes so much that
//! a new one would find nothing: each may hold at most [`TENANT_REACH`] times what it leaves free.
//! Alone a tenant has seven eighths of the memory, two have seven fifteenths each, and so on; the
//! limit falls by itself as others come, and what lies above it is not renewed when its parts have
//! landed. Source: Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
//! Switches", IEEE/ACM Transactions on Networking 6(2), 1998. Where others hold more than their
//! limit already, a tenant is still sure of an equal share as it becomes free.
//!
//! Within a tenant the writer that holds the least comes first, and extras are limited in the same
//! way, by [`WRITER_REACH`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_store::TenantName;

/// How many times what it leaves free a tenant may hold.
const TENANT_REACH: u64 = 7;

/// How many times what it leaves free a writer may hold, extras included: two thirds of the memory
/// for one alone.
const WRITER_REACH: u64 = 2;

/// How a request for memory ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Urgency {
    // In this order: the first comes first.
    /// Without it the writer can't go on.
    Need,
    /// It would be faster with it.
    Extra,
}

/// A request for memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) units: u64,
    /// Units that the writer holds already.
    pub(super) held: u64,
    pub(super) urgency: Urgency,
}

/// Names a request that was made. The least comes first among those of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket {
    urgency: Urgency,
    /// What the writer would hold.
    reach: u64,
    number: u64,
}

/// What each tenant holds and asks for, in units.
#[derive(Debug)]
pub(super) struct Ledger {
    total: u64,
    free: u64,
    next: u64,
    held: HashMap<Arc<TenantName>, u64>,
    /// Only tenants that wait.
    waiting: HashMap<Arc<TenantName>, BTreeMap<Ticket, Ask>>,
}

impl Ledger {
    pub(super) fn new(total: u64) -> Self {
        Self { total, free: total, next: 0, held: HashMap::new(), waiting: HashMap::new() }
    }

    /// Units that are in use.
    pub(super) fn taken(&self) -> u64 {
        self.total - self.free
    }

    /// Notes a request. [`Ledger::serve`] says when its turn has come.
    pub(super) fn ask(&mut self, tenant: &Arc<TenantName>, ask: Ask) -> Ticket {
        self.next += 1;
        let ticket = Ticket { urgency: ask.urgency, reach: ask.held + ask.units, number: self.next };
        // A tenant that waits is active, and counts in everyone's share.
        self.held.entry(Arc::clone(tenant)).or_default();
        self.waiting.entry(Arc::clone(tenant)).or_default().insert(ticket, ask);
        ticket
    }

    /// Forgets a request that has not been served.
    pub(super) fn withdraw(&mut self, tenant: &Arc<TenantName>, ticket: Ticket) {
        self.forget(tenant, ticket);
        self.tidy(tenant);
    }

    /// Takes units back.
    pub(super) fn release(&mut self, tenant: &Arc<TenantName>, units: u64) {
        self.free += units;
        if let Some(held) = self.held.get_mut(tenant) {
            *held -= units;
        }
        self.tidy(tenant);
    }

    /// Hands out the units that the next request asks for, if it may have them now.
    pub(super) fn serve(&mut self) -> Option<Ticket> {
        let first_of_each = self.waiting.iter().filter_map(|(tenant, asks)| {
            let (ticket, ask) = asks.first_key_value()?;
            let after = self.held.get(tenant).copied().unwrap_or(0) + ask.units;
            self.permits(after, ask).then_some((ticket.urgency, after, ticket.number, tenant, *ticket, ask.units))
        });
        let (.., tenant, ticket, units) =
            first_of_each.min_by_key(|(urgency, after, number, ..)| (*urgency, *after, *number))?;
        // What the first in line can't have yet, nobody behind it gets: they would hold more than it.
        self.free = self.free.checked_sub(units)?;
        let tenant = Arc::clone(tenant);
        *self.held.entry(Arc::clone(&tenant)).or_default() += units;
        self.forget(&tenant, ticket);
        Some(ticket)
    }

    /// The tenants that hold more than their share, if this one would not with `units` more.
    pub(super) fn over_share(&self, tenant: &Arc<TenantName>, units: u64) -> HashSet<Arc<TenantName>> {
        let sure = self.sure();
        if self.held.get(tenant).copied().unwrap_or(0) + units > sure {
            return HashSet::new();
        }
        self.held.iter().filter(|(_, held)| **held > sure).map(|(tenant, _)| Arc::clone(tenant)).collect()
    }

    /// What each tenant is sure of.
    fn sure(&self) -> u64 {
        // As if there were one tenant more: the next one that comes finds its share as well.
        self.total / (self.held.len() as u64 + 1)
    }

    /// Whether a tenant may hold `after` units, `ask` included, as soon as they are free.
    fn permits(&self, after: u64, ask: &Ask) -> bool {
        let left = self.free.checked_sub(ask.units);
        let within = |held: u64, reach: u64| left.is_some_and(|left| held <= reach.saturating_mul(left));
        let tenant = after == ask.units || after <= self.sure() || within(after, TENANT_REACH);
        let writer = ask.urgency == Urgency::Need || within(ask.held + ask.units, WRITER_REACH);
        tenant && writer
    }

    fn forget(&mut self, tenant: &Arc<TenantName>, ticket: Ticket) {
        if let Some(asks) = self.waiting.get_mut(tenant) {
            asks.remove(&ticket);
            if asks.is_empty() {
                self.waiting.remove(tenant);
            }
        }
    }

    /// Keeps no trace of a tenant that neither holds nor waits.
    fn tidy(&mut self, tenant: &Arc<TenantName>) {
        if !self.waiting.contains_key(tenant) && self.held.get(tenant) == Some(&0) {
            self.held.remove(tenant);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
