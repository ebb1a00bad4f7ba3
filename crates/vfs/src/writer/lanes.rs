//! How many parts of one file are under way at once: pure, the time is passed in.
//!
//! As many as keep the client from waiting, and no more than help, since each takes memory. By
//! Little's law the parts under way are the rate at which they come times the time that one takes.
//! Where the client has to wait all the same, another number is tried for a round of landings: a
//! larger one stays if more bytes land in a second, a smaller one if not fewer do. Nothing is tried
//! while the client is the slower side: then fewer than allowed are under way by themselves.

use std::time::Duration;

/// Lanes of a new file, before anything is known: no more are needed where the store is as near as
/// it should be.
const START: usize = 4;

/// Above what Little's law gives, for gaps and variance.
const MARGIN: f64 = 1.25;

/// How much of the growth of the lanes must show in the rate for them to stay.
const GAIN_MIN: f64 = 0.25;

/// What fewer lanes must reach of the rate of more.
const LOSS_MAX: f64 = 0.95;

/// How many more lanes are tried at most, in quarters of those that there are. A trial that failed
/// is followed by small steps, which grow again with each that helps.
const STEP_MAX: usize = 12;

/// Rounds without a trial after one that failed: doubled each time.
const HOLD_MIN: u32 = 4;
const HOLD_MAX: u32 = 64;

/// Rounds without a wait before lanes are given up.
const CALM: u32 = 4;

/// The weight of a new measurement.
const SMOOTHING: f64 = 0.25;

/// Decides how many parts of one file may be under way.
#[derive(Debug)]
pub(super) struct Lanes {
    max: usize,
    lanes: usize,
    /// Bytes a second that come from the client while it need not wait.
    arrival: Option<f64>,
    /// Seconds that a part takes, and its bytes.
    service: Option<(f64, f64)>,
    round: Round,
    trial: Option<Trial>,
    /// What is tried next.
    next: Direction,
    step: usize,
    hold: u32,
    hold_next: u32,
    calm: u32,
}

#[derive(Debug, Default)]
struct Round {
    /// Landings that are still to be left out: of parts that were launched under other rules.
    settling: usize,
    /// Landings that are measured.
    quota: usize,
    began: Duration,
    landed: usize,
    bytes: u64,
    waited: bool,
    /// Most parts under way.
    peak: usize,
}

/// Another number of lanes for one round.
#[derive(Clone, Copy, Debug)]
struct Trial {
    direction: Direction,
    /// Before it.
    lanes: usize,
    rate: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Down,
    Up,
}

impl Lanes {
    /// At least one lane, at most `max`.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            max,
            lanes: START.min(max),
            arrival: None,
            service: None,
            round: Round { quota: START.min(max), ..Round::default() },
            trial: None,
            next: Direction::Up,
            step: STEP_MAX,
            hold: 0,
            hold_next: HOLD_MIN,
            calm: 0,
        }
    }

    /// How many parts may be under way.
    pub(super) fn allowed(&self) -> usize {
        self.lanes
    }

    /// A part of `bytes` goes on its way at `now`, which the client has filled in `gathered`;
    /// `under_way` counts it.
    pub(super) fn launched(&mut self, bytes: u64, gathered: Duration, under_way: usize, now: Duration) {
        let rate = bytes as f64 / gathered.as_secs_f64().max(1e-6);
        self.arrival = Some(smooth(self.arrival, rate));
        if under_way == 1 && self.round.landed == 0 && self.round.settling == 0 {
            // Time in which nothing was under way says nothing about the store.
            self.round.began = now;
        }
        self.round.peak = self.round.peak.max(under_way);
    }

    /// The client waits for a lane.
    pub(super) fn waited(&mut self) {
        self.round.waited = true;
    }

    /// A part of `bytes` has landed at `now`, `took` after it was launched.
    pub(super) fn landed(&mut self, bytes: u64, took: Duration, now: Duration) {
        let (seconds, size) = self.service.unzip();
        self.service = Some((smooth(seconds, took.as_secs_f64()), smooth(size, bytes as f64)));
        if self.round.settling > 0 {
            self.round =
                Round { settling: self.round.settling - 1, quota: self.round.quota, began: now, ..Round::default() };
            return;
        }
        self.round.landed += 1;
        self.round.bytes = self.round.bytes.saturating_add(bytes);
        if self.round.landed >= self.round.quota {
            let round = std::mem::take(&mut self.round);
            let before = self.lanes;
            self.judge(&round, now);
            let settling = if self.lanes == before { 0 } else { self.lanes.max(before) };
            self.round = Round { settling, quota: (2 * self.lanes).max(4), began: now, ..Round::default() };
        }
    }

    fn judge(&mut self, round: &Round, now: Duration) {
        if !round.waited {
            return self.relax(round);
        }
        self.calm = 0;
        let seconds = now.saturating_sub(round.began).as_secs_f64().max(1e-6);
        let rate = round.bytes as f64 / seconds;
        let Some(trial) = self.trial.take() else {
            self.hold = self.hold.saturating_sub(1);
            if self.hold == 0 {
                self.begin_trial(rate);
            }
            return;
        };
        let growth = self.lanes as f64 / trial.lanes as f64;
        match trial.direction {
            Direction::Up if rate >= trial.rate * (1.0 + GAIN_MIN * (growth - 1.0)) => {
                self.hold_next = HOLD_MIN;
                self.step = (2 * self.step).min(STEP_MAX);
                self.begin_trial(rate);
            }
            Direction::Down if rate >= trial.rate * LOSS_MAX => {
                // Measured against the best: small losses must not add up.
                self.begin_trial(rate.max(trial.rate));
            }
            Direction::Up => {
                self.lanes = trial.lanes;
                self.next = Direction::Down;
                self.step = 1;
                self.hold = 2;
            }
            Direction::Down => {
                self.lanes = trial.lanes;
                self.next = Direction::Up;
                self.hold = self.hold_next;
                self.hold_next = (self.hold_next * 2).min(HOLD_MAX);
            }
        }
    }

    /// After a round in which the client never waited.
    fn relax(&mut self, round: &Round) {
        self.trial = None;
        self.calm += 1;
        if self.calm >= CALM {
            self.calm = 0;
            let lower = self.lanes - self.lanes / 4;
            self.lanes = lower.max(round.peak + 1).max(START).min(self.lanes);
        }
    }

    fn begin_trial(&mut self, rate: f64) {
        let step = (self.lanes * self.step).div_ceil(4);
        let target = self.needed().min(self.lanes + step).min(self.max);
        let can_rise = target > self.lanes;
        let direction = if can_rise { self.next } else { Direction::Down };
        let lanes = match direction {
            Direction::Up => target,
            Direction::Down => self.lanes - self.lanes.div_ceil(4),
        };
        if lanes == 0 {
            self.next = Direction::Up;
            self.hold = self.hold_next;
            return;
        }
        self.trial = Some(Trial { direction, lanes: self.lanes, rate });
        self.lanes = lanes;
    }

    /// Little's law, and a part that is being filled.
    fn needed(&self) -> usize {
        let (Some(arrival), Some((seconds, bytes))) = (self.arrival, self.service) else { return self.lanes };
        // A cast of a float saturates.
        ((arrival * seconds / bytes.max(1.0) * MARGIN).ceil() as usize).saturating_add(1)
    }
}

fn smooth(old: Option<f64>, new: f64) -> f64 {
    old.map_or(new, |old| old + SMOOTHING * (new - old))
}

#[cfg(test)]
mod tests;
