//! Whether the balancer should send connections here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{IntGauge, Registry};

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
    /// Shows `draining` to operators.
    draining_gauge: Option<IntGauge>,
}

impl Readiness {
    /// One whose drain the metric `tidegate_node_draining` (0 or 1) shows.
    ///
    /// # Errors
    /// If the name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = IntGauge::new("tidegate_node_draining", "Whether the node drains (1) or not (0)")?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self(Arc::new(State { draining_gauge: Some(gauge), ..State::default() })))
    }

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
        if let Some(gauge) = &self.0.draining_gauge {
            gauge.set(1);
        }
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
