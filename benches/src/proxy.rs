//! The HTTP proxy between the servers and the object store: it counts requests by kind and delays
//! the first byte of each answer. A process of its own, so that its CPU time is nobody else's.
//!
//! Requests go on as they came, the Host header included, so that signatures made for the proxy's
//! address stay valid. Bodies stream through; nothing is kept.

mod control;
mod counts;
mod forward;
mod handle;
mod kind;

#[cfg(test)]
mod tests;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

pub(crate) use counts::Counts;
pub(crate) use handle::Proxy;
pub(crate) use kind::Kind;

use crate::cli::ProxyArgs;
use crate::error::{BenchError, during};
use forward::State;

/// Runs the proxy until its standard input ends: it never outlives who started it.
pub(crate) fn run(args: &ProxyArgs) -> Result<(), BenchError> {
    // A quarter of the cores: from a small machine it takes no more than it must.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads((cores / 4).max(1)).enable_all().build().map_err(during("starting"))?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map_err(during("listening"))?;
    let address = listener.local_addr().map_err(during("listening"))?;
    let state = Arc::new(State::new(args.upstream));
    runtime.spawn(forward::serve(listener, Arc::clone(&state)));
    control::serve(address, &state, io::stdin().lock(), io::stdout()).map_err(during("being controlled"))
}
