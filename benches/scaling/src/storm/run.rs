//! A storm, event by event.

use std::collections::HashSet;

use super::{Case, Cause, Owners, Storm, curve, rounded};
use crate::account_cache::{AccountCache, Found};
use crate::measured::Measured;
use crate::parameters::{Parameters, Retry};
use crate::population::Population;
use crate::queue::{Micros, Queue, micros, second, seconds};
use crate::random::Random;
use crate::settings::Settings;
use crate::station::Station;
use crate::steady::read_units;
use crate::table::{Key, Table, add};

/// Sessions of one user in the mean.
const SESSIONS_PER_USER: f64 = 4.0;
/// The SDK waits up to 1, 2, 4 … seconds before it tries again, 20 at most.
const BACKOFF_MAX: f64 = 20.0;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A client opens a connection.
    Connect(usize),
    /// Its part of the handshake has come to the node, which has to compute.
    Compute(usize),
    /// The node has computed.
    Computed(usize),
    /// The account is looked up.
    LookUp(usize),
    /// The account is there.
    LoggedIn(usize),
    /// A connection came to nothing.
    Failed(usize),
}

/// A client whose session was cut.
#[derive(Debug, Default)]
struct Client {
    kind: usize,
    /// Tries in a row that have failed.
    failed: u32,
    node: usize,
    accepted: Micros,
    asked: Micros,
    /// Requests for the item that is looked up, so far.
    attempts: u32,
    /// Whether the user's item has been read, so that the tenant's comes next.
    user_read: bool,
}

#[derive(Debug)]
struct Node {
    cores: Station<usize>,
    cache: AccountCache,
    connections: usize,
    logging_in: usize,
    /// Logins in the second of the last one.
    busy: (usize, u64),
}

pub(super) struct Run<'a> {
    case: Case,
    parameters: &'a Parameters,
    settings: &'a Settings,
    random: Random,
    queue: Queue<Event>,
    population: Population,
    clients: Vec<Client>,
    /// Those that live, then those that replace the dead.
    nodes: Vec<Node>,
    living: usize,
    /// Mean seconds of a core for one login.
    service: f64,
    table: Table,
    roles: HashSet<(usize, u32)>,
    roles_by_second: Vec<u64>,
    logins_by_second: Vec<u64>,
    back: Vec<Micros>,
    outcome: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    node_logins_peak: u64,
    refused: u64,
    lost: u64,
    throttled: u64,
    failed: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(case: Case, parameters: &'a Parameters, settings: &'a Settings, measured: &Measured) -> Self {
        let mut random = Random::new(parameters.seed, &case.name());
        let sessions = parameters.sessions(case.nodes, settings.module.sessions_per_node);
        let lost = case.lost(parameters).min(case.nodes);
        let living = case.nodes - lost;
        let cut = match case.cause {
            Cause::AllCut => sessions,
            _ => sessions * lost / case.nodes,
        };
        let tenants = match case.owners {
            Owners::Many => parameters.cluster.tenants,
            Owners::One => 1,
        };
        let population = Population::of_tenants(cut, SESSIONS_PER_USER, tenants, &mut random);
        let cores = settings.prices.instance.vcpus as usize;
        let kept = (sessions - cut).checked_div(living).unwrap_or(0);
        let node = |n: usize| Node {
            cores: Station::new(cores),
            cache: AccountCache::default(),
            connections: if n < living { kept } else { 0 },
            logging_in: 0,
            busy: (0, 0),
        };
        let clients = (0..cut).map(|_| Client { kind: kind(&parameters.clients, &mut random), ..Client::default() });
        Self {
            case,
            parameters,
            settings,
            clients: clients.collect(),
            random,
            queue: Queue::new(),
            population,
            nodes: (0..case.nodes).map(node).collect(),
            living,
            service: cores as f64 / case.capacity.per_second(measured, settings),
            table: Table::from(0),
            roles: HashSet::new(),
            roles_by_second: Vec::new(),
            logins_by_second: Vec::new(),
            back: Vec::new(),
            outcome: Counts::default(),
        }
    }

    pub(super) fn pass(mut self) -> Storm {
        let (least, greatest) = self.parameters.death.silent_notice_seconds;
        let silent = matches!(self.case.cause, Cause::MachineGone | Cause::ZoneGone);
        for client in 0..self.clients.len() {
            let notice = if silent { self.random.between(least, greatest) } else { 0.0 };
            let wait = self.wait(client);
            self.queue.after(micros(notice + wait), Event::Connect(client));
        }
        let end = micros(self.parameters.death.horizon_seconds);
        while let Some(event) = self.queue.next_before(end) {
            match event {
                Event::Connect(client) => self.connect(client),
                Event::Compute(client) => self.compute(client),
                Event::Computed(client) => self.computed(client),
                Event::LookUp(client) => self.look_up(client),
                Event::LoggedIn(client) => self.logged_in(client),
                Event::Failed(client) => self.failed(client),
            }
        }
        self.summed_up()
    }

    /// How long a client waits before its next try, in seconds.
    fn wait(&mut self, client: usize) -> f64 {
        let chance = self.random.unit();
        let Some(client) = self.clients.get(client) else { return 0.0 };
        self.parameters.clients.get(client.kind).map_or(0.0, |kind| kind.wait(client.failed, chance))
    }

    fn round_trip(&mut self) -> f64 {
        let (least, greatest) = self.parameters.login.round_trip_ms;
        self.random.between(least, greatest) / 1_000.0
    }

    fn connect(&mut self, client: usize) {
        let now = self.queue.now();
        let death = &self.parameters.death;
        let dead = self.nodes.len() - self.living;
        let replaced = now >= micros(death.replacement_seconds);
        let noticed = now >= micros(self.settings.module.unhealthy_seconds());
        // A balancer without any healthy target sends connections to all.
        let targets = if replaced || !noticed || self.living == 0 { self.nodes.len() } else { self.living };
        let node = self.random.below(targets);
        let round_trip = self.round_trip();
        if node >= self.living && !replaced && dead > 0 {
            self.outcome.lost += 1;
            let lasts = match self.case.cause {
                Cause::NodeKilled | Cause::AllCut => round_trip,
                Cause::MachineGone | Cause::ZoneGone => death.connect_timeout_seconds,
            };
            self.fail_after(client, lasts);
            return;
        }
        let ssh = &self.settings.ssh;
        let Some(place) = self.nodes.get_mut(node) else { return };
        if place.connections >= ssh.max_connections as usize || place.logging_in >= ssh.max_unauthenticated as usize {
            self.outcome.refused += 1;
            self.fail_after(client, round_trip);
            return;
        }
        place.connections += 1;
        place.logging_in += 1;
        if let Some(client) = self.clients.get_mut(client) {
            *client = Client { kind: client.kind, failed: client.failed, node, accepted: now, ..Client::default() };
        }
        let network = round_trip * self.parameters.login.round_trips;
        self.queue.after(micros(network), Event::Compute(client));
    }

    fn compute(&mut self, client: usize) {
        let Some(node) = self.node_of(client) else { return };
        if let Some(begins) = node.cores.arrive(client) {
            self.begin(begins);
        }
    }

    fn begin(&mut self, client: usize) {
        let lasts = self.random.exponential(self.service);
        self.queue.after(micros(lasts), Event::Computed(client));
    }

    fn computed(&mut self, client: usize) {
        let Some(node) = self.node_of(client) else { return };
        if let Some(next) = node.cores.leave() {
            self.begin(next);
        }
        let now = self.queue.now();
        let Some(state) = self.clients.get_mut(client) else { return };
        if now.saturating_sub(state.accepted) > micros(self.settings.ssh.login_grace.as_secs_f64()) {
            self.leave(client);
            self.fail_after(client, 0.0);
            return;
        }
        state.asked = now;
        self.look_up(client);
    }

    fn look_up(&mut self, client: usize) {
        let now = self.queue.now();
        let (user, tenant) = self.population.who(client);
        let Some(node) = self.node_of(client) else { return };
        match node.cache.find(now, user) {
            Found::Remembered => return self.queue.after(0, Event::LoggedIn(client)),
            Found::Asked(ready) => return self.queue.after(ready.saturating_sub(now), Event::LoggedIn(client)),
            Found::Nothing => {}
        }
        let cluster = &self.parameters.cluster;
        let get_item = micros(self.parameters.login.get_item_ms / 1_000.0);
        let Some(state) = self.clients.get(client) else { return };
        let (key, units) = match state.user_read {
            false => (Key::User(user), read_units(cluster.user_item_bytes)),
            true => (Key::Tenant(tenant), read_units(cluster.tenant_item_bytes)),
        };
        if !self.may_read(now, key, units) {
            self.throttled(client);
            return;
        }
        self.table.read(now, key, units);
        if key == Key::User(user) {
            if let Some(state) = self.clients.get_mut(client) {
                (state.user_read, state.attempts) = (true, 0);
            }
            self.queue.after(get_item, Event::LookUp(client));
            return;
        }
        let Some(state) = self.clients.get(client) else { return };
        let (asked, at) = (state.asked, state.node);
        if let Some(node) = self.nodes.get_mut(at) {
            node.cache.ask(asked, user, now + get_item, &self.settings.accounts, &mut self.random);
        }
        self.queue.after(get_item, Event::LoggedIn(client));
    }

    fn may_read(&self, now: Micros, key: Key, units: u64) -> bool {
        let quotas = &self.settings.quotas.dynamodb;
        self.table.reads_in_this_second(now, key) + units <= quotas.partition_reads_per_second
            && self.table.all_reads_in_this_second(now) + units <= quotas.new_table_reads_per_second
    }

    fn throttled(&mut self, client: usize) {
        self.outcome.throttled += 1;
        let now = self.queue.now();
        let chance = self.random.unit();
        let Some(state) = self.clients.get_mut(client) else { return };
        state.attempts += 1;
        let backoff = micros(chance * 2f64.powi(state.attempts as i32 - 1).min(BACKOFF_MAX));
        let waited = now.saturating_sub(state.asked) + backoff;
        let gives_up = state.attempts >= self.settings.max_attempts;
        if gives_up || waited > micros(self.settings.ssh.account_lookup_timeout.as_secs_f64()) {
            self.outcome.failed += 1;
            self.leave(client);
            self.fail_after(client, 0.0);
            return;
        }
        self.queue.after(backoff, Event::LookUp(client));
    }

    fn logged_in(&mut self, client: usize) {
        let now = self.queue.now();
        let (_, tenant) = self.population.who(client);
        let Some(at) = self.clients.get(client).map(|client| client.node) else { return };
        let Some(node) = self.nodes.get_mut(at) else { return };
        node.logging_in -= 1;
        let this = second(now);
        node.busy = if node.busy.0 == this { (this, node.busy.1 + 1) } else { (this, 1) };
        self.outcome.node_logins_peak = self.outcome.node_logins_peak.max(node.busy.1);
        add(&mut self.logins_by_second, this, 1);
        if self.roles.insert((at, tenant)) {
            add(&mut self.roles_by_second, this, 1);
        }
        self.back.push(now);
    }

    /// Gives a client's places at its node back.
    fn leave(&mut self, client: usize) {
        if let Some(node) = self.node_of(client) {
            node.connections -= 1;
            node.logging_in -= 1;
        }
    }

    fn fail_after(&mut self, client: usize, seconds: f64) {
        self.queue.after(micros(seconds), Event::Failed(client));
    }

    fn failed(&mut self, client: usize) {
        if let Some(state) = self.clients.get_mut(client) {
            state.failed = state.failed.saturating_add(1);
        }
        let wait = self.wait(client);
        self.queue.after(micros(wait), Event::Connect(client));
    }

    fn node_of(&mut self, client: usize) -> Option<&mut Node> {
        let node = self.clients.get(client)?.node;
        self.nodes.get_mut(node)
    }

    fn summed_up(self) -> Storm {
        let cut = self.clients.len();
        // The n-th of all, if it is back.
        let back = |n: usize| self.back.get(n.saturating_sub(1)).map(|at| rounded(seconds(*at)));
        let most = |counts: &[u64]| counts.iter().copied().max().unwrap_or(0);
        Storm {
            case: self.case,
            cut,
            half: back(cut.div_ceil(2)),
            most: back((cut * 99).div_ceil(100)),
            all: back(cut),
            logins_peak: most(&self.logins_by_second),
            node_logins_peak: self.outcome.node_logins_peak,
            refused: self.outcome.refused,
            lost: self.outcome.lost,
            reads_peak: self.table.peak().reads,
            key_reads_peak: self.table.hottest().reads,
            throttled: self.outcome.throttled,
            failed: self.outcome.failed,
            roles_peak: most(&self.roles_by_second),
            fullest: self.nodes.iter().map(|node| node.connections).max().unwrap_or(0),
            curve: curve(&self.back, cut),
        }
    }
}

/// Which kind a client is.
fn kind(kinds: &[Retry], random: &mut Random) -> usize {
    let mut left = random.unit();
    for (n, kind) in kinds.iter().enumerate() {
        if left < kind.share {
            return n;
        }
        left -= kind.share;
    }
    kinds.len().saturating_sub(1)
}
