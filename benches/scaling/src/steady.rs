//! A cluster in its everyday life: sessions end and begin, files move, nodes tell of themselves.
//!
//! All sessions together make logins and files at the sum of their rates. So one event of each kind stands in
//! the queue, and picks its session by chance, which is the same as a timer for each session (the sum of
//! Poisson processes is one).

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::account_cache::{AccountCache, Found};
use crate::measured::Measured;
use crate::parameters::{Parameters, Profile};
use crate::population::{Population, has};
use crate::queue::{Micros, Queue, micros};
use crate::random::Random;
use crate::settings::Settings;
use crate::table::{Key, Rates, Table};
use crate::traffic::{Moved, Prefixes, Requests};

/// Until the caches are as full as they get.
const WARM_UP_SECONDS: f64 = 90.0;
/// What is counted.
const MEASURED_SECONDS: f64 = 240.0;

/// A cluster's everyday life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steady {
    /// Of the profile.
    pub(crate) profile: String,
    /// Nodes.
    pub(crate) nodes: usize,
    /// Sessions on all of them.
    pub(crate) sessions: usize,
    /// Logins a second on all of them.
    pub(crate) logins_per_second: f64,
    /// How many logins needed no request to DynamoDB.
    pub(crate) logins_from_cache: f64,
    /// What the metrics of a node show: hits of all lookups, of which a login makes several.
    pub(crate) lookups_from_cache: f64,
    /// Requests to DynamoDB in a second, in the mean.
    pub(crate) table: Rates,
    /// The same in the busiest second.
    pub(crate) table_peak: Rates,
    /// The same in the busiest second of the busiest partition key.
    pub(crate) hottest_key: Rates,
    /// Reads a second by cause.
    pub(crate) reads: ReadsByCause,
    /// Writes a second by cause.
    pub(crate) writes: WritesByCause,
    /// Requests to S3 in a second, in the mean.
    pub(crate) objects: Requests,
    /// The same in the busiest second of the busiest prefix.
    pub(crate) busiest_prefix: Requests,
}

/// Reads of DynamoDB a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReadsByCause {
    /// The journal of uploads.
    pub(crate) journal: f64,
    /// Leases of nodes.
    pub(crate) leases: f64,
    /// Accounts at logins.
    pub(crate) logins: f64,
    /// Usage of tenants with a quota.
    pub(crate) usage: f64,
}

/// Writes to DynamoDB a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WritesByCause {
    /// Counters of sessions.
    pub(crate) counters: f64,
    /// The journal of uploads.
    pub(crate) journal: f64,
    /// Leases of nodes.
    pub(crate) leases: f64,
    /// Usage of tenants with a quota.
    pub(crate) usage: f64,
}

#[derive(Debug)]
enum Event {
    /// A session ends, and its client logs in again.
    Login,
    /// A file is moved.
    File,
    /// A node renews its lease.
    Renewal(u32),
    /// A node tells that sessions of a tenant have ended, unless a login has told it.
    Ended(u32, u32),
}

/// What a node knows of a tenant's usage.
#[derive(Clone, Copy, Debug, Default)]
struct UsageKnown {
    /// Changes from then on need another write.
    flushed: Micros,
    /// From then on an upload asks for the counters.
    stale: Micros,
}

struct Run<'a> {
    profile: &'a Profile,
    parameters: &'a Parameters,
    settings: &'a Settings,
    measured: &'a Measured,
    random: Random,
    population: Population,
    /// The node of each session.
    places: Vec<u32>,
    caches: Vec<AccountCache>,
    usage: HashMap<(u32, u32), UsageKnown>,
    /// Nodes and tenants of which sessions have ended that were not told yet.
    ended: HashSet<(u32, u32)>,
    table: Table,
    prefixes: Prefixes,
    from: Micros,
    logins: u64,
    misses: u64,
    reads: ReadsByCause,
    writes: WritesByCause,
}

/// Lets a cluster of so many nodes live for some minutes.
pub(crate) fn run(
    profile: &Profile,
    nodes: usize,
    parameters: &Parameters,
    settings: &Settings,
    measured: &Measured,
) -> Steady {
    let mut random = Random::new(parameters.seed, &format!("steady {} {nodes}", profile.name));
    let sessions = parameters.sessions(nodes, settings.module.sessions_per_node);
    let population = Population::new(sessions, profile.sessions_per_user, &parameters.cluster, &mut random);
    let places = (0..sessions).map(|_| random.below(nodes) as u32).collect();
    let from = micros(WARM_UP_SECONDS);
    let run = Run {
        profile,
        parameters,
        settings,
        measured,
        random,
        population,
        places,
        caches: (0..nodes).map(|_| AccountCache::default()).collect(),
        usage: HashMap::new(),
        ended: HashSet::new(),
        table: Table::from(from),
        prefixes: Prefixes::from(from, parameters.cluster.tenants),
        from,
        logins: 0,
        misses: 0,
        reads: ReadsByCause::default(),
        writes: WritesByCause::default(),
    };
    run.live()
}

impl Run<'_> {
    fn live(mut self) -> Steady {
        let sessions = self.population.sessions();
        let login_mean = self.profile.session_seconds / sessions as f64;
        let file_mean = 3_600.0 / (self.profile.files_per_hour * sessions as f64);
        let renewal = self.parameters.coordination.lease_renewal_seconds;
        let mut queue = Queue::new();
        queue.after(micros(self.random.exponential(login_mean)), Event::Login);
        queue.after(micros(self.random.exponential(file_mean)), Event::File);
        for node in 0..self.caches.len() as u32 {
            queue.after(micros(self.random.between(0.0, renewal)), Event::Renewal(node));
        }
        let end = micros(WARM_UP_SECONDS + MEASURED_SECONDS);
        while let Some(event) = queue.next_before(end) {
            let now = queue.now();
            match event {
                Event::Login => {
                    if let Some(ended) = self.login(now) {
                        queue.after(micros(self.parameters.coordination.counter_gather_seconds), ended);
                    }
                    queue.after(micros(self.random.exponential(login_mean)), Event::Login);
                }
                Event::File => {
                    self.file(now);
                    queue.after(micros(self.random.exponential(file_mean)), Event::File);
                }
                Event::Renewal(node) => {
                    let reads = self.parameters.coordination.leases_units(self.nodes());
                    self.table.write(now, Key::Leases, 1);
                    self.table.read(now, Key::Leases, reads);
                    self.writes.leases += self.counted(now, 1);
                    self.reads.leases += self.counted(now, reads);
                    queue.after(micros(renewal), Event::Renewal(node));
                }
                Event::Ended(node, tenant) => {
                    if self.ended.remove(&(node, tenant)) {
                        self.tell(now, tenant, self.parameters.coordination.counter_writes_per_logout);
                    }
                }
            }
        }
        self.summed_up()
    }

    /// `count` once counting has begun.
    fn counted(&self, now: Micros, count: u64) -> f64 {
        if now >= self.from { count as f64 } else { 0.0 }
    }

    fn nodes(&self) -> u64 {
        self.caches.len() as u64
    }

    /// A session ends at its node and begins at another. Gives what happens later on.
    fn login(&mut self, now: Micros) -> Option<Event> {
        let session = self.random.below(self.places.len());
        let (user, tenant) = self.population.who(session);
        let node = self.random.below(self.caches.len());
        let before = std::mem::replace(self.places.get_mut(session)?, node as u32);
        let cache = self.caches.get_mut(node)?;
        if cache.find(now, user) == Found::Nothing {
            let ready = now + micros(2.0 * self.parameters.login.get_item_ms / 1_000.0);
            cache.ask(now, user, ready, &self.settings.accounts, &mut self.random);
            let cluster = &self.parameters.cluster;
            let (of_user, of_tenant) = (read_units(cluster.user_item_bytes), read_units(cluster.tenant_item_bytes));
            self.table.read(now, Key::User(user), of_user);
            self.table.read(now, Key::Tenant(tenant), of_tenant);
            self.reads.logins += self.counted(now, of_user + of_tenant);
            self.misses += u64::from(now >= self.from);
        }
        self.logins += u64::from(now >= self.from);
        if !has(tenant, self.parameters.cluster.limited_share) {
            return None;
        }
        // What has ended at its node is told with it.
        self.ended.remove(&(node as u32, tenant));
        self.tell(now, tenant, self.parameters.coordination.counter_writes_per_login);
        self.ended.insert((before, tenant)).then_some(Event::Ended(before, tenant))
    }

    /// Writes a tenant's counter of sessions so many times in the mean.
    fn tell(&mut self, now: Micros, tenant: u32, writes: f64) {
        let units = self.random.times(writes) * self.parameters.coordination.counter_units(self.nodes());
        self.table.write(now, Key::Tenant(tenant), units);
        self.writes.counters += self.counted(now, units);
    }

    fn file(&mut self, now: Micros) {
        let session = self.random.below(self.places.len());
        let (_, tenant) = self.population.who(session);
        let part_size = self.settings.vfs.part_size.as_u64();
        let file = Moved::draw(self.profile, part_size, &mut self.random);
        let mut requests = file.requests(self.measured, part_size);
        if file.up && has(tenant, self.parameters.cluster.quota_share) {
            // What the file replaces has to be known.
            requests.reads += 1.0;
            self.count_usage(now, session, tenant);
        }
        self.prefixes.count(now, tenant, requests, &mut self.random);
        let coordination = &self.parameters.coordination;
        let reads = self.random.times(coordination.journal_reads(file, file.stats(self.measured)));
        self.table.read(now, Key::Uploads(tenant), reads);
        self.reads.journal += self.counted(now, reads);
        if let Moved { up: true, parts: Some(_) } = file {
            let writes = self.random.times(coordination.journal_writes_per_upload);
            self.table.write(now, Key::Uploads(tenant), writes);
            self.writes.journal += self.counted(now, writes);
        }
    }

    fn count_usage(&mut self, now: Micros, session: usize, tenant: u32) {
        let node = self.places.get(session).copied().unwrap_or(0);
        let coordination = &self.parameters.coordination;
        let known = self.usage.entry((node, tenant)).or_default();
        if now >= known.stale {
            known.stale = now + micros(coordination.usage_refresh_seconds);
            self.table.read(now, Key::Tenant(tenant), 1);
            self.reads.usage += f64::from(u8::from(now >= self.from));
        }
        if now >= known.flushed {
            let flush = now + micros(coordination.usage_flush_seconds);
            known.flushed = flush;
            // The answer tells the counters, too.
            known.stale = flush + micros(coordination.usage_refresh_seconds);
            self.table.write(flush, Key::Tenant(tenant), 1);
            self.writes.usage += self.counted(flush, 1);
        }
    }

    fn summed_up(self) -> Steady {
        let (logins, misses) = (self.logins as f64, self.misses as f64);
        let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
        let reads = ReadsByCause {
            journal: self.reads.journal / MEASURED_SECONDS,
            leases: self.reads.leases / MEASURED_SECONDS,
            logins: self.reads.logins / MEASURED_SECONDS,
            usage: self.reads.usage / MEASURED_SECONDS,
        };
        let writes = WritesByCause {
            counters: self.writes.counters / MEASURED_SECONDS,
            journal: self.writes.journal / MEASURED_SECONDS,
            leases: self.writes.leases / MEASURED_SECONDS,
            usage: self.writes.usage / MEASURED_SECONDS,
        };
        Steady {
            profile: self.profile.name.clone(),
            nodes: self.caches.len(),
            sessions: self.population.sessions(),
            logins_per_second: logins / MEASURED_SECONDS,
            logins_from_cache: share(logins - misses, logins),
            lookups_from_cache: 1.0 - share(misses, logins * self.parameters.login.lookups as f64),
            table: self.table.mean(MEASURED_SECONDS),
            table_peak: self.table.peak(),
            hottest_key: self.table.hottest(),
            reads,
            writes,
            objects: self.prefixes.mean(MEASURED_SECONDS),
            busiest_prefix: self.prefixes.peak(),
        }
    }
}

/// What DynamoDB counts for a strongly consistent read of an item: 1 for each 4 KB.
pub(crate) fn read_units(bytes: u64) -> u64 {
    bytes.div_ceil(4_096).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(profile: usize, nodes: usize) -> (Steady, Parameters, Settings) {
        let (parameters, settings) = (Parameters::default(), Settings::load().unwrap());
        let profile = &parameters.profiles[profile];
        let steady = run(profile, nodes, &parameters, &settings, &Measured::load().unwrap());
        (steady, parameters, settings)
    }

    #[test]
    fn logins_come_at_their_rate_and_each_miss_reads_two_items() {
        let (steady, parameters, _) = steady(1, 5);
        let expected = steady.sessions as f64 / parameters.profiles[1].session_seconds;
        assert!((steady.logins_per_second / expected - 1.0).abs() < 0.05, "{steady:?}");
        let from_logins = 2.0 * steady.logins_per_second * (1.0 - steady.logins_from_cache);
        assert!((steady.reads.logins - from_logins).abs() < 0.01, "{steady:?}");
        // The counters of tenants with a quota, one read for each node and tenant in 7 seconds at most.
        assert!(steady.reads.usage > 0.0 && steady.reads.usage < 5.0 * 100.0 / 5.0, "{steady:?}");
        let sum = steady.reads.journal + steady.reads.leases + steady.reads.logins + steady.reads.usage;
        assert!((sum - steady.table.reads).abs() < 0.001 * sum, "{steady:?}");
    }

    #[test]
    fn the_journal_is_read_more_often_than_it_is_written() {
        let (steady, parameters, settings) = steady(1, 5);
        let profile = &parameters.profiles[1];
        let uploads = steady.sessions as f64 * profile.files_per_hour / 3_600.0 * profile.upload_share;
        let large = uploads * profile.large_share;
        assert!((steady.writes.journal / (2.0 * large) - 1.0).abs() < 0.1, "{steady:?}");
        let parts = (profile.large_mib << 20).div_ceil(settings.vfs.part_size.as_u64()) as f64;
        let least = uploads + large * (parts + 1.0);
        assert!(steady.reads.journal > 0.95 * least && steady.reads.journal < 1.5 * least, "{steady:?}");
    }

    /// On few nodes most ends of sessions are told with a login that comes meanwhile, on many each alone.
    #[test]
    fn ends_of_sessions_are_told_together_where_they_come_together() {
        let per_login = |nodes| {
            let (steady, parameters, _) = steady(2, nodes);
            let units = parameters.coordination.counter_units(nodes as u64) as f64;
            steady.writes.counters / units / (steady.logins_per_second * limited(&parameters))
        };
        let (one, many) = (per_login(1), per_login(20));
        assert!(1.0 < one && one < many && many < 2.0, "{one} and {many}");
    }

    /// How many of the sessions are of tenants with a limit.
    fn limited(parameters: &Parameters) -> f64 {
        let of = |tenant: usize| 1.0 / (tenant + 1) as f64;
        let tenants = parameters.cluster.tenants;
        let limited = (0..tenants).filter(|tenant| has(*tenant as u32, parameters.cluster.limited_share));
        limited.map(of).sum::<f64>() / (0..tenants).map(of).sum::<f64>()
    }

    /// A user with k sessions logs in at a node k / (session × nodes) times a second; users have Poisson many
    /// sessions here, and each login is one of such a user.
    #[test]
    fn the_cache_helps_as_much_as_it_can() {
        for (profile, nodes) in [(1, 1), (1, 5), (2, 2), (2, 10)] {
            let (steady, parameters, settings) = steady(profile, nodes);
            let profile = &parameters.profiles[profile];
            let life = settings.accounts.life(true, 0.5, std::time::Duration::ZERO).as_secs_f64();
            let mean = profile.sessions_per_user;
            // The number of sessions of the user of a session is 1 + Poisson(mean).
            let (mut expected, mut weight) = (0.0, (-mean).exp());
            for others in 0..400 {
                let arrivals = f64::from(1 + others) / profile.session_seconds / nodes as f64 * life;
                expected += weight * arrivals / (1.0 + arrivals);
                weight *= mean / f64::from(others + 1);
            }
            let measured = steady.logins_from_cache;
            assert!((measured - expected).abs() < 0.02, "{} on {nodes}: {measured}, not {expected}", profile.name);
        }
    }

    #[test]
    fn nodes_renew_their_leases() {
        let (steady, parameters, _) = steady(0, 10);
        assert!((steady.writes.leases - 10.0 / parameters.coordination.lease_renewal_seconds).abs() < 0.05);
        let sum = steady.writes.counters + steady.writes.journal + steady.writes.leases + steady.writes.usage;
        assert!((sum - steady.table.writes).abs() < 0.1 * sum, "{steady:?}");
    }

    #[test]
    fn one_seed_gives_one_result() {
        assert_eq!(steady(2, 2).0, steady(2, 2).0);
    }
}
