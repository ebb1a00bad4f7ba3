use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PART: u64 = 1_000;

/// Parts of 1,000 bytes, which no store would take but which make small tests thorough.
fn assembly() -> Assembly {
    Assembly::new(Schedule::new(PART, 4 * PART, 0).unwrap(), u64::MAX)
}

/// What a store would hold.
#[derive(Default)]
struct Store(BTreeMap<u32, SealedPart>);

impl Store {
    fn add(&mut self, part: SealedPart) {
        if let Some(checksum) = part.checksum {
            assert_eq!(checksum, part.body.checksum());
        }
        assert!(self.0.insert(part.index, part).is_none(), "a part is sent once");
    }

    fn file(&self) -> Vec<u8> {
        self.0.values().flat_map(|part| part.body.chunks().concat()).collect()
    }
}

fn write(assembly: &mut Assembly, store: &mut Store, mut offset: u64, mut data: Bytes) -> Result<(), FsError> {
    while let Some(piece) = assembly.piece(offset, data.len() as u64)? {
        assembly.write(&piece, data.split_to(piece.len as usize))?;
        offset += piece.len;
        while let Some(part) = assembly.take_ready() {
            store.add(part);
        }
    }
    Ok(())
}

fn close(mut assembly: Assembly, store: &mut Store) -> Vec<u8> {
    if let Some((body, checksum)) = assembly.take_whole() {
        assert!(store.0.is_empty());
        assert!(checksum.is_none_or(|checksum| checksum == body.checksum()));
        return body.chunks().concat();
    }
    let mut cursor = 0;
    while let Some(rest) = assembly.take_rest(&mut cursor, u64::MAX) {
        let Rest::Part(part) = rest else { panic!("a hole of {rest:?}") };
        store.add(part);
    }
    let last = store.0.len();
    for (index, part) in store.0.values().enumerate() {
        assert_eq!(part.index as usize, index, "indices without gaps");
        assert!(part.body.len() == PART || index + 1 == last, "only the last part is short");
    }
    store.file()
}

#[test]
fn a_file_of_one_part_is_sent_as_a_whole() {
    for len in [0, 1, 999, 1_000] {
        let (mut assembly, mut store) = (assembly(), Store::default());
        write(&mut assembly, &mut store, 0, Bytes::from(vec![1; len])).unwrap();
        assert!(store.0.is_empty());
        assert_eq!(assembly.take_whole().unwrap().0.len(), len as u64);
    }
}

#[test]
fn a_full_part_is_ready_as_soon_as_the_next_has_a_byte() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    write(&mut assembly, &mut store, 0, Bytes::from(vec![1; 1_001])).unwrap();
    assert_eq!(store.0.len(), 1);
    assert!(assembly.take_whole().is_none());
    assert_eq!(close(assembly, &mut store), vec![1; 1_001]);
}

#[test]
fn holes_read_as_zeros_also_where_whole_parts_are_missing() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    write(&mut assembly, &mut store, 3_500, Bytes::from_static(b"x")).unwrap();
    assert!(assembly.take_whole().is_none(), "it begins behind the first part");
    let mut expected = vec![0; 3_501];
    expected[3_500] = b'x';
    assert_eq!(close(assembly, &mut store), expected);
}

#[test]
fn extending_leaves_zeros() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    write(&mut assembly, &mut store, 0, Bytes::from_static(b"abc")).unwrap();
    assembly.extend_to(2_500).unwrap();
    assembly.extend_to(10).unwrap();
    assert_eq!(assembly.end(), 2_500);
    let file = close(assembly, &mut store);
    assert_eq!((file.len(), &file[..4]), (2_500, &b"abc\0"[..]));
}

#[test]
fn what_was_sent_can_not_be_written_again() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    write(&mut assembly, &mut store, 0, Bytes::from(vec![1; 1_500])).unwrap();
    let error = write(&mut assembly, &mut store, 999, Bytes::from_static(b"xy")).unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::Unsupported);
}

#[test]
fn a_write_behind_the_last_part_is_too_large() {
    let assembly = Assembly::new(Schedule::new(8 << 20, 64 << 20, 0).unwrap(), u64::MAX);
    assert_eq!(assembly.piece(504_000 << 20, 1).unwrap_err().kind(), FsErrorKind::TooLarge);
    assert_eq!(assembly.piece(u64::MAX, 1).unwrap_err().kind(), FsErrorKind::TooLarge);
    assert_eq!(assembly.piece((504_000 << 20) - 1, 5).unwrap().unwrap().len, 1);
}

#[test]
fn jumping_forward_again_and_again_keeps_few_parts() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    for n in 0..50 {
        write(&mut assembly, &mut store, n * PART, Bytes::from_static(b"x")).unwrap();
        assert!(assembly.gathered.len() <= GATHERED_MAX);
    }
    let file = close(assembly, &mut store);
    assert_eq!(file.len() as u64, 49 * PART + 1);
    assert!((0..50).all(|n| file[n * PART as usize] == b'x'));
}

#[test]
fn a_large_hole_is_not_filled_with_zeros() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    write(&mut assembly, &mut store, 0, Bytes::from_static(b"x")).unwrap();
    write(&mut assembly, &mut store, 3_500, Bytes::from_static(b"x")).unwrap();
    assembly.extend_to(6_500).unwrap();
    let (mut cursor, mut found) = (0, Vec::new());
    while let Some(rest) = assembly.take_rest(&mut cursor, 2_500) {
        found.push(match rest {
            Rest::Hole(spans) => (spans[0].index, spans.iter().map(|span| span.len).sum::<u64>(), true),
            Rest::Part(part) => (part.index, part.body.len(), false),
        });
    }
    // Of the two parts in front of the second byte there are too few.
    assert_eq!(found, [(0, 1_000, false), (1, 1_000, false), (2, 1_000, false), (3, 1_000, false), (4, 2_500, true)]);
}

#[test]
fn what_was_not_sent_can_be_cut_off() {
    let (mut assembly, mut store) = (assembly(), Store::default());
    write(&mut assembly, &mut store, 0, Bytes::from(vec![1; 2_700])).unwrap();
    assembly.extend_to(9_000).unwrap();
    assert_eq!(assembly.cut_to(1_999), None, "two parts are in the store");
    assert_eq!(assembly.cut_to(2_300), Some(3));
    assert_eq!((assembly.end(), assembly.gathered(2)), (2_300, 300));
    assembly.extend_to(2_500).unwrap();
    let mut expected = vec![1; 2_300];
    expected.resize(2_500, 0);
    assert_eq!(close(assembly, &mut store), expected);

    let (mut assembly, mut store) = (self::assembly(), Store::default());
    write(&mut assembly, &mut store, 0, Bytes::from(vec![1; 1_500])).unwrap();
    assert_eq!(assembly.cut_to(1_000), Some(1), "to the end of what was sent");
    assert_eq!(close(assembly, &mut store), vec![1; 1_000]);
}

fn fill(offset: u64, len: usize, seed: u8) -> Bytes {
    (0..len).map(|n| (offset as u8).wrapping_add(n as u8).wrapping_mul(31) ^ seed).collect::<Vec<_>>().into()
}

proptest! {
    /// Writes of any size in any order against a plain vector; those that come too late for a part
    /// that was sent are refused and leave no trace.
    #[test]
    fn writes_in_any_order_give_the_same_bytes(
        writes in prop::collection::vec((0..4_000_u64, prop_oneof![1..40_usize, 1..2_500_usize], any::<u8>()), 1..40)
    ) {
        let (mut assembly, mut store, mut model) = (assembly(), Store::default(), Vec::new());
        for (offset, len, seed) in writes {
            let data = fill(offset, len, seed);
            let mut position = offset;
            let mut rest = data.clone();
            while let Ok(Some(piece)) = assembly.piece(position, rest.len() as u64) {
                let bytes = rest.split_to(piece.len as usize);
                assembly.write(&piece, bytes.clone()).unwrap();
                let end = (position + piece.len) as usize;
                if model.len() < end {
                    model.resize(end, 0_u8);
                }
                model[position as usize..end].copy_from_slice(&bytes);
                position += piece.len;
                while let Some(part) = assembly.take_ready() {
                    store.add(part);
                }
            }
        }
        prop_assert_eq!(assembly.end(), model.len() as u64);
        prop_assert!(close(assembly, &mut store) == model);
    }

    /// Overlaps inside one part, where nothing is ever refused.
    #[test]
    fn rewrites_of_one_part_win_over_what_was_there(
        writes in prop::collection::vec((0..900_u64, 1..100_usize, any::<u8>()), 1..60)
    ) {
        let (mut assembly, mut store, mut model) = (assembly(), Store::default(), Vec::new());
        for (offset, len, seed) in writes {
            let data = fill(offset, len, seed);
            let end = offset as usize + len;
            if model.len() < end {
                model.resize(end, 0_u8);
            }
            model[offset as usize..end].copy_from_slice(&data);
            write(&mut assembly, &mut store, offset, data).unwrap();
        }
        prop_assert!(close(assembly, &mut store) == model);
    }
}

#[test]
fn holes_are_bounded_over_the_whole_file() {
    let mut assembly = Assembly::new(Schedule::new(PART, 4 * PART, 0).unwrap(), 100);
    let write = |assembly: &mut Assembly, offset: u64, len: usize| {
        let piece = assembly.piece(offset, len as u64)?.unwrap();
        assembly.write(&piece, Bytes::from(vec![1; len]))
    };
    write(&mut assembly, 60, 10).unwrap();
    assert_eq!(assembly.piece(111, 10).unwrap_err().kind(), FsErrorKind::Unsupported, "60 and 41");
    write(&mut assembly, 110, 10).unwrap();
    assert_eq!(assembly.extend_to(121).unwrap_err().kind(), FsErrorKind::Unsupported);
    write(&mut assembly, 0, 60).unwrap();
    assembly.extend_to(180).unwrap();
    assert_eq!(assembly.extend_to(181).unwrap_err().kind(), FsErrorKind::Unsupported);
}
