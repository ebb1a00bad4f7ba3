//! How the node's memory for file content is counted. Who gets it: [`crate::shares`] for uploads,
//! [`crate::reader`] for downloads.

/// What bytes are counted in.
pub(crate) const UNIT: u64 = 64 << 10;

/// Rounds up to whole units, as everything does that is taken.
pub(crate) fn round_up(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT).saturating_mul(UNIT)
}
