//! How many connections may be open: on the node, from one source, and before their login.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::accounting::Outcome;
use crate::config::Config;
use crate::lock_outs::network;

/// Counts what is open, under limits.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    node: Counters<()>,
    sources: Counters<IpAddr>,
    unauthenticated: Counters<()>,
    unauthenticated_sources: Counters<IpAddr>,
    headers: Counters<()>,
    max_connections: u32,
    max_per_source: u32,
    max_unauthenticated: u32,
    max_unauthenticated_per_source: u32,
}

/// A connection's places; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    _node: Permit<()>,
    _source: Permit<IpAddr>,
}

/// The places of a connection that has not logged in yet; given back on drop.
#[derive(Debug)]
pub(crate) struct LoginPlace {
    _node: Permit<()>,
    _source: Permit<IpAddr>,
}

/// The place of a connection whose PROXY header is awaited; given back on drop.
pub(crate) type HeaderPlace = Permit<()>;

impl Admission {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            node: Counters::default(),
            sources: Counters::default(),
            unauthenticated: Counters::default(),
            unauthenticated_sources: Counters::default(),
            headers: Counters::default(),
            max_connections: config.max_connections,
            max_per_source: config.max_connections_per_source,
            max_unauthenticated: config.max_unauthenticated,
            max_unauthenticated_per_source: config.max_unauthenticated_per_source,
        }
    }

    /// Places for a new connection, or which limit it would break.
    pub(crate) fn admit(&self, source: IpAddr) -> Result<(Place, LoginPlace), Outcome> {
        let node = self.node.acquire((), self.max_connections).ok_or(Outcome::OverNodeLimit)?;
        let network = network(source);
        let source = self.sources.acquire(network, self.max_per_source).ok_or(Outcome::OverSourceLimit)?;
        let login_source = self
            .unauthenticated_sources
            .acquire(network, self.max_unauthenticated_per_source)
            .ok_or(Outcome::OverUnauthenticatedSourceLimit)?;
        let login =
            self.unauthenticated.acquire((), self.max_unauthenticated).ok_or(Outcome::OverUnauthenticatedLimit)?;
        Ok((Place { _node: node, _source: source }, LoginPlace { _node: login, _source: login_source }))
    }

    /// A place among the connections that are yet to say whose they are; `None` if all are taken, which
    /// are as many as may be logging in.
    pub(crate) fn expect_header(&self) -> Option<HeaderPlace> {
        self.headers.acquire((), self.max_unauthenticated)
    }
}

/// Counts per name. Only names with a count above zero take memory.
#[derive(Debug)]
struct Counters<K>(Arc<Mutex<HashMap<K, u32>>>);

/// One of a name's places; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash> {
    counters: Counters<K>,
    name: K,
}

impl<K> Clone for Counters<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Counters<K> {
    fn acquire(&self, name: K, limit: u32) -> Option<Permit<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&name).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        counts.insert(name.clone(), count + 1);
        Some(Permit { counters: self.clone(), name })
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self.counters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(node: u32, source: u32, unauthenticated: u32) -> Admission {
        Admission::new(&Config {
            max_connections: node,
            max_connections_per_source: source,
            max_unauthenticated: unauthenticated,
            ..Config::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_is_its_own_and_places_come_back() {
        let admission = admission(3, 2, 3);
        let first = admission.admit(ip("192.0.2.1")).unwrap();
        let _second = admission.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.1")).unwrap_err(), Outcome::OverSourceLimit);
        let _third = admission.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.3")).unwrap_err(), Outcome::OverNodeLimit);
        drop(first);
        admission.admit(ip("192.0.2.3")).unwrap();
    }

    #[test]
    fn a_login_frees_its_place_among_the_unauthenticated() {
        let admission = admission(10, 10, 1);
        let (_place, login) = admission.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.2")).unwrap_err(), Outcome::OverUnauthenticatedLimit);
        drop(login);
        admission.admit(ip("192.0.2.2")).unwrap();
    }

    #[test]
    fn one_source_does_not_take_all_places_of_those_who_log_in() {
        let admission = Admission::new(&Config { max_unauthenticated_per_source: 1, ..Config::default() });
        let (_place, login) = admission.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(admission.admit(ip("2001:db8::2")).unwrap_err(), Outcome::OverUnauthenticatedSourceLimit);
        let _other = admission.admit(ip("2001:db8:0:1::1")).unwrap();
        drop(login);
        admission.admit(ip("2001:db8::2")).unwrap();
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let admission = admission(10, 1, 10);
        let _held = admission.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(admission.admit(ip("2001:db8::2:1")).unwrap_err(), Outcome::OverSourceLimit);
        admission.admit(ip("2001:db8:0:1::1")).unwrap();
        let _mapped = admission.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.1")).unwrap_err(), Outcome::OverSourceLimit);
    }

    #[test]
    fn counts_leave_nothing_behind() {
        let admission = admission(10, 10, 10);
        drop(admission.admit(ip("192.0.2.1")).unwrap());
        assert!(admission.sources.0.lock().unwrap().is_empty());
        assert!(admission.unauthenticated_sources.0.lock().unwrap().is_empty());
    }
}
