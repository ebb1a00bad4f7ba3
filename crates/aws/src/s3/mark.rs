//! Conditional writes and the retries of the SDK.
//!
//! A write whose answer is lost is sent again. If the first attempt took effect, the second meets
//! its own result: `If-None-Match: *` fails because the object is there, `If-Match` because the
//! version has changed. Told as it is, the caller would take its own success for a lost race. So
//! a conditional write that was tried more than once is looked at before its failure is believed:
//!
//! - PUT, and a copy with new attributes, carry a random id in the user metadata under [`MARK`],
//!   which no other write has. If the object shows it, ours is the write that won. The id is not
//!   shown to callers.
//! - The completion of an upload can't be marked: its attributes were fixed when it began, maybe
//!   by another node. But an upload that still can be listed was not completed. If it is gone, and
//!   the object has the size and the tag that completion gives it, it was completed by us; see
//!   `multipart`.
//! - A copy that keeps the attributes of its source is not marked and its failure is reported as
//!   it is. The target then may be ours while the caller hears of a lost race: nothing is lost,
//!   as the source is still there.

/// The name of the metadata that holds the id of a conditional write.
pub(super) const MARK: &str = "tidegate-write";

/// A fresh id: 64 random bits in hexadecimal.
pub(super) fn new_mark() -> String {
    format!("{:016x}", rand::random::<u64>())
}
