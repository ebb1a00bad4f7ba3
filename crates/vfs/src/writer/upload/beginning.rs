//! An upload that goes on behind the version that it is to replace.

use std::ops::Range;

use tidegate_store::{BaseVersion, Condition, PartNumber};

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
    /// How many bytes of its end the client sends once more: 0 or 1. Until it has, the file ends before them.
    pub(super) overlap: u64,
}

impl Beginning {
    /// All of a version of `len` bytes, at least of the least size of a part.
    pub(crate) fn of_version(len: u64) -> Self {
        let copies: Vec<_> = (1..).map_while(PartNumber::new).zip(copies_of_beginning(len)).collect();
        let parts = copies.last().map_or(0, |(number, _)| number.number());
        Self { len, parts, copies: Some(copies), overlap: 0 }
    }

    /// So many parts, of `len` bytes together, that the store has already.
    pub(crate) fn there(parts: u16, len: u64, overlap: u64) -> Self {
        Self { len, parts, copies: None, overlap }
    }

    /// The version that it is a copy of, which has to be there when the upload is published.
    pub(crate) fn version(&self, condition: &Condition) -> Option<BaseVersion> {
        match (&self.copies, condition) {
            (Some(_), Condition::IfMatch(etag)) => Some(BaseVersion { etag: etag.clone(), size: self.len }),
            _ => None,
        }
    }
}
