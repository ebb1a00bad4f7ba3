//! Whether the balancer should send connections here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the node knows of its own readiness, shared between those who change it and `/readyz`.
///
/// It depends on this node alone: if it followed S3 or DynamoDB, a fault of theirs would take every
/// node out of the balancer at once.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    host_keys_loaded: AtomicBool,
    listening: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// The host keys are in memory.
    pub fn host_keys_loaded(&self) {
        self.0.host_keys_loaded.store(true, Ordering::Release);
    }

    /// The SFTP listener accepts connections.
    pub fn listening(&self) {
        self.0.listening.store(true, Ordering::Release);
    }

    /// The node is going away; there is no way back.
    pub fn draining(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Why no connection should be sent here; empty if the node is ready.
    pub fn reasons(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.0.draining.load(Ordering::Acquire) {
            reasons.push("the node is draining");
        }
        if !self.0.host_keys_loaded.load(Ordering::Acquire) {
            reasons.push("the host keys are not loaded");
        }
        if !self.0.listening.load(Ordering::Acquire) {
            reasons.push("the SFTP listener is not up");
        }
        reasons
    }
}
