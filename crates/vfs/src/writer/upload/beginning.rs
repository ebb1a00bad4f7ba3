//! An upload that goes on behind a version of its file.

use std::ops::Range;

use tidegate_store::{CopySource, PartNumber};

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
}

impl Beginning {
    /// All of a version of `len` bytes, at least of the least size of a part.
    pub(crate) fn of(source: CopySource, len: u64) -> Self {
        let parts: Vec<_> = (1..).map_while(PartNumber::new).zip(copies_of_beginning(len)).collect();
        let count = parts.last().map_or(0, |(number, _)| number.number());
        Self { len, parts: count, copies: Some(Copies { source, parts }) }
    }
}
