//! What of an upload outlives its node, and where another may go on with it: pure, no I/O.

use tidegate_store::{Condition, ObjectMeta, StoredPart, Tail, UploadRecord};

use crate::attributes::unix_seconds;

/// How many parts of one file can be on their way at once: the greatest `upload_concurrency`.
const FLIGHT_MAX: u16 = 64;

/// The bytes of a cut upload that the store has without a gap from the file's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    /// From number 1 on, without a gap.
    pub(crate) parts: Vec<StoredPart>,
    /// Where the parts end, or the version that the upload goes on behind.
    end: u64,
    /// Where the tail ends; `end` without one.
    len: u64,
    /// The last number that the store has a part of, or may yet get one of from an earlier owner.
    reach: u16,
    /// The record names a tail that the store does not have.
    lacks_tail: bool,
}

/// Where somebody goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// At the beginning: nothing of it is of use.
    Anew,
    /// Behind so many parts, the last byte of which is written once more where `overlap` is 1.
    Behind { parts: u16, end: u64, overlap: u64 },
    /// In the tail, which stands for the bytes from `end` to `to`.
    InTail { parts: u16, end: u64, to: u64 },
}

impl Durable {
    /// `tail` is that of the record if the store has it, and `listed` are the parts that it has, by number.
    pub(crate) fn of(record: &UploadRecord, tail: Option<&Tail>, listed: Vec<StoredPart>) -> Self {
        let guarded = record.multipart.as_ref().and_then(|multipart| multipart.guarded.as_ref());
        let counts = |part: &StoredPart| {
            let number = part.number.number();
            guarded.is_none_or(|guarded| {
                !(guarded.after < number && number <= guarded.until)
                    || guarded.parts.iter().any(|(mine, etag)| (*mine, etag) == (number, &part.etag))
            })
        };
        let last = listed.last().map_or(0, |part| part.number.number());
        let reach = last.max(guarded.map_or(0, |guarded| guarded.until));
        let parts: Vec<StoredPart> = listed
            .into_iter()
            .zip(1_u16..)
            .take_while(|(part, number)| part.number.number() == *number && counts(part))
            .map(|(part, _)| part)
            .collect();
        let end = match &record.multipart {
            Some(_) => parts.iter().map(|part| part.size).sum(),
            None => record.base.as_ref().map_or(0, |base| base.size),
        };
        let lacks_tail = record.tail.is_some() && tail.is_none();
        let tail = tail.filter(|tail| tail.offset <= end).map_or(0, |tail| tail.offset + tail.len);
        Self { parts, end, len: tail.max(end), reach, lacks_tail }
    }

    /// The size that is shown. One byte less than there is: a client whose last byte was durable when it
    /// was cut off would see the size of its own file, take it for stored, and never come to CLOSE.
    pub(crate) fn shown(&self) -> u64 {
        self.len.saturating_sub(1)
    }

    /// Whether there is something to go on with.
    pub(crate) fn is_something(&self) -> bool {
        self.shown() > 0
    }

    /// Whether the tail that the record names is there, if it names one.
    pub(crate) fn has_its_tail(&self) -> bool {
        !self.lacks_tail
    }

    /// Whether there was something, and nothing is left: the file was published, or the store has lost it.
    pub(crate) fn is_gone(&self) -> bool {
        self.lacks_tail && self.len == 0
    }

    /// What a write at `offset` as the first goes on behind; `None` if the bytes before it are not
    /// there, or in the middle of a part.
    pub(crate) fn point(&self, offset: u64) -> Option<Point> {
        if offset == 0 {
            return Some(Point::Anew);
        }
        let count = u16::try_from(self.parts.len()).ok()?;
        if self.end < offset && offset <= self.len {
            return Some(Point::InTail { parts: count, end: self.end, to: offset });
        }
        if self.parts.is_empty() {
            // Behind a version that is copied yet.
            return (offset == self.end).then_some(Point::Behind { parts: 0, end: self.end, overlap: 0 });
        }
        // A size that was shown before ends behind one of the parts, or one byte before that.
        let mut end = 0;
        for (part, number) in self.parts.iter().zip(1_u16..) {
            end += part.size;
            if offset <= end {
                let overlap = end - offset;
                return (overlap <= 1).then_some(Point::Behind { parts: number, end, overlap });
            }
        }
        None
    }

    /// The last number at which a part may appear that is not of who goes on from here.
    pub(crate) fn guarded_until(&self) -> u16 {
        self.reach.saturating_add(FLIGHT_MAX)
    }
}

/// Whether somebody else can go on with an upload where a file is as `found` shows it. A file that was
/// stored after the upload was begun has taken its place.
pub(crate) fn is_live(record: &UploadRecord, found: Option<&ObjectMeta>) -> bool {
    let is_newer = |meta: &ObjectMeta| unix_seconds(meta.last_modified) > record.begun;
    if record.is_rewritten {
        return false;
    }
    match (&record.condition, found) {
        (Condition::IfMatch(etag), Some(meta)) => meta.etag == *etag,
        (Condition::IfMatch(_), None) => false,
        (Condition::IfAbsent, found) => found.is_none(),
        (Condition::Always, found) => !found.is_some_and(is_newer),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_store::{
        BaseVersion, ETag, GuardedParts, Multipart, ObjectAttributes, ObjectKey, PartNumber, Tail, Upload, UploadState,
    };

    use super::*;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    fn part(number: u16, size: u64) -> StoredPart {
        let etag = ETag::new(format!("\"{number}\""));
        StoredPart { number: PartNumber::new(number).unwrap(), etag, size, checksum: None }
    }

    fn record(tail: Option<(u64, u64)>, guarded: Option<GuardedParts>) -> UploadRecord {
        let upload = Upload { key: key("k"), id: "id".into() };
        UploadRecord {
            user: "user".parse().unwrap(),
            state: UploadState::Cut,
            begun: 1_000,
            expires: 2_000,
            hint: 0,
            attributes: ObjectAttributes::default(),
            condition: Condition::Always,
            base: None,
            multipart: Some(Multipart { upload, attributes: ObjectAttributes::default(), guarded }),
            tail: tail.map(|(offset, len)| Tail { key: key("t"), offset, len }),
            is_rewritten: false,
        }
    }

    /// Where the store has the record's tail.
    fn of(record: UploadRecord, listed: Vec<StoredPart>) -> Durable {
        Durable::of(&record, record.tail.as_ref(), listed)
    }

    #[test]
    fn a_gap_ends_what_is_durable() {
        let durable = of(record(None, None), vec![part(1, 10), part(2, 10), part(4, 10)]);
        assert_eq!((durable.parts.len(), durable.len, durable.shown()), (2, 20, 19));
        assert_eq!(durable.guarded_until(), 68);
        let nothing = of(record(None, None), vec![part(2, 10)]);
        assert!(!nothing.is_something());
    }

    #[test]
    fn a_tail_counts_as_far_as_it_reaches_beyond_the_parts() {
        let at = |tail| of(record(Some(tail), None), vec![part(1, 10), part(2, 10)]).len;
        assert_eq!([(20, 5), (10, 15), (10, 5), (21, 5)].map(at), [25, 25, 20, 20]);
    }

    #[test]
    fn among_guarded_numbers_only_the_owners_own_parts_count() {
        let mine = |numbers: &[u16]| GuardedParts {
            after: 1,
            until: 3,
            parts: numbers.iter().map(|number| (*number, part(*number, 0).etag)).collect(),
        };
        let listed = || (1..=5).map(|number| part(number, 10)).collect();
        let len = |numbers: &[u16]| of(record(None, Some(mine(numbers))), listed()).len;
        assert_eq!([len(&[]), len(&[2]), len(&[3]), len(&[2, 3])], [10, 20, 10, 50]);
        let mut other = mine(&[2]);
        other.parts[0].1 = ETag::new("\"another\"");
        assert_eq!(of(record(None, Some(other)), listed()).len, 10, "replaced by an earlier owner");
    }

    #[test]
    fn a_file_is_gone_on_with_where_its_size_was_shown() {
        let durable = of(record(Some((20, 5)), None), vec![part(1, 10), part(2, 10)]);
        for (offset, point) in [
            (0, Some(Point::Anew)),
            (1, None),
            (8, None),
            (9, Some(Point::Behind { parts: 1, end: 10, overlap: 1 })),
            (10, Some(Point::Behind { parts: 1, end: 10, overlap: 0 })),
            (11, None),
            (19, Some(Point::Behind { parts: 2, end: 20, overlap: 1 })),
            (20, Some(Point::Behind { parts: 2, end: 20, overlap: 0 })),
            (24, Some(Point::InTail { parts: 2, end: 20, to: 24 })),
            (25, Some(Point::InTail { parts: 2, end: 20, to: 25 })),
            (26, None),
        ] {
            assert_eq!(durable.point(offset), point, "{offset}");
        }
    }

    #[test]
    fn behind_a_version_the_tail_is_all_there_is() {
        let base = Some(BaseVersion { etag: ETag::new("\"b\""), size: 100 });
        let record = UploadRecord { base, multipart: None, ..record(Some((100, 5)), None) };
        let durable = of(record, Vec::new());
        assert_eq!(durable.shown(), 104);
        assert_eq!(durable.point(104), Some(Point::InTail { parts: 0, end: 100, to: 104 }));
        assert_eq!(durable.point(100), Some(Point::Behind { parts: 0, end: 100, overlap: 0 }));
        assert_eq!(durable.point(50), None);
    }

    #[test]
    fn a_file_that_was_stored_later_takes_the_place_of_an_upload() {
        let meta = |etag: &str, seconds: u64| ObjectMeta {
            size: 1,
            etag: ETag::new(etag),
            last_modified: std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds),
            attributes: ObjectAttributes::default(),
            tag_count: 0,
            checksum: None,
        };
        let with = |condition| UploadRecord { condition, ..record(None, None) };
        let always = with(Condition::Always);
        assert!(is_live(&always, None) && is_live(&always, Some(&meta("a", 1_000))));
        assert!(!is_live(&always, Some(&meta("a", 1_001))));
        let absent = with(Condition::IfAbsent);
        assert!(is_live(&absent, None) && !is_live(&absent, Some(&meta("a", 1))));
        let matching = with(Condition::IfMatch(ETag::new("a")));
        assert!(is_live(&matching, Some(&meta("a", 9_999))));
        assert!(!is_live(&matching, Some(&meta("b", 1))) && !is_live(&matching, None));
    }

    proptest! {
        /// Whatever was shown at any moment, an upload can be gone on with there later, when more is durable.
        #[test]
        fn what_was_shown_once_can_be_gone_on_with(sizes in prop::collection::vec(5..20_u64, 1..12), tail in 0..5_u64) {
            let listed = |count: usize| (1_u16..).zip(&sizes).take(count).map(|(n, size)| part(n, *size)).collect();
            let end: u64 = sizes.iter().sum();
            let latest = of(record((tail > 0).then_some((end, tail)), None), listed(sizes.len()));
            for count in 1..=sizes.len() {
                let earlier = of(record(None, None), listed(count));
                let point = latest.point(earlier.shown());
                let end = sizes.iter().take(count).sum();
                prop_assert_eq!(point, Some(Point::Behind { parts: count as u16, end, overlap: 1 }));
            }
            prop_assert!(latest.point(latest.shown()).is_some());
        }
    }
}
