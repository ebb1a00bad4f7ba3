//! Waiting for what happens in another process, with a limit.

use std::fmt;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(25);

/// Asks `probe` again and again until it gives a value.
///
/// # Panics
/// If there is none within `limit`; the message says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    until_ok(what, limit, || probe().ok_or(""))
}

/// The same for a `probe` that says what keeps it from giving one.
///
/// # Panics
/// If there is none within `limit`; the message says what was waited for, and what was in its way last.
pub fn until_ok<T, E: fmt::Display>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(why) => assert!(Instant::now() < deadline, "{what}: not within {limit:?} {why}"),
        }
        std::thread::sleep(POLL);
    }
}
