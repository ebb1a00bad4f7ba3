//! Waiting for what happens in another process, with a limit.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(25);

/// Asks `probe` again and again until it gives a value.
///
/// # Panics
/// If there is none within `limit`; the message says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(POLL);
    }
}
