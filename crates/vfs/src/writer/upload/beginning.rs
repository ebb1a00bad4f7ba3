//! An upload that goes on behind a version of its file.

use std::ops::Range;

use tidegate_store::{BaseVersion, CopySource, PartNumber};

use crate::edit::copies_of_beginning;

/// Ranges of a version, each as the part of this number.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) source: CopySource,
    pub(super) parts: Vec<(PartNumber, Range<u64>)>,
}

/// What stands before the bytes that an upload takes.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// In bytes.
    pub(super) len: u64,
    /// How many parts it has.
    pub(super) parts: u16,
    /// What is to be copied yet.
    pub(super) copies: Option<Copies>,
    /// How many bytes of its end the client sends once more: 0 or 1. Until it has, the file ends before them.
    pub(super) overlap: u64,
}

impl Beginning {
    /// All of a version of `len` bytes, at least of the least size of a part.
    pub(crate) fn of(source: CopySource, len: u64) -> Self {
        let parts: Vec<_> = (1..).map_while(PartNumber::new).zip(copies_of_beginning(len)).collect();
        let count = parts.last().map_or(0, |(number, _)| number.number());
        Self { len, parts: count, copies: Some(Copies { source, parts }), overlap: 0 }
    }

    /// So many parts, of `len` bytes together, that the store has already.
    pub(crate) fn there(parts: u16, len: u64, overlap: u64) -> Self {
        Self { len, parts, copies: None, overlap }
    }

    /// The version that it is a copy of.
    pub(super) fn version(&self) -> Option<BaseVersion> {
        let etag = self.copies.as_ref()?.source.if_match.clone()?;
        Some(BaseVersion { etag, size: self.len })
    }
}
