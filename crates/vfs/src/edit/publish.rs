//! How a changed file becomes the new version.

use std::ops::Range;
use std::sync::Arc;

use tidegate_store::{
    Body, Condition, ETag, ObjectAttributes, PartNumber, StoreError, StoreErrorKind, StoreResult, limits,
};

use super::content::{Base, Content, Hold, Stored};
use super::interrupted;
use super::plan::{PartPlan, Sizes, plan, split};
use crate::config::Config;
use crate::error::{FsError, FsErrorKind};
use crate::reader::ReadData;
use crate::writer::{CopyFrom, Group, Memory, Target, Transfer, publish_error};
use crate::zeros::{Grouping, Zeros};

/// A file as it was when its publication began. The scratch file stays as it is until it is dropped.
#[derive(Debug)]
pub(crate) struct Publication {
    content: Content,
    turn: u64,
    hold: Hold,
}

impl Publication {
    pub(super) fn new(content: Content, turn: u64, hold: Hold) -> Self {
        Self { content, turn, hold }
    }

    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// The size of the file.
    pub(crate) fn size(&self) -> u64 {
        self.content.size
    }

    /// Publishes it with these attributes: in one request if it is small, else in parts, of which the store
    /// copies those that are as they were. Gives the new version's tag. After an error the old file is
    /// untouched; only where the store's answer to the very last request was lost can the new one be there,
    /// whole, all the same.
    pub(crate) async fn publish(
        &self,
        target: Target,
        attributes: &ObjectAttributes,
        memory: Memory,
        config: &Config,
    ) -> Result<ETag, FsError> {
        let memory = Arc::new(memory);
        let size = self.content.size;
        if self.content.is_unchanged()
            && let Some(base) = &self.content.base
        {
            let copied = target.copier.copy_onto_itself(&base.source(), size, attributes).await;
            let (_, condition) = target.destination.now();
            return copied.map(|receipt| receipt.etag).map_err(|error| publish_error(&condition, error));
        }
        if let Some(base) = self.content.whole_copy() {
            let (key, condition) = target.destination.now();
            return match target.copier.copy(&base.source(), size, &key, Some(attributes), &condition).await {
                Ok(receipt) => Ok(receipt.etag),
                Err(error) => Err(copy_error(&target, &base, &condition, error).await),
            };
        }
        let is_one_part = size <= config.part_size.as_u64();
        let holes = if is_one_part { Holes::default() } else { self.holes(&target, config).await? };
        let mut transfer = Transfer::new(target, config.upload_concurrency);
        let published = if is_one_part {
            let _grant = transfer.draw(&memory, size).await?;
            let body = body(self.read(0..size).await?);
            let checksum = body.checksum();
            transfer.put(body, checksum, attributes).await
        } else {
            self.publish_parts(&mut transfer, attributes, &memory, (holes, config)).await
        };
        if published.is_err() {
            transfer.abort().await;
        }
        published
    }

    /// The holes that the store fills, where there are so many that it pays.
    async fn holes(&self, target: &Target, config: &Config) -> StoreResult<Holes> {
        let (holes, grouping) = (self.content.hole_ranges(), Grouping::of(config));
        if holes.iter().map(|hole| hole.end - hole.start).sum::<u64>() < grouping.part {
            return Ok(Holes::default());
        }
        let zeros = Zeros::of(target, grouping).await?;
        let pieces = holes.into_iter().flat_map(|hole| split(hole, zeros.len)).collect();
        Ok(Holes { zeros: Some(zeros), pieces })
    }

    async fn publish_parts(
        &self,
        transfer: &mut Transfer,
        attributes: &ObjectAttributes,
        memory: &Arc<Memory>,
        (holes, config): (Holes, &Config),
    ) -> Result<ETag, FsError> {
        let part = config.part_size.as_u64();
        let part_min = part.min(limits::PART_MIN);
        // S3 copies ranges of objects of more than 5 MiB only (API Reference, UploadPartCopy).
        let mut stored = self.content.stored();
        stored.retain(|stored| stored.base.size > part_min);
        let copied = stored.iter().map(|stored| &stored.range).chain(&holes.pieces);
        let mut ranges: Vec<_> = copied.cloned().collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let plan = plan(self.content.size, &ranges, Sizes { part_min, part });
        let sources = Sources { stored, holes };
        let (mut alone, mut groups) = (Vec::new(), Vec::new());
        for (number, pieces) in numbered(plan) {
            match <[PartPlan; 1]>::try_from(pieces) {
                Ok([piece]) => alone.push((number, piece)),
                Err(pieces) => groups.push((number, pieces)),
            }
        }
        self.launch(transfer, None, alone, &sources, (attributes, memory)).await?;
        for (number, pieces) in groups {
            transfer.lane().await?;
            let (group, count) = (transfer.open_group(attributes)?, pieces.len());
            let pieces = numbered(pieces).collect();
            self.launch(transfer, Some(&group), pieces, &sources, (attributes, memory)).await?;
            transfer.close_group(group, number, count, attributes);
        }
        transfer.complete(attributes).await
    }

    /// Has parts made: of a group, if one is given.
    async fn launch(
        &self,
        transfer: &mut Transfer,
        group: Option<&Arc<Group>>,
        parts: Vec<(PartNumber, PartPlan)>,
        Sources { stored, holes }: &Sources,
        (attributes, memory): (&ObjectAttributes, &Arc<Memory>),
    ) -> Result<(), FsError> {
        let (mut copies, mut sent, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for (number, part) in parts {
            match part {
                PartPlan::Copy(range) if holes.has(&range) => empty.push((number, 0..range.end - range.start)),
                PartPlan::Copy(range) => copies.push((number, range)),
                PartPlan::Send(range) => sent.push((number, range)),
            }
        }
        for (base, parts) in by_version(stored, copies).ok_or_else(interrupted)? {
            transfer.lane().await?;
            // What the changes began with moves with a RENAME of the file.
            let is_own = self.content.base.as_ref().is_some_and(|own| own.is_same(&base));
            let from = if is_own { CopyFrom::Own } else { CopyFrom::Version(base.source()) };
            transfer.launch_copies(group, from, parts, attributes);
        }
        if let Some(zeros) = holes.zeros.clone().filter(|_| !empty.is_empty()) {
            transfer.lane().await?;
            transfer.launch_copies(group, CopyFrom::Zeros(zeros), empty, attributes);
        }
        for (number, range) in sent {
            transfer.lane().await?;
            let len = range.end - range.start;
            let grant = transfer.draw(memory, len).await?;
            let reading = self.read(range);
            let bytes = async move { reading.await.map(body) };
            transfer.launch_read((group, number), len, bytes, (grant, Arc::clone(memory)), attributes);
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> impl Future<Output = Result<ReadData, FsError>> + Send + use<> {
        self.content.read(range, Arc::clone(&self.hold))
    }
}

/// Holes that the store fills, in pieces that it makes with a copy each.
#[derive(Debug, Default)]
struct Holes {
    zeros: Option<Zeros>,
    /// Ascending.
    pieces: Vec<Range<u64>>,
}

impl Holes {
    /// Whether a range is a part of one.
    fn has(&self, range: &Range<u64>) -> bool {
        let at = self.pieces.partition_point(|of| of.end <= range.start);
        self.pieces.get(at).is_some_and(|of| of.start <= range.start && range.end <= of.end)
    }
}

/// What the store copies.
struct Sources {
    stored: Vec<Stored>,
    holes: Holes,
}

/// Parts by their numbers.
fn numbered<T>(parts: Vec<T>) -> impl Iterator<Item = (PartNumber, T)> {
    (1..).map_while(PartNumber::new).zip(parts)
}

/// A range of a version, as the part of this number.
type Copies = Vec<(PartNumber, Range<u64>)>;

/// The parts that are copied, each a range of the file within one that is `stored`; those of one version
/// that follow one another are together. `None` if one is not stored.
fn by_version(stored: &[Stored], parts: Vec<(PartNumber, Range<u64>)>) -> Option<Vec<(Arc<Base>, Copies)>> {
    let mut copies: Vec<(Arc<Base>, Copies)> = Vec::new();
    for (number, range) in parts {
        let at = stored.partition_point(|stored| stored.range.end <= range.start);
        let of = stored.get(at).filter(|of| of.range.start <= range.start && range.end <= of.range.end)?;
        let part = (number, of.in_version(&range));
        match copies.last_mut().filter(|(base, _)| base.is_same(&of.base)) {
            Some((_, parts)) => parts.push(part),
            None => copies.push((Arc::clone(&of.base), vec![part])),
        }
    }
    Some(copies)
}

/// What a copy of a whole file means for its client that the store refused: of what must hold, either the
/// one or the other does not.
async fn copy_error(target: &Target, base: &Base, condition: &Condition, error: StoreError) -> FsError {
    let is_there = match error.kind() {
        StoreErrorKind::NotFound => false,
        StoreErrorKind::PreconditionFailed if *condition == Condition::Always => false,
        StoreErrorKind::PreconditionFailed => {
            target.store.head(&base.key).await.is_ok_and(|meta| meta.etag == base.etag)
        }
        _ => true,
    };
    if is_there {
        return publish_error(condition, error);
    }
    let message = "the file that was to be copied was changed or removed in the meantime; nothing was stored, \
                   copy it again";
    FsError::new(FsErrorKind::Conflict, message).with_source(error)
}

fn body(data: ReadData) -> Body {
    data.into_chunks().into_iter().collect()
}
