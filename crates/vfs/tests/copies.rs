//! Copies from one open file to another.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use proptest::prelude::*;
use tidegate_store::faulty::{Call, FaultPlan, Rates};
use tidegate_vfs::{Begun, Config, FsError, FsErrorKind, Mount, OpenOptions, SetAttributes, View, Writer};

/// What a handle for reading shows.
async fn source(env: &Env, name: &str) -> View {
    env.mount.view(&open_reader(&env.mount, name).await.unwrap())
}

/// What a handle for writing shows.
async fn view(writer: &Writer) -> Result<View, FsError> {
    loop {
        match writer.view()? {
            Begun::Later(wait) => wait.await,
            Begun::Now(view) => return Ok(view),
        }
    }
}

/// A copy, as a session asks for it. Tells how many bytes were copied.
async fn copy(
    writer: &mut Writer,
    mut view: impl AsyncFnMut() -> Result<View, FsError>,
    (offset, len, at): (u64, Option<u64>, u64),
) -> Result<u64, FsError> {
    loop {
        match writer.copy(view().await?, offset, len, at)? {
            Begun::Later(wait) => wait.await,
            Begun::Now(copy) => {
                copy.done.await?;
                return Ok(copy.len);
            }
        }
    }
}

async fn copy_whole(env: &Env, from: &str, writer: &mut Writer, at: u64) -> Result<u64, FsError> {
    copy(writer, async || Ok(source(env, from).await), (0, None, at)).await
}

async fn new_file(mount: &Mount, name: &str) -> Writer {
    open_writer(mount, name, create()).await.unwrap()
}

/// Calls that move bytes of files or make parts: CopyObject, UploadPartCopy, GET, PUT, UploadPart.
fn moves(env: &Env) -> [u64; 5] {
    [Call::Copy, Call::CopyPart, Call::Get, Call::Put, Call::PutPart].map(|call| env.calls.calls(call))
}

fn since(env: &Env, before: [u64; 5]) -> [u64; 5] {
    let now = moves(env);
    std::array::from_fn(|n| now[n] - before[n])
}

#[tokio::test]
async fn a_copy_of_a_whole_file_is_one_request_at_close() {
    let env = env().await;
    let data = pattern(5 * PART + 7);
    upload(&env.mount, "/from", &data).await.unwrap();
    env.put("old", b"what was there", &[]).await;
    for name in ["new", "old"] {
        let reader = open_reader(&env.mount, "/from").await.unwrap();
        let before = (moves(&env), env.object(name).await);
        let mut writer = new_file(&env.mount, &format!("/{name}")).await;
        writer.set_attributes(mode(0o600)).await.unwrap();
        let copied = copy(&mut writer, async || Ok(env.mount.view(&reader)), (0, None, 0)).await;
        assert_eq!(copied.unwrap(), data.len() as u64);
        assert_eq!(writer.attributes().size, data.len() as u64, "FSTAT shows it");
        drop(reader);
        assert_eq!(since(&env, before.0), [0; 5], "nothing is done before CLOSE");
        assert_eq!(env.object(name).await, before.1);
        writer.finish().await.unwrap();
        assert_eq!(since(&env, before.0), [1, 0, 0, 0, 0], "{name}");
        assert!(env.object(name).await.unwrap() == data);
        assert_eq!(env.metadata(name, "mode").await.as_deref(), Some("33152"), "its own attributes");
    }
    is_given_back(&env).await;
}

#[tokio::test]
async fn a_file_too_large_for_one_request_is_copied_in_parts() {
    let config = Config {
        copy_whole_max: ByteSize::b(4 * PART as u64),
        copy_part_size: ByteSize::b(2 * PART as u64),
        ..config()
    };
    let env = env_with(config, FaultPlan::none()).await;
    let data = pattern(7 * PART);
    upload(&env.mount, "/from", &data).await.unwrap();
    let before = moves(&env);
    let mut writer = new_file(&env.mount, "/to").await;
    copy_whole(&env, "/from", &mut writer, 0).await.unwrap();
    writer.finish().await.unwrap();
    let [copies, parts, gets, puts, sent] = since(&env, before);
    assert_eq!((copies, parts, puts, sent), (0, 4, 0, 0));
    assert_eq!(gets, 1, "that of OPEN");
    assert!(env.object("to").await.unwrap() == data);
}

#[tokio::test]
async fn files_are_joined_inside_the_store() {
    let env = env().await;
    let (one, two) = (pattern(3 * PART), Bytes::from(vec![7; 2 * PART + 1]));
    upload(&env.mount, "/one", &one).await.unwrap();
    upload(&env.mount, "/two", &two).await.unwrap();
    let (first, second) = (source(&env, "/one").await, source(&env, "/two").await);
    let before = moves(&env);
    let mut writer = new_file(&env.mount, "/to").await;
    let mut views = vec![second, first];
    for len in [one.len(), two.len()] {
        let at = writer.attributes().size;
        let copied = copy(&mut writer, async || Ok(views.pop().unwrap()), (0, None, at)).await.unwrap();
        assert_eq!(copied, len as u64);
    }
    writer.finish().await.unwrap();
    let [_, parts, gets, puts, sent] = since(&env, before);
    assert!(parts >= 2 && (gets, puts, sent) == (0, 0, 0), "{parts} {gets} {puts} {sent}");
    assert!(env.object("to").await.unwrap() == [&one[..], &two[..]].concat());
}

#[tokio::test]
async fn a_range_goes_into_the_middle_of_a_file_and_is_read_back() {
    let env = env().await;
    let (from, to) = (pattern(20 * PART), Bytes::from(vec![7; 20 * PART]));
    upload(&env.mount, "/from", &from).await.unwrap();
    upload(&env.mount, "/to", &to).await.unwrap();
    let mut writer = open_writer(&env.mount, "/to", READ_WRITE).await.unwrap();
    let before = moves(&env);
    let (offset, len, at) = (3 * PART + 11, 12 * PART, 5 * PART + 3);
    let range = (offset as u64, Some(len as u64), at as u64);
    copy(&mut writer, async || Ok(source(&env, "/from").await), range).await.unwrap();
    write(&mut writer, at + PART, Bytes::from_static(b"over it")).await.unwrap();
    let mut expected = to.to_vec();
    expected[at..at + len].copy_from_slice(&from[offset..offset + len]);
    expected[at + PART..at + PART + 7].copy_from_slice(b"over it");
    assert!(read_whole(&writer).await == expected);
    writer.finish().await.unwrap();
    assert!(env.object("to").await.unwrap() == expected);
    let [_, copied, _, _, sent] = since(&env, before);
    assert!(copied >= 3 && sent <= 4, "{copied} parts were copied, {sent} sent");
}

#[tokio::test]
async fn a_copy_is_of_the_version_that_was_opened_or_fails() {
    let env = env().await;
    upload(&env.mount, "/from", &pattern(2 * PART)).await.unwrap();
    env.put("to", b"old", &[]).await;
    for is_removed in [false, true] {
        let mut writer = new_file(&env.mount, "/to").await;
        copy_whole(&env, "/from", &mut writer, 0).await.unwrap();
        if is_removed {
            env.mount.remove(&path("/from")).await.unwrap();
        } else {
            upload(&env.mount, "/from", &Bytes::from_static(b"another")).await.unwrap();
        }
        let closed = writer.finish().await.unwrap_err();
        assert!(closed.to_string().contains("the file that was to be copied was changed or removed"), "{closed}");
        assert_eq!(kind(Err::<(), _>(closed)), Some(FsErrorKind::Conflict));
        assert_eq!(env.object("to").await.unwrap(), "old");
        upload(&env.mount, "/from", &pattern(2 * PART)).await.unwrap();
    }
    // The target is made by somebody else meanwhile: that is told apart.
    let exclusive = OpenOptions { exclusive: true, ..create() };
    let mut writer = open_writer(&env.mount, "/new", exclusive).await.unwrap();
    copy_whole(&env, "/from", &mut writer, 0).await.unwrap();
    env.put("new", b"theirs", &[]).await;
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::AlreadyExists));
    assert_eq!(env.object("new").await.unwrap(), "theirs");
}

#[tokio::test]
async fn what_the_store_can_not_do_passes_through_the_node() {
    let env = env().await;
    let (head, from) = (Bytes::from(vec![9; 3 * PART + 5]), pattern(6 * PART + 1));
    upload(&env.mount, "/from", &from).await.unwrap();
    // Behind parts that were sent.
    let mut writer = new_file(&env.mount, "/to").await;
    write_all(&mut writer, &head, 32 << 10).await.unwrap();
    copy_whole(&env, "/from", &mut writer, head.len() as u64).await.unwrap();
    write(&mut writer, head.len() + from.len(), Bytes::from_static(b"end")).await.unwrap();
    writer.finish().await.unwrap();
    assert!(env.object("to").await.unwrap() == [&head[..], &from[..], b"end"].concat());

    // From a file that was not stored yet.
    let mut open = open_writer(&env.mount, "/from", READ_WRITE).await.unwrap();
    write(&mut open, PART, Bytes::from_static(b"new")).await.unwrap();
    let mut changed = from.to_vec();
    changed[PART..PART + 3].copy_from_slice(b"new");
    let mut writer = new_file(&env.mount, "/to").await;
    copy(&mut writer, async || view(&open).await, (0, None, 0)).await.unwrap();
    // It is a copy of what the file was when it was asked for.
    write(&mut open, 0, Bytes::from_static(b"later")).await.unwrap();
    writer.finish().await.unwrap();
    assert!(env.object("to").await.unwrap() == changed);
    assert!(env.object("from").await.unwrap() == from, "and that is still to be published");

    // From there into one that is changed in place, behind a change that is on its way to scratch.
    let mut writer = open_writer(&env.mount, "/to", READ_WRITE).await.unwrap();
    write(&mut writer, 100, Bytes::from_static(b"before")).await.unwrap();
    let copied = copy(&mut writer, async || view(&open).await, (0, None, 5)).await.unwrap();
    write(&mut writer, 7, Bytes::from_static(b"behind")).await.unwrap();
    assert_eq!(copied, changed.len() as u64);
    let mut expected = [&changed[..5], b"later", &changed[5..]].concat();
    expected[7..13].copy_from_slice(b"behind");
    assert!(read_whole(&writer).await == expected);
    writer.finish().await.unwrap();
    assert!(env.object("to").await.unwrap() == expected);
    drop(open);
    is_given_back(&env).await;
    assert_eq!(env.uploads().await, 0);
}

#[tokio::test]
async fn a_copy_through_the_node_ends_with_its_file() {
    let env = env_with(parts(4), slow_store()).await;
    env.put_bytes("from", pattern(200 * PART)).await;
    let mut writer = new_file(&env.mount, "/to").await;
    let head = Bytes::from(vec![9; 2 * PART]);
    write_all(&mut writer, &head, 32 << 10).await.unwrap();
    let reader = open_reader(&env.mount, "/from").await.unwrap();
    let Begun::Now(running) = writer.copy(env.mount.view(&reader), 0, None, head.len() as u64).unwrap() else {
        panic!("nothing is to be waited for");
    };
    writer.abandon().await;
    assert_eq!(kind(within(running.done).await), Some(FsErrorKind::Unavailable));
    drop(reader);
    is_given_back(&env).await;
    within(async {
        while env.uploads().await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(env.calls.calls(Call::PutPart) < 150, "it stopped early");
    assert_eq!(env.object("to").await, None);
}

#[tokio::test]
async fn handles_are_used_for_what_they_were_opened_for() {
    let env = env().await;
    upload(&env.mount, "/from", &pattern(100)).await.unwrap();
    let mut writer = new_file(&env.mount, "/to").await;
    assert_eq!(kind(writer.view()), Some(FsErrorKind::PermissionDenied), "not opened for reading");
    // Less is copied where there is less, and nothing behind the end.
    for (range, expected) in [((90, Some(20), 0), 10), ((100, None, 500), 0), ((u64::MAX, Some(1), 3), 0)] {
        let copied = copy(&mut writer, async || Ok(source(&env, "/from").await), range).await;
        assert_eq!((copied.unwrap(), writer.attributes().size), (expected, 10), "{range:?}");
    }
    // Appended, whatever the offset says.
    writer.finish().await.unwrap();
    let append = OpenOptions { append: true, ..WRITE };
    let mut writer = open_writer(&env.mount, "/to", append).await.unwrap();
    copy(&mut writer, async || Ok(source(&env, "/from").await), (0, Some(5), 0)).await.unwrap();
    writer.finish().await.unwrap();
    assert!(env.object("to").await.unwrap() == [&pattern(100)[90..], &pattern(5)[..]].concat());
    // Too far behind the end.
    let mut writer = open_writer(&env.mount, "/to", WRITE).await.unwrap();
    let far = copy(&mut writer, async || Ok(source(&env, "/from").await), (0, None, 6 << 40)).await;
    assert_eq!(kind(far), Some(FsErrorKind::TooLarge));
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::TooLarge));
}

#[derive(Clone, Debug)]
enum Step {
    /// Of one of two files, from there to the target.
    Copy(usize, usize, usize, usize),
    Write(usize, usize),
    Read(usize, usize),
    Resize(usize),
    /// CLOSE, and another OPEN: to read and write, to write, or emptied.
    Reopen(u8),
}

const SIZE: usize = 5 * PART;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let offset =
        || prop_oneof![0..SIZE, (0..5_usize, 0..20_usize).prop_map(|(n, d)| (n * PART + d).saturating_sub(10))];
    let len = || prop_oneof![1..300_usize, 1..SIZE];
    let step = prop_oneof![
        4 => (0..2_usize, offset(), len(), offset()).prop_map(|(n, from, len, at)| Step::Copy(n, from, len, at)),
        2 => (offset(), 1..300_usize).prop_map(|(at, len)| Step::Write(at, len)),
        2 => (offset(), len()).prop_map(|(at, len)| Step::Read(at, len)),
        1 => offset().prop_map(Step::Resize),
        1 => (0..3_u8).prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

async fn open_again(env: &Env, how: u8) -> Result<Writer, FsError> {
    let options = OpenOptions { read: how == 0, write: true, truncate: how == 2, ..OpenOptions::default() };
    open_writer(&env.mount, "/to", options).await
}

/// Copies, writes and all else give the bytes of a vector; what fails leaves the file that was there.
async fn check(plan: FaultPlan, steps: Vec<Step>) {
    let env = env_with(config(), plan).await;
    let sources = [pattern(SIZE), pattern(2 * SIZE).slice(SIZE..)];
    for (n, data) in sources.iter().enumerate() {
        env.put_bytes(&format!("from{n}"), data.clone()).await;
    }
    env.put_bytes("to", pattern(PART + 9)).await;
    let mut stored = pattern(PART + 9).to_vec();
    let (mut now, mut how) = (stored.clone(), 0);
    let mut writer = None;
    for (turn, step) in steps.into_iter().enumerate() {
        let done: Result<(), FsError> = async {
            if writer.is_none() {
                writer = Some(open_again(&env, how).await?);
                if how == 2 {
                    now.clear();
                }
            }
            let open = writer.as_mut().unwrap();
            match step {
                Step::Copy(n, from, len, at) => {
                    let reader = open_reader(&env.mount, &format!("/from{n}")).await?;
                    let range = (from as u64, Some(len as u64), at as u64);
                    let copied = copy(open, async || Ok(env.mount.view(&reader)), range).await? as usize;
                    assert_eq!(copied, len.min(SIZE - from));
                    now.resize(now.len().max(at + copied), 0);
                    now[at..at + copied].copy_from_slice(&sources[n][from..from + copied]);
                }
                Step::Write(at, len) => {
                    write(open, at, Bytes::from(vec![turn as u8 + 1; len])).await?;
                    now.resize(now.len().max(at + len), 0);
                    now[at..at + len].fill(turn as u8 + 1);
                }
                Step::Read(at, len) if how == 0 => {
                    let read = open.read(at as u64, len as u32).await?.chunks().concat();
                    let end = now.len().min(at + len);
                    assert!(read == now[at.min(end)..end], "READ of {len} bytes at {at}");
                }
                Step::Read(..) => {}
                Step::Resize(size) => {
                    open.set_attributes(SetAttributes { size: Some(size as u64), ..SetAttributes::default() }).await?;
                    now.resize(size, 0);
                }
                Step::Reopen(next) => {
                    writer.take().unwrap().finish().await?;
                    stored.clone_from(&now);
                    how = next;
                }
            }
            Ok(())
        }
        .await;
        if let Err(error) = done {
            let refused = error.kind() == FsErrorKind::Unsupported && how != 0;
            let failed = matches!(error.kind(), FsErrorKind::Unavailable | FsErrorKind::Conflict);
            assert!(refused || failed, "{}", error.report());
            if let Some(writer) = writer.take() {
                writer.abandon().await;
            }
            assert!(env.object("to").await.unwrap() == stored, "what failed left the old file");
            now.clone_from(&stored);
        }
    }
    if let Some(writer) = writer
        && writer.finish().await.is_ok()
    {
        stored = now;
    }
    assert!(env.object("to").await.unwrap() == stored);
}

fn run(plan: FaultPlan, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(within(check(plan, steps)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_copies_and_changes_gives_the_bytes_of_the_model(steps in steps()) {
        run(FaultPlan::none(), steps);
    }

    #[test]
    fn a_copy_that_fails_leaves_the_file_that_was_there(seed in any::<u64>(), steps in steps()) {
        let rates = Rates { before: 0.05, broken_body: 0.05, ..Rates::default() };
        run(FaultPlan::seeded(seed, rates), steps);
    }
}
