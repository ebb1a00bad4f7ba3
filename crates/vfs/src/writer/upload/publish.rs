//! How the parts of an upload are sent as they fill, and the file is published at CLOSE.

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{ETag, PartNumber};
use tokio::time::Instant;

use super::Upload;
use super::groups::Seat;
use crate::assembly::{Rest, SealedPart};
use crate::error::FsError;
use crate::writer::kept::Kept;
use crate::writer::transfer::CopyFrom;

impl Upload {
    pub(super) fn launch_beginning(&mut self) {
        if let Some(parts) = self.beginning.copies.take() {
            self.transfer.launch_copies(None, CopyFrom::Own, parts, &self.attributes);
        }
    }

    pub(super) fn launch(&mut self, part: SealedPart) -> Result<(), FsError> {
        let seat = self.groups.seat(part.index)?;
        self.launch_at(seat, part)
    }

    fn launch_at(&mut self, seat: Seat, part: SealedPart) -> Result<(), FsError> {
        self.launch_beginning();
        let index = self.charges.iter().position(|charge| charge.index == part.index);
        let charge = index.map(|index| self.charges.swap_remove(index));
        self.memory.keep(self.lacking());
        let now = Instant::now();
        // Parts that are gathered side by side fill one behind the other.
        let since = charge.as_ref().map(|charge| charge.begun).max(self.launched.replace(now));
        let gathered = since.map_or(Duration::ZERO, |since| now - since);
        let grant = charge.map(|charge| charge.grant);
        let (offset, len) = (self.beginning.len + part.start, part.body.len());
        let keep = self.kept.as_mut().map_or(Ok(None), |kept| kept.keep(offset, len));
        // Without room for it the upload goes on, and what was sent can't be changed any more.
        let keep = keep.unwrap_or_else(|_| {
            self.kept = None;
            None
        });
        let (group, number) = match seat {
            Seat::Direct(number) => (None, number),
            Seat::Grouped(slot) => self.enter_group(slot, part.index).map(|(group, number)| (Some(group), number))?,
        };
        let (place, filled) = ((group.as_ref(), number), (grant, gathered));
        self.transfer.launch(place, part, filled, &self.memory, keep, &self.attributes);
        if group.is_some() { self.close_full_groups() } else { Ok(()) }
    }

    pub(super) async fn publish(&mut self) -> Result<(ETag, u64), FsError> {
        loop {
            self.check()?;
            match self.place_spill()? {
                Some(wait) => wait.await,
                None => break,
            }
        }
        // Nothing comes from the client any more.
        self.buffers = None;
        let size = self.end();
        if !self.transfer.is_begun()
            && self.beginning.copies.is_none()
            && let Some((body, checksum)) = self.assembly.take_whole()
        {
            let checksum = checksum.unwrap_or_else(|| body.checksum());
            return Ok((self.transfer.put(body, checksum, &self.attributes).await?, size));
        }
        // No part is begun any more: what lands from now on is free.
        self.reserve = 0;
        let mut cursor = 0;
        while let Some(rest) = self.assembly.take_rest(&mut cursor, self.grouping.part) {
            self.transfer.lane().await?;
            match rest {
                Rest::Hole(spans) => self.launch_hole(&spans).await?,
                Rest::Part(part) => {
                    let is_last = part.start + part.body.len() == self.assembly.end();
                    match self.groups.seat(part.index)? {
                        // The store does not copy from what is smaller than a part.
                        Seat::Grouped(slot) if is_last && self.is_empty_group(slot) => {
                            self.launch_at(Seat::Direct(self.groups.number(slot)?), part)?;
                        }
                        seat => self.launch_at(seat, part)?,
                    }
                }
            }
        }
        self.close_all_groups()?;
        self.send_first_again().await?;
        Ok((self.transfer.complete(&self.attributes).await?, size))
    }

    /// Replaces the first part where it was written to after it had been sent: S3 takes a part's number again.
    pub(super) async fn send_first_again(&mut self) -> Result<(), FsError> {
        let Some(len) = self.kept.as_ref().and_then(Kept::changed_first) else { return Ok(()) };
        self.transfer.all_landed().await?;
        let grant = self.transfer.draw(&self.memory, len).await?;
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let (bytes, memory) = (kept.load_first(), (grant, Arc::clone(&self.memory)));
        self.transfer.launch_read((None, PartNumber::FIRST), len, bytes, memory, &self.attributes);
        Ok(())
    }
}
