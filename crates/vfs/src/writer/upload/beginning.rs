//! An upload that goes on behind the version that it is to replace.

use std::ops::Range;

use tidegate_store::PartNumber;

use crate::edit::copies_of_beginning;

/// What stands before the bytes that an upload takes.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// In bytes.
    pub(super) len: u64,
    /// How many parts it has.
    pub(super) parts: u16,
    /// Ranges of that version that are to be copied yet, each as the part of this number.
    pub(super) copies: Option<Vec<(PartNumber, Range<u64>)>>,
}

impl Beginning {
    /// All of a version of `len` bytes, at least of the least size of a part.
    pub(crate) fn of_version(len: u64) -> Self {
        let copies: Vec<_> = (1..).map_while(PartNumber::new).zip(copies_of_beginning(len)).collect();
        let parts = copies.last().map_or(0, |(number, _)| number.number());
        Self { len, parts, copies: Some(copies) }
    }
}
