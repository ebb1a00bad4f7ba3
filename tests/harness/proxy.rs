//! A proxy between a node and its object store that counts requests and does the harm that a test
//! asks for. It runs in the test's own process, so that a test can wait for what it has seen.
//!
//! Requests go on as they came, the Host header included, so that signatures made for the proxy's
//! address stay valid. Bodies stream through; nothing is kept.

mod body;
mod fault;
mod forward;
mod kind;
mod record;
mod socket;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

pub use fault::{Fault, When};
pub use kind::Kind;
use record::Record;
pub use record::Seen;

/// A running proxy in front of one S3 server. Dropping it cuts every connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    record: Arc<Record>,
    runtime: Option<Runtime>,
}

impl FaultProxy {
    /// Starts one that passes everything on to `upstream` unharmed.
    ///
    /// # Panics
    /// If it can't listen on the loopback address.
    pub fn start(upstream: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let address = listener.local_addr().expect("a listener knows its address");
        listener.set_nonblocking(true).expect("a listener need not block");
        let record = Arc::new(Record::default());
        runtime.spawn(forward::serve(listener, upstream, Arc::clone(&record)));
        Self { address, record, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the first byte of every answer is held back for so long.
    pub fn delay_answers(&self, by: Duration) {
        self.record.set_delay(by);
    }

    /// From now on does harm to the requests of these kinds that `when` names. Where several such
    /// rules hold, the first that was given decides.
    pub fn inject(&self, kinds: &[Kind], when: When, fault: Fault) {
        self.record.add_rule(kinds, when, fault);
    }

    /// From now on resets each connection as it comes, and those that stand with their next request.
    pub fn refuse(&self) {
        self.record.set_refusing(true);
    }

    /// From now on does no harm. What is stalled already stays so.
    pub fn heal(&self) {
        self.record.set_refusing(false);
        self.record.remove_rules();
    }

    /// What has come so far.
    pub fn seen(&self) -> Seen {
        self.record.seen()
    }

    /// Waits until what has come so far is enough for `probe`.
    ///
    /// # Panics
    /// If it is not within `limit`; the message says what was waited for.
    pub fn wait(&self, what: &str, limit: Duration, probe: impl FnMut(&Seen) -> bool) -> Seen {
        self.record.wait(what, limit, probe)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also where the test itself runs in a runtime, in which nothing may be waited for.
            runtime.shutdown_background();
        }
    }
}
