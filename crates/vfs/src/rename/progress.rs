//! How far the rename of a directory is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{Counted, Metrics};
use crate::path::VirtualPath;

/// How often it is logged: at the latest after so long, or so many objects.
const LOG_EVERY: Duration = Duration::from_secs(10);
const LOG_OBJECTS: u64 = 10_000;

/// Counts objects, and tells the log now and then.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    from: &'a VirtualPath,
    to: &'a VirtualPath,
    begun: Instant,
    state: Mutex<State>,
    metrics: Metrics,
    _counted: Counted,
}

#[derive(Debug)]
struct State {
    moved: u64,
    told: u64,
    told_at: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn begin(from: &'a VirtualPath, to: &'a VirtualPath, metrics: &Metrics) -> Self {
        let begun = Instant::now();
        let state = Mutex::new(State { moved: 0, told: 0, told_at: begun });
        let counted = Counted::new(&metrics.directory_renames);
        Self { from, to, begun, state, metrics: metrics.clone(), _counted: counted }
    }

    /// Another object has moved.
    pub(super) fn moved(&self) {
        self.metrics.renamed_objects.inc();
        let objects = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.moved += 1;
            if state.moved - state.told < LOG_OBJECTS && state.told_at.elapsed() < LOG_EVERY {
                return;
            }
            (state.told, state.told_at) = (state.moved, Instant::now());
            state.moved
        };
        let seconds = self.begun.elapsed().as_secs();
        tracing::info!(path = %self.from, target = %self.to, objects, seconds, "a directory is being renamed");
    }

    /// How many have moved.
    pub(super) fn count(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).moved
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_rename_is_told_after_ten_thousand_objects_and_after_ten_seconds() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(log);
        let told = || String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
        let path = |text: &str| VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap();
        let (from, to) = (path("/a"), path("/b"));
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let progress = Progress::begin(&from, &to, &metrics);

        (1..LOG_OBJECTS).for_each(|_| progress.moved());
        assert_eq!(told(), "");
        progress.moved();
        let line = told();
        assert!(line.ends_with("path=/a target=/b objects=10000 seconds=0\n"), "{line}");

        tokio::time::advance(LOG_EVERY - Duration::from_millis(1)).await;
        progress.moved();
        assert_eq!(told(), "");
        tokio::time::advance(Duration::from_millis(1)).await;
        progress.moved();
        let line = told();
        assert!(line.ends_with("objects=10002 seconds=10\n"), "{line}");
        progress.moved();
        assert_eq!(told(), "", "not with each object from then on");
        assert_eq!(metrics.renamed_objects.get(), LOG_OBJECTS + 3);
    }
}
