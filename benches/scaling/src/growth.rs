//! How the group of nodes follows its sessions: growing while they come, draining while they go.
//!
//! Target tracking, as the Terraform module sets it up by sessions per node. A session stays where it began, so
//! new nodes take new sessions only.

use serde::{Deserialize, Serialize};

use crate::parameters::{Growth, Parameters};
use crate::queue::{Micros, Queue, micros, seconds};
use crate::random::Random;
use crate::settings::Settings;

/// Before the first and behind the last change, in minutes.
const CALM_MINUTES: f64 = 30.0;
/// How soon a client comes again that a node had no place for, in seconds.
const AGAIN_SECONDS: f64 = 5.0;

/// What came of a rise and fall of sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Grown {
    /// How long the rise took, and the fall.
    pub(crate) ramp_minutes: f64,
    /// The most nodes in service.
    pub(crate) most_nodes: usize,
    /// The most sessions that one node had.
    pub(crate) fullest: usize,
    /// Connections that found their node full.
    pub(crate) refused: u64,
    /// Minutes in which the mean over the nodes was more than a half above the target.
    pub(crate) minutes_behind: usize,
    /// Sessions that a draining node ended, and that began again elsewhere.
    pub(crate) moved: u64,
    /// Sessions that were cut at `drain.deadline` with their transfer.
    pub(crate) cut: u64,
    /// Minute by minute.
    pub(crate) minutes: Vec<Minute>,
}

/// A minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Minute {
    /// Sessions on all nodes.
    pub(crate) sessions: usize,
    /// Nodes in service.
    pub(crate) nodes: usize,
    /// Sessions of the fullest node.
    pub(crate) fullest: usize,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Perhaps a session begins.
    Arrival,
    /// A client that found no place comes again.
    Again,
    /// A session ends.
    End(usize),
    /// A node is launched and healthy.
    Ready,
    /// A draining node ends its idle sessions.
    EndIdle(usize),
    /// A draining node cuts what is left.
    Cut(usize),
    /// The metric and its alarms are looked at.
    Minute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InService,
    Draining,
    Gone,
}

#[derive(Debug)]
struct Node {
    state: State,
    sessions: usize,
}

struct Run<'a> {
    parameters: &'a Growth,
    settings: &'a Settings,
    ramp: f64,
    random: Random,
    queue: Queue<Event>,
    nodes: Vec<Node>,
    /// Which of them are in service.
    serving: Vec<usize>,
    /// The node of each session; those that have ended are used again.
    places: Vec<Option<usize>>,
    free: Vec<usize>,
    open: usize,
    launching: usize,
    above: usize,
    below: usize,
    /// The arrivals a second that there are at most.
    most_arrivals: f64,
    grown: Grown,
}

/// Lets sessions rise and fall within so many minutes each.
pub(crate) fn run(ramp_minutes: f64, parameters: &Parameters, settings: &Settings) -> Grown {
    let growth = &parameters.growth;
    let random = Random::new(parameters.seed, &format!("growth {ramp_minutes}"));
    let (low, high) = (growth.sessions.0 as f64, growth.sessions.1 as f64);
    let nodes = growth.sessions.0.div_ceil(settings.module.sessions_per_node.max(1)).max(1);
    Run {
        parameters: growth,
        settings,
        ramp: ramp_minutes * 60.0,
        random,
        queue: Queue::new(),
        nodes: (0..nodes).map(|_| Node { state: State::InService, sessions: 0 }).collect(),
        serving: (0..nodes).collect(),
        places: Vec::new(),
        free: Vec::new(),
        open: 0,
        launching: 0,
        above: 0,
        below: 0,
        most_arrivals: high / (growth.session_minutes * 60.0) + (high - low) / (ramp_minutes * 60.0),
        grown: Grown {
            ramp_minutes,
            most_nodes: nodes,
            fullest: 0,
            refused: 0,
            minutes_behind: 0,
            moved: 0,
            cut: 0,
            minutes: Vec::new(),
        },
    }
    .live(growth.sessions.0)
}

impl Run<'_> {
    fn live(mut self, sessions: usize) -> Grown {
        (0..sessions).for_each(|_| self.begin());
        self.queue.after(0, Event::Arrival);
        self.queue.after(micros(60.0), Event::Minute);
        let end = micros(self.ramp * 2.0 + 3.0 * CALM_MINUTES * 60.0);
        while let Some(event) = self.queue.next_before(end) {
            match event {
                Event::Arrival => self.arrival(),
                Event::Again => self.begin(),
                Event::End(session) => self.end(session),
                Event::Ready => self.ready(),
                Event::EndIdle(node) => self.end_idle(node),
                Event::Cut(node) => self.cut(node),
                Event::Minute => self.minute(),
            }
        }
        self.grown
    }

    /// New sessions a second that make their number what it should be: as many as end, and the change.
    fn arrivals(&self, now: Micros) -> f64 {
        let (low, high) = (self.parameters.sessions.0 as f64, self.parameters.sessions.1 as f64);
        let (calm, change) = (CALM_MINUTES * 60.0, (high - low) / self.ramp);
        let at = seconds(now);
        let rise = ((at - calm) / self.ramp).clamp(0.0, 1.0);
        let fall = ((at - 2.0 * calm - self.ramp) / self.ramp).clamp(0.0, 1.0);
        let sessions = low + (high - low) * (rise - fall);
        let change = match () {
            () if rise > 0.0 && rise < 1.0 => change,
            () if fall > 0.0 && fall < 1.0 => -change,
            () => 0.0,
        };
        (sessions / (self.parameters.session_minutes * 60.0) + change).max(0.0)
    }

    /// Arrivals at the greatest rate, of which those are left out that are too many now.
    fn arrival(&mut self) {
        let share = self.arrivals(self.queue.now()) / self.most_arrivals;
        if self.random.chance(share) {
            self.begin();
        }
        let wait = self.random.exponential(1.0 / self.most_arrivals);
        self.queue.after(micros(wait), Event::Arrival);
    }

    /// A session begins on some node, or comes again if that is full.
    fn begin(&mut self) {
        let Some(node) = self.admit() else { return };
        let session = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if let Some(place) = self.places.get_mut(session) {
            *place = Some(node);
        }
        self.open += 1;
        let lasts = self.random.exponential(self.parameters.session_minutes * 60.0);
        self.queue.after(micros(lasts), Event::End(session));
    }

    /// A place for a connection on the node that the balancer picks.
    fn admit(&mut self) -> Option<usize> {
        let pick = self.random.below(self.serving.len());
        let at = self.serving.get(pick).copied()?;
        let node = self.nodes.get_mut(at)?;
        if node.sessions >= self.settings.ssh.max_connections as usize {
            self.grown.refused += 1;
            self.queue.after(micros(AGAIN_SECONDS), Event::Again);
            return None;
        }
        node.sessions += 1;
        self.grown.fullest = self.grown.fullest.max(node.sessions);
        Some(at)
    }

    fn end(&mut self, session: usize) {
        if let Some(node) = self.places.get_mut(session).and_then(Option::take)
            && let Some(node) = self.nodes.get_mut(node)
        {
            node.sessions -= 1;
            self.open -= 1;
        }
        // Its number is free only now, so that no event is left that means the old session.
        self.free.push(session);
    }

    fn ready(&mut self) {
        self.launching -= 1;
        self.serving.push(self.nodes.len());
        self.nodes.push(Node { state: State::InService, sessions: 0 });
        self.grown.most_nodes = self.grown.most_nodes.max(self.serving.len());
    }

    fn minute(&mut self) {
        let fullest = self.nodes.iter().map(|node| node.sessions).max().unwrap_or(0);
        self.grown.minutes.push(Minute { sessions: self.open, nodes: self.serving.len(), fullest });
        let target = self.settings.module.sessions_per_node as f64;
        let mean = self.open as f64 / self.serving.len() as f64;
        self.grown.minutes_behind += usize::from(mean > 1.5 * target);
        self.scale(target);
        self.queue.after(micros(60.0), Event::Minute);
    }

    /// What target tracking does with the metric as it was some minutes ago.
    fn scale(&mut self, target: f64) {
        let seen = self.grown.minutes.len().checked_sub(1 + self.parameters.metric_delay_minutes);
        let Some(seen) = seen.and_then(|n| self.grown.minutes.get(n)) else { return };
        let mean = seen.sessions as f64 / seen.nodes as f64;
        self.above = if mean > target { self.above + 1 } else { 0 };
        self.below = if mean < 0.9 * target { self.below + 1 } else { 0 };
        let wanted = ((seen.sessions as f64 / target).ceil() as usize).max(1);
        let capacity = self.serving.len() + self.launching;
        if self.above >= self.parameters.alarm_minutes {
            for _ in capacity..wanted {
                self.launching += 1;
                self.queue.after(micros(self.parameters.launch_seconds), Event::Ready);
            }
        } else if self.below >= self.parameters.calm_minutes && self.launching == 0 {
            (wanted..capacity).for_each(|_| self.drain());
        }
    }

    /// The oldest node goes.
    fn drain(&mut self) {
        if self.serving.len() < 2 {
            return;
        }
        let node = self.serving.remove(0);
        if let Some(node) = self.nodes.get_mut(node) {
            node.state = State::Draining;
        }
        let module = &self.settings.module;
        self.queue.after(micros(module.drain_delay_seconds), Event::EndIdle(node));
        self.queue.after(micros(module.drain_delay_seconds + module.drain_deadline_seconds), Event::Cut(node));
    }

    fn end_idle(&mut self, node: usize) {
        for session in self.sessions_of(node) {
            if !self.random.chance(self.parameters.busy_share) {
                self.grown.moved += u64::from(self.move_away(session, node));
            }
        }
    }

    fn cut(&mut self, node: usize) {
        for session in self.sessions_of(node) {
            self.grown.cut += u64::from(self.move_away(session, node));
        }
        if let Some(node) = self.nodes.get_mut(node) {
            node.state = State::Gone;
        }
    }

    fn sessions_of(&self, node: usize) -> Vec<usize> {
        let draining = self.nodes.get(node).is_some_and(|node| node.state == State::Draining);
        let on_it = |(session, place): (usize, &Option<usize>)| (*place == Some(node)).then_some(session);
        if draining { self.places.iter().enumerate().filter_map(on_it).collect() } else { Vec::new() }
    }

    /// A session's client logs in again at once. Whether it found a place; otherwise it comes again later.
    fn move_away(&mut self, session: usize, from: usize) -> bool {
        let to = self.admit();
        if let Some(from) = self.nodes.get_mut(from) {
            from.sessions -= 1;
        }
        if to.is_none() {
            self.open -= 1;
        }
        if let Some(place) = self.places.get_mut(session) {
            *place = to;
        }
        to.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(change: impl FnOnce(&mut Parameters)) -> (Grown, Parameters, Settings) {
        let (mut parameters, settings) = (Parameters::default(), Settings::load().unwrap());
        (parameters.growth.sessions, parameters.growth.ramp_minutes) = ((4_000, 20_000), vec![30.0]);
        change(&mut parameters);
        (run(30.0, &parameters, &settings), parameters, settings)
    }

    #[test]
    fn sessions_follow_the_ramp_and_nodes_follow_them() {
        let (grown, _, settings) = grown(|_| {});
        let minute = |n: usize| grown.minutes[n];
        let near = |is: usize, should: usize| is.abs_diff(should) < should / 20;
        assert!(near(minute(25).sessions, 4_000) && near(minute(85).sessions, 20_000), "{:?}", grown.minutes);
        // Just at the target of two nodes, chance may bring a third.
        assert!((2..=3).contains(&minute(25).nodes), "{:?}", grown.minutes);
        let wanted = 20_000_usize.div_ceil(settings.module.sessions_per_node);
        assert!(minute(88).nodes.abs_diff(wanted) <= 1, "{:?}", minute(88));
        // They go as they end by themselves, half an hour later all but an e-th of those that are too many.
        let last = grown.minutes.last().unwrap();
        assert!((4_000..6_500).contains(&last.sessions) && last.nodes < wanted, "{last:?}");
        assert!(grown.moved > 0 && grown.fullest > settings.module.sessions_per_node);
    }

    #[test]
    fn a_full_node_refuses_and_clients_come_again() {
        let (grown, _, settings) = grown(|parameters| parameters.growth.launch_seconds = 36_000.0);
        assert_eq!(grown.fullest, settings.ssh.max_connections as usize);
        assert!(grown.refused > 0 && grown.most_nodes == 2 && grown.minutes_behind > 30, "{grown:?}");
    }

    #[test]
    fn one_seed_gives_one_result() {
        assert_eq!(grown(|_| {}).0, grown(|_| {}).0);
        assert_ne!(grown(|_| {}).0, grown(|parameters| parameters.seed += 1).0);
    }
}
