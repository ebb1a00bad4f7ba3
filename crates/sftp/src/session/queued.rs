//! What waits in a session beside file content, as a part of what waits in all sessions of the node.

use prometheus::IntGauge;

/// Bytes of one session's queues, in the sum of all. Dropped, they leave it.
#[derive(Debug)]
pub(super) struct Queued {
    sum: IntGauge,
    bytes: usize,
}

impl Queued {
    /// Nothing yet. `sum` is what all sessions share.
    pub(super) fn new(sum: IntGauge) -> Self {
        Self { sum, bytes: 0 }
    }

    /// The session's queues take so many bytes by now.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.sum.add(bytes as i64 - self.bytes as i64);
            self.bytes = bytes;
        }
    }

    /// What all sessions' queues take, in bytes.
    pub(super) fn sum(&self) -> u64 {
        u64::try_from(self.sum.get()).unwrap_or(0)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.set(0);
    }
}
