//! Clients that work in threads of their own while something happens.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tidegate_tests::until;

const LIMIT: Duration = Duration::from_secs(60);

/// What a client does with the load it is part of.
pub(crate) type Client<'a> = Box<dyn FnOnce(&Load) + Send + 'a>;

/// What the clients and the test tell one another.
#[derive(Default)]
pub(crate) struct Load {
    is_over: AtomicBool,
    has_failed: AtomicBool,
    done: AtomicUsize,
}

impl Load {
    /// Runs `test` while the clients run, each in a thread of its own. They are to end when the load is
    /// over, which it is when the test has ended, in whatever way. The test fails if one of them does.
    pub(crate) fn run<'a>(clients: impl IntoIterator<Item = Client<'a>>, test: impl FnOnce(&Self)) {
        let load = Self::default();
        thread::scope(|scope| {
            for client in clients {
                let load = &load;
                scope.spawn(move || {
                    let _failure = Notice(&load.has_failed, thread::panicking);
                    client(load);
                });
            }
            let _end = Notice(&load.is_over, || true);
            test(&load);
        });
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// For a client that has done one more piece of its work.
    pub(crate) fn add(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until the clients have done so many more pieces of work.
    pub(crate) fn wait_for(&self, more: usize) {
        let enough = self.done.load(Ordering::Relaxed) + more;
        until("the clients go on", LIMIT, || {
            assert!(!self.has_failed.load(Ordering::Relaxed), "a client has failed, as it said above");
            (self.done.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

/// Sets what it has when it is dropped, if that holds then.
struct Notice<'a>(&'a AtomicBool, fn() -> bool);

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        if self.1() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
