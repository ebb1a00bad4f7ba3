//! Files of more parts than S3 takes, and of zeros that nobody sends. The parts are small here, and so are the
//! groups that those behind the first one make: 16 parts each.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use proptest::prelude::*;
use tidegate_store::StoreErrorKind;
use tidegate_store::faulty::{Call, Fault, FaultPlan, Rates};
use tidegate_store::memory::{MemoryJournal, MemoryObjectStore};
use tidegate_vfs::{Config, FsErrorKind, OpenOptions, SetAttributes};

const GROUP: usize = 16 * PART;

fn grouped() -> Config {
    Config { part_group: ByteSize::b(GROUP as u64), ..config() }
}

/// What the server keeps beside the files, but for zeros.
async fn left_beside(env: &Env) -> Vec<String> {
    let keys = env.keys().await.into_iter();
    keys.filter(|key| key.starts_with(".tidegate/") && !key.starts_with(".tidegate/zeros/")).collect()
}

/// Resolves once nothing of any upload is in the store.
async fn is_clean(env: &Env) {
    within(async {
        while env.uploads().await > 0 || !left_beside(env).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn parts_behind_the_first_ones_are_joined_in_groups() {
    for (len, groups) in [(GROUP, 1), (PART + 2 * GROUP, 2), (PART + 2 * GROUP + 10, 2), (3 * GROUP + 77_777, 3)] {
        let env = env_with(grouped(), FaultPlan::none()).await;
        let data = pattern(len);
        upload(&env.mount, "/f", &data).await.unwrap();
        assert!(env.object("f").await.unwrap() == data, "{len}");
        // What is left for a group of one part is sent as it is.
        assert_eq!(env.calls.calls(Call::CopyPart), groups, "{len}");
        let bytes = data.len().div_ceil(PART) as u64;
        assert_eq!(env.calls.calls(Call::PutPart), bytes, "no byte is sent twice");
        assert_eq!((env.uploads().await, left_beside(&env).await), (0, Vec::new()));
    }
}

#[tokio::test]
async fn a_file_of_any_size_up_to_five_tebibytes_can_be_opened_and_written_anywhere() {
    const TIB: u64 = 1 << 40;
    let env =
        env_with(Config { memory_budget: Some(ByteSize::mib(128)), ..Config::default() }, FaultPlan::none()).await;
    for hint in [0, TIB, 5 * TIB] {
        let attributes = SetAttributes { size: Some(hint), ..SetAttributes::default() };
        let options = OpenOptions { attributes, ..create() };
        let mut writer = open_writer(&env.mount, "/f", options).await.unwrap();
        write(&mut writer, (5 * TIB - 3) as usize, Bytes::from_static(b"end")).await.unwrap();
        assert_eq!(writer.attributes().size, 5 * TIB);
        assert_eq!(kind(writer.admit(5 * TIB - 2, 3)), Some(FsErrorKind::TooLarge));
        writer.abandon().await;
    }
    let attributes = SetAttributes { size: Some(5 * TIB + 1), ..SetAttributes::default() };
    let options = OpenOptions { attributes, ..create() };
    assert_eq!(kind(open_writer(&env.mount, "/f", options).await), Some(FsErrorKind::TooLarge));
    is_clean(&env).await;
}

#[tokio::test]
async fn a_group_that_fails_publishes_nothing_and_leaves_nothing() {
    let data = pattern(3 * GROUP);
    for call in [Call::CopyPart, Call::CompleteUpload, Call::BeginUpload, Call::PutPart] {
        for nth in [1, 2] {
            let plan = FaultPlan::none().on(call, nth, Fault::Before(StoreErrorKind::AccessDenied));
            let env = env_with(grouped(), plan).await;
            env.put("f", b"old", &[]).await;
            upload(&env.mount, "/f", &data).await.unwrap_err();
            assert_eq!(env.object("f").await.unwrap(), "old", "{call:?} {nth}");
            is_clean(&env).await;
        }
    }
}

#[tokio::test]
async fn fsync_and_a_cut_keep_what_a_group_has_so_far() {
    let store = MemoryObjectStore::new().with_part_min(PART as u64);
    let journal = Arc::new(MemoryJournal::new());
    let node = || env_over(store.clone(), Some(journal.clone()), grouped(), FaultPlan::none());
    let data = pattern(3 * GROUP);
    let options = OpenOptions { create: true, ..WRITE };
    let (one, other, third) = (node().await, node().await, node().await);

    // It dies behind an fsync in the middle of a group.
    let mut writer = open_writer(&one.mount, "/f", create()).await.unwrap();
    let synced = GROUP + 5 * PART + 1_000;
    write_all(&mut writer, &data.slice(..synced), 30_000).await.unwrap();
    within(writer.sync()).await.unwrap();
    std::mem::forget((writer, one));
    let shown = async |env: &Env| env.mount.stat(&path("/f")).await.unwrap().size as usize;
    assert_eq!(shown(&other).await, synced - 1);

    // The next one is cut in the middle of another.
    let mut writer = open_writer(&other.mount, "/f", options).await.unwrap();
    let cut = synced + GROUP + 3 * PART;
    for offset in (synced - 1..cut).step_by(30_000) {
        write(&mut writer, offset, data.slice(offset..cut.min(offset + 30_000))).await.unwrap();
    }
    within(writer.cut()).await;
    assert_eq!(shown(&third).await, cut - 1);
    let mut writer = open_writer(&third.mount, "/f", options).await.unwrap();
    for offset in (cut - 1..data.len()).step_by(30_000) {
        write(&mut writer, offset, data.slice(offset..data.len().min(offset + 30_000))).await.unwrap();
    }
    within(writer.finish()).await.unwrap();
    assert!(third.object("f").await.unwrap() == data);
    is_clean(&third).await;
}

#[tokio::test]
async fn a_hole_is_filled_inside_the_store() {
    // With a hint that parts are made for, those are the upload's own, else they are in groups.
    for hint in [0, 3 * GROUP as u64] {
        let env = env_with(grouped(), FaultPlan::none()).await;
        let mut expected = vec![0; 5 * GROUP + 123];
        let attributes = SetAttributes { size: Some(hint), ..SetAttributes::default() };
        let mut writer = open_writer(&env.mount, "/f", OpenOptions { attributes, ..create() }).await.unwrap();
        for at in [0, 3 * PART, 2 * GROUP + 9 * PART, 5 * GROUP - 70_000] {
            expected[at..at + 5].copy_from_slice(b"bytes");
            write(&mut writer, at, Bytes::from_static(b"bytes")).await.unwrap();
        }
        writer.set_attributes(size(expected.len() as u64)).await.unwrap();
        within(writer.finish()).await.unwrap();
        assert!(env.object("f").await.unwrap() == expected);
        // Each part that has a byte, and the end.
        assert!(env.calls.calls(Call::PutPart) <= 5, "{} parts were sent", env.calls.calls(Call::PutPart));
        is_clean(&env).await;
        assert_eq!(names(&env.mount, "/").await, ["f"]);
    }
}

#[tokio::test]
async fn a_hole_in_a_file_that_is_changed_is_filled_inside_the_store() {
    let env = env_with(grouped(), FaultPlan::none()).await;
    let mut expected = b"start".to_vec();
    for (puts, len) in [(1, 4 * GROUP), (0, 7 * GROUP + 5)] {
        env.put_bytes("f", Bytes::from(expected.clone())).await;
        let (before, sent) = (env.calls.calls(Call::Put), env.calls.calls(Call::PutPart));
        env.mount.set_attributes(&path("/f"), size(len as u64)).await.unwrap();
        expected.resize(len, 0);
        assert!(env.object("f").await.unwrap() == expected);
        assert_eq!(env.calls.calls(Call::Put) - before, puts, "the zeros are made once");
        assert!(env.calls.calls(Call::PutPart) - sent <= 2);
        expected[len - 3] = 7;
    }
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut writer, 20 * GROUP, Bytes::from_static(b"end")).await.unwrap();
    write(&mut writer, 15 * GROUP + 10, Bytes::from_static(b"middle")).await.unwrap();
    let mut expected = env.object("f").await.unwrap().to_vec();
    expected.resize(20 * GROUP, 0);
    expected.extend(b"end");
    expected[15 * GROUP + 10..15 * GROUP + 16].copy_from_slice(b"middle");
    let sent = env.calls.calls(Call::PutPart);
    within(writer.finish()).await.unwrap();
    assert!(env.object("f").await.unwrap() == expected);
    assert_eq!(env.calls.calls(Call::PutPart) - sent, 2);
    is_clean(&env).await;
}

#[tokio::test]
async fn a_file_is_changed_at_more_places_than_an_upload_has_parts() {
    const SMALL: usize = 1 << 10;
    let config = Config { part_size: ByteSize::b(SMALL as u64), part_size_max: ByteSize::b(SMALL as u64), ..config() };
    let env = env_over(MemoryObjectStore::new().with_part_min(SMALL as u64), None, config, FaultPlan::none()).await;
    let mut expected = pattern(6_000 * 4 * SMALL).to_vec();
    env.put_bytes("f", Bytes::from(expected.clone())).await;
    let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    for at in (100..expected.len()).step_by(4 * SMALL) {
        write(&mut writer, at, Bytes::from_static(b"!")).await.unwrap();
        expected[at] = b'!';
    }
    within(writer.finish()).await.unwrap();
    assert!(env.object("f").await.unwrap() == expected);
    assert_eq!(env.calls.calls(Call::PutPart), 6_000, "one part for each change");
    is_clean(&env).await;
}

/// What a client does to a file: where it writes, and how much; or which size it sets, or whether it waits until
/// all is durable.
#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Resize(usize),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3 * GROUP, 1..3 * PART).prop_map(|(at, len)| Step::Write(at, len)),
        4 => (1..4 * PART).prop_map(|len| Step::Write(usize::MAX, len)),
        1 => (0..4 * GROUP).prop_map(Step::Resize),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..25)
}

/// What is refused ends the file without a trace.
async fn run(env: &Env, steps: Vec<Step>) {
    env.put("f", b"old", &[]).await;
    let Ok(mut writer) = open_writer(&env.mount, "/f", create()).await else { return };
    let (mut model, mut failed) = (Vec::new(), false);
    for (n, step) in steps.into_iter().enumerate() {
        let done = match step {
            Step::Write(at, len) => {
                let at = if at == usize::MAX { model.len() } else { at };
                model.resize(model.len().max(at + len), 0);
                model[at..at + len].fill(n as u8 + 1);
                write(&mut writer, at, Bytes::from(vec![n as u8 + 1; len])).await
            }
            Step::Resize(len) => {
                model.resize(len, 0);
                writer.set_attributes(size(len as u64)).await
            }
            // That it is not possible now fails nothing else.
            Step::Sync => {
                let _ = within(writer.sync()).await;
                Ok(())
            }
        };
        if done.is_err() {
            failed = true;
            break;
        }
    }
    let published = within(writer.finish()).await;
    let content = env.object("f").await.unwrap();
    match published {
        // A size that was refused is not one that latches.
        Ok(_) if !failed => assert!(content == model, "{} bytes instead of {}", content.len(), model.len()),
        Ok(_) => {}
        Err(_) => assert_eq!(content, "old"),
    }
}

fn check(plan: Option<FaultPlan>, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(within(async {
        let store = MemoryObjectStore::new().with_part_min(PART as u64);
        let (journal, always_works) = (Arc::new(MemoryJournal::new()), plan.is_none());
        let env = env_over(store, Some(journal), grouped(), plan.unwrap_or_else(FaultPlan::none)).await;
        run(&env, steps).await;
        if always_works {
            is_clean(&env).await;
        }
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_writes_gives_the_bytes_of_the_model(steps in steps()) {
        check(None, steps);
    }

    #[test]
    fn what_fails_leaves_the_old_file(seed in any::<u64>(), steps in steps()) {
        check(Some(FaultPlan::seeded(seed, Rates { before: 0.02, ..Rates::default() })), steps);
    }
}
