//! Memory for what an upload takes.

use futures::FutureExt;
use futures::future::{BoxFuture, select};
use tokio::time::Instant;

use super::Upload;
use crate::assembly::{PartSpan, Piece};
use crate::budget::round_up;
use crate::error::FsError;
use crate::shares::Grant;

/// When a part that has outgrown its hint waits for memory, at least this much is asked for at once.
const GROWTH_MIN: u64 = 1 << 20;

/// The memory of a part that is being gathered.
#[derive(Debug)]
pub(super) struct Charge {
    /// Its place among the parts.
    pub(super) index: u32,
    pub(super) grant: Grant,
    pub(super) begun: Instant,
}

/// Whether there is memory for a piece.
pub(super) enum Secured {
    /// Not yet.
    Later(BoxFuture<'static, ()>),
    /// Yes, but its part has become smaller: the piece must be cut again.
    Smaller,
    /// Yes.
    Yes,
}

impl Upload {
    /// Makes sure that there is memory for a piece, or tells what to wait for.
    pub(super) fn secure(&mut self, piece: &Piece) -> Result<Secured, FsError> {
        let part = piece.span.index;
        let Some(index) = self.charges.iter().position(|charge| charge.index == part) else {
            return self.begin_part(piece);
        };
        let held = self.charges.get(index).map_or(0, |charge| charge.grant.bytes());
        let need = (self.assembly.gathered(part) + piece.len).min(piece.span.len);
        if need <= held {
            return Ok(Secured::Yes);
        }
        // The file turns out larger than its hint.
        let landing = self.transfer.landing();
        let (wanted, least) = (piece.span.len.min(need.max(2 * held)) - held, need - held);
        let Some(grant) = self.memory.draw(wanted).or_else(|| self.memory.draw(least)) else {
            return Ok(self.wait_for_memory(landing, least.max(wanted.min(GROWTH_MIN))));
        };
        if let Some(charge) = self.charges.get_mut(index) {
            charge.grant.merge(grant);
            self.reserve = charge.grant.bytes();
        }
        self.memory.keep(self.lacking());
        Ok(Secured::Yes)
    }

    /// Takes the memory of a part that has no bytes yet: all that it is going to need.
    fn begin_part(&mut self, piece: &Piece) -> Result<Secured, FsError> {
        while let Some(full) = self.assembly.take_full() {
            self.launch(full)?;
        }
        // Before the lanes and the memory are looked at: what lands in between must not be missed.
        let landing = self.transfer.landing();
        if !self.transfer.has_lane() {
            self.transfer.waits_for_a_lane();
            self.target.metrics.lane_stalls.inc();
            return Ok(Secured::Later(landing));
        }
        let buffers = self.lacking_for_buffers();
        let mut span = piece.span;
        let grant = loop {
            let wanted = self.wanted(&span, piece);
            if let Some(mut grant) = self.memory.draw(wanted + buffers) {
                if buffers > 0 {
                    self.buffers = grant.split_above(wanted);
                }
                break grant;
            }
            // What is under way or in reserve will do, once it has landed; else a smaller part must.
            let buffered = self.buffers.as_ref().map_or(0, Grant::bytes);
            let coming = self.memory.held().saturating_sub(self.charged() + buffered);
            let smaller = self.assembly.smaller(&span).filter(|smaller| piece.offset < smaller.end());
            match smaller.filter(|_| coming < wanted) {
                Some(smaller) => span = smaller,
                None => return Ok(self.wait_for_memory(landing, wanted + buffers)),
            }
        };
        self.assembly.settle(&span);
        self.reserve = grant.bytes();
        self.charges.push(Charge { index: span.index, grant, begun: Instant::now() });
        self.memory.keep(self.lacking());
        Ok(if span == piece.span { Secured::Yes } else { Secured::Smaller })
    }

    /// What the transfer's buffers are to be counted with, if they are not yet. A small file of known
    /// size can't fill them.
    fn lacking_for_buffers(&self) -> u64 {
        match (&self.buffers, self.hint) {
            (Some(_), _) => 0,
            (None, 0) => round_up(self.overhead),
            (None, hint) => round_up(self.overhead.min(hint)),
        }
    }

    fn wait_for_memory(&self, landing: BoxFuture<'static, ()>, bytes: u64) -> Secured {
        self.target.metrics.memory_stalls.inc();
        Secured::Later(if self.transfer.in_flight() > 0 {
            select(landing, self.memory.extra(bytes)).map(|_| ()).boxed()
        } else {
            self.memory.need(bytes)
        })
    }

    /// How much memory a new part should have: all it can take, or what the hint says that it will get.
    fn wanted(&self, span: &PartSpan, piece: &Piece) -> u64 {
        let need = piece.len.min(span.len);
        if self.hint == 0 {
            span.len
        } else if let Some(rest) = self.hint.checked_sub(span.start).filter(|rest| *rest >= need) {
            round_up(rest).min(span.len)
        } else {
            need
        }
    }

    /// What the parts being gathered hold.
    pub(super) fn charged(&self) -> u64 {
        self.charges.iter().map(|charge| charge.grant.bytes()).sum::<u64>()
    }

    /// How much less than the reserve the parts being gathered hold.
    pub(super) fn lacking(&self) -> u64 {
        self.reserve.saturating_sub(self.charged())
    }
}
