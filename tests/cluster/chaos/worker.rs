//! Clients that do at random what clients do, and write down what they heard.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::client::{Client, Told};
use crate::history::{Action, Fate, Recorder, Sight, Version, content};

/// Directories are left behind after so long, so that what is in doubt about their files does not
/// cover all that comes later.
const EPOCH: Duration = Duration::from_secs(15);

/// The names in each directory.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Where the clients work: each in a directory of its own, and all in one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    pub(crate) clients: usize,
    pub(crate) length: Duration,
}

impl Ground {
    /// All directories, those above others first.
    pub(crate) fn directories(self) -> Vec<String> {
        let epochs = 0..=self.length.as_secs() / EPOCH.as_secs();
        epochs
            .flat_map(|epoch| {
                let inner = (0..=self.clients).map(move |number| directory(epoch, number));
                std::iter::once(format!("/{epoch}")).chain(inner)
            })
            .collect()
    }

    /// The directories that hold files.
    pub(crate) fn leaves(self) -> Vec<String> {
        self.directories().into_iter().filter(|directory| directory.matches('/').count() == 2).collect()
    }

    /// What may be in one of them.
    pub(crate) fn files(directory: &str) -> Vec<String> {
        NAMES.iter().map(|name| format!("{directory}/{name}")).collect()
    }
}

/// The directory of one client, or of all: the last number.
fn directory(epoch: u64, number: usize) -> String {
    format!("/{epoch}/{number}")
}

pub(crate) struct Worker<'a> {
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) ground: Ground,
    pub(crate) recorder: &'a Recorder,
    client: Box<dyn Client + 'a>,
    random: SmallRng,
    uploads: u64,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        name: &str,
        number: usize,
        seed: u64,
        ground: Ground,
        recorder: &'a Recorder,
        client: Box<dyn Client + 'a>,
    ) -> Self {
        let random = SmallRng::seed_from_u64(seed ^ ((number as u64 + 1) << 48));
        Self { name: name.to_owned(), number, ground, recorder, client, random, uploads: 0 }
    }

    /// Works until the run has had its length.
    pub(crate) fn work(&mut self) {
        let start = Instant::now();
        while start.elapsed() < self.ground.length {
            let epoch = start.elapsed().as_secs() / EPOCH.as_secs();
            self.step(epoch);
        }
    }

    fn step(&mut self, epoch: u64) {
        // One writer alone or several: other mistakes are found in each.
        let place = if self.random.random_bool(0.5) { self.number } else { self.ground.clients };
        let file = |random: &mut SmallRng, place| {
            format!("{}/{}", directory(epoch, place), NAMES[random.random_range(0..NAMES.len())])
        };
        let path = file(&mut self.random, place);
        match self.random.random_range(0..100) {
            0..40 => self.publish(path, place == self.number),
            40..50 => {
                let to = file(&mut self.random, place);
                if to != path {
                    self.rename(path, to);
                }
            }
            50..57 => self.remove(path),
            57..67 => {
                let place = self.random.random_range(0..=self.ground.clients);
                self.list(&directory(epoch, place));
            }
            _ => {
                let place = self.random.random_range(0..=self.ground.clients);
                let path = file(&mut self.random, place);
                self.fetch(path);
            }
        }
    }

    fn publish(&mut self, path: String, alone: bool) {
        self.uploads += 1;
        let version = Version(((self.number as u64 + 1) << 32) | self.uploads);
        let large = if alone { self.client.large_of_100() } else { 6 };
        let len = match self.random.random_range(0..100_u32) {
            // Two parts and three.
            number if number < large => self.random.random_range((6 << 20)..(12 << 20)),
            number if number < large + 24 => self.random.random_range(60_000..1_000_000),
            _ => self.random.random_range(16..60_000),
        };
        let content = content(version, len);
        let from = self.recorder.now();
        let (told, lost) = match alone {
            true => self.client.publish_alone(&path, &content),
            false => (self.client.publish(&path, &content), None),
        };
        if let Some(lost) = lost {
            let sight = Sight::Damaged(format!("of upload {}, {lost}", version.0));
            self.record(from, Action::See { path: path.clone(), sight }, Fate::Done);
        }
        let fate = match told {
            Told::Done => Fate::Done,
            Told::InDoubt | Told::Missing => Fate::InDoubt,
            Told::Unclosed => Fate::Never,
        };
        if fate == Fate::InDoubt && self.client.removes_behind_failure() {
            self.record(from, Action::Remove { path: path.clone() }, fate);
        }
        self.record(from, Action::Publish { path, version }, fate);
    }

    fn remove(&mut self, path: String) {
        let from = self.recorder.now();
        let told = self.client.remove(&path);
        let action = Action::Remove { path: path.clone() };
        self.changed(from, told, action, path);
    }

    fn rename(&mut self, path: String, to: String) {
        let from = self.recorder.now();
        let Some(told) = self.client.rename(&path, &to) else { return };
        let action = Action::Rename { from: path.clone(), to };
        self.changed(from, told, action, path);
    }

    /// Writes down a change of what was at `path`.
    fn changed(&self, from: u64, told: Told, action: Action, path: String) {
        let fate = match told {
            Told::Done => Fate::Done,
            Told::InDoubt | Told::Unclosed => Fate::InDoubt,
            Told::Missing => {
                // Or it was a second try of the node's that found nothing any more.
                self.record(from, Action::See { path, sight: Sight::Absent }, Fate::Done);
                Fate::Perhaps
            }
        };
        self.record(from, action, fate);
    }

    /// Reads a file; whether that told something.
    pub(crate) fn fetch(&mut self, path: String) -> bool {
        let from = self.recorder.now();
        let sight = self.client.fetch(&path);
        let told = sight.is_some();
        if let Some(sight) = sight {
            self.record(from, Action::See { path, sight }, Fate::Done);
        }
        told
    }

    /// Lists a directory; whether that told something.
    pub(crate) fn list(&mut self, directory: &str) -> bool {
        let from = self.recorder.now();
        let Some(names) = self.client.names(directory) else { return false };
        for name in NAMES {
            let sight = if names.contains(name) { Sight::Present } else { Sight::Absent };
            self.record(from, Action::See { path: format!("{directory}/{name}"), sight }, Fate::Done);
        }
        true
    }

    fn record(&self, from: u64, action: Action, fate: Fate) {
        self.recorder.record(&self.name, from, action, fate);
    }
}
