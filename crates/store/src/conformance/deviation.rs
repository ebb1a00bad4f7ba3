//! The rules that some emulators are known to break.

/// A rule of S3's that an emulator does not keep. Real S3 keeps them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Deviation {
    /// The checksum of the whole object is not told, for objects sent in one piece or in parts.
    ChecksumNotKept,
    /// Completion takes a whole-object checksum that does not match.
    CompletionChecksumIgnored,
    /// Completion takes an `If-Match` that does not hold.
    CompletionIfMatchIgnored,
    /// A listing takes a continuation that the store never handed out, or fails in another way
    /// than `InvalidRequest`.
    ContinuationUnchecked,
    /// A copy takes a condition on its target that does not hold.
    CopyConditionIgnored,
    /// A part copy takes a range that leaves the source.
    CopyPartRangeUnchecked,
    /// A part copy takes a source version that is gone.
    CopyPartSourceIfMatchIgnored,
    /// A copy takes a source version that is gone.
    CopySourceIfMatchIgnored,
    /// A call on an upload that is gone fails in another way than `NotFound`.
    GoneUploadUnnamed,
    /// A part is stored though its checksum does not match.
    PartChecksumIgnored,
    /// A listing of parts takes its marker for an index, so that parts with numbers between are
    /// lost.
    PartMarkerIsIndex,
    /// An object is stored though its checksum does not match.
    PutChecksumIgnored,
    /// Of several concurrent writes with the same `If-Match`, more than one may take effect.
    /// A race is not lost every time, so this rule is left out, not turned round.
    PutIfMatchRaces,
    /// A listing of uploads has no order and ignores its markers.
    UploadMarkersIgnored,
}

impl Deviation {
    /// Every known deviation.
    pub const ALL: [Self; 14] = [
        Self::ChecksumNotKept,
        Self::CompletionChecksumIgnored,
        Self::CompletionIfMatchIgnored,
        Self::ContinuationUnchecked,
        Self::CopyConditionIgnored,
        Self::CopyPartRangeUnchecked,
        Self::CopyPartSourceIfMatchIgnored,
        Self::CopySourceIfMatchIgnored,
        Self::GoneUploadUnnamed,
        Self::PartChecksumIgnored,
        Self::PartMarkerIsIndex,
        Self::PutChecksumIgnored,
        Self::PutIfMatchRaces,
        Self::UploadMarkersIgnored,
    ];
}
