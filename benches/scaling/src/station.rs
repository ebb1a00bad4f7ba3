//! Servers with one queue: the cores of a node, and the logins that wait for them.

use std::collections::VecDeque;

/// Servers, and who waits for one. Whoever begins is told to the caller, who lets time pass.
#[derive(Debug)]
pub(crate) struct Station<T> {
    idle: usize,
    waiting: VecDeque<T>,
}

impl<T> Station<T> {
    pub(crate) fn new(servers: usize) -> Self {
        Self { idle: servers, waiting: VecDeque::new() }
    }

    /// Somebody comes; who begins now, if a server is idle.
    pub(crate) fn arrive(&mut self, who: T) -> Option<T> {
        if self.idle > 0 {
            self.idle -= 1;
            return Some(who);
        }
        self.waiting.push_back(who);
        None
    }

    /// Somebody has been served; who begins now, if anybody waits.
    pub(crate) fn leave(&mut self) -> Option<T> {
        let next = self.waiting.pop_front();
        self.idle += usize::from(next.is_none());
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Micros, Queue, micros, seconds};
    use crate::random::Random;

    /// Erlang's formula C: the share that has to wait, with `load` servers busy in the mean.
    fn erlang_c(servers: u32, load: f64) -> f64 {
        let (mut term, mut sum) = (1.0, 0.0);
        for n in 0..servers {
            sum += term;
            term *= load / f64::from(n + 1);
        }
        let waits = term / (1.0 - load / f64::from(servers));
        waits / (sum + waits)
    }

    #[derive(Debug)]
    enum Event {
        Arrival,
        End,
    }

    /// The mean wait in seconds of arrivals by chance, as M/M/c.
    fn mean_wait(servers: usize, per_second: f64, service: f64) -> f64 {
        const ARRIVALS: u32 = 400_000;
        let (mut queue, mut random) = (Queue::new(), Random::new(1, "station"));
        let mut station: Station<Micros> = Station::new(servers);
        let (mut arrived, mut waited) = (0, 0.0);
        queue.after(0, Event::Arrival);
        while let Some(event) = queue.next_before(Micros::MAX) {
            let now = queue.now();
            let begins = match event {
                Event::Arrival => {
                    arrived += 1;
                    if arrived < ARRIVALS {
                        queue.after(micros(random.exponential(1.0 / per_second)), Event::Arrival);
                    }
                    station.arrive(now)
                }
                Event::End => station.leave(),
            };
            if let Some(since) = begins {
                waited += seconds(now - since);
                queue.after(micros(random.exponential(service)), Event::End);
            }
        }
        waited / f64::from(ARRIVALS)
    }

    #[test]
    fn waits_are_those_of_erlangs_formula() {
        for (servers, load) in [(1, 0.7), (2, 1.6), (4, 3.2)] {
            let service = 0.015;
            let per_second = load / service;
            let expected = erlang_c(servers, load) * service / (f64::from(servers) - load);
            let measured = mean_wait(servers as usize, per_second, service);
            assert!((measured / expected - 1.0).abs() < 0.05, "{servers} servers, {load}: {measured}, not {expected}");
        }
    }

    #[test]
    fn who_came_first_is_served_first() {
        let mut station = Station::new(1);
        assert_eq!((station.arrive("a"), station.arrive("b"), station.arrive("c")), (Some("a"), None, None));
        assert_eq!((station.leave(), station.leave(), station.leave()), (Some("b"), Some("c"), None));
        assert_eq!(station.arrive("d"), Some("d"));
    }
}
