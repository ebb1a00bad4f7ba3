//! Any sequence of what clients do to one file, against a vector of bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use proptest::prelude::*;
use tidegate_store::faulty::{FaultPlan, Rates};
use tidegate_vfs::{Config, FsError, FsErrorKind, OpenOptions, SetAttributes, Writer};

#[derive(Clone, Debug)]
enum Step {
    /// How a handle is opened: 0 to read and write, 1 to write, 2 to append, 3 to empty it first.
    Open(u8),
    /// Of the nth handle.
    Close(usize),
    Write(usize, usize, usize),
    Read(usize, usize, usize),
    Resize(usize, usize),
    /// By path, with no handle open.
    ResizeByPath(usize),
}

const FILE_MAX: usize = 6 * PART;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Around the bounds of parts, and anywhere.
    let offset =
        || prop_oneof![0..FILE_MAX, (0..6_usize, 0..20_usize).prop_map(|(n, d)| (n * PART + d).saturating_sub(10))];
    let len = prop_oneof![3 => 1..200_usize, 1 => 1..2 * PART];
    let step = prop_oneof![
        2 => (0..4_u8).prop_map(Step::Open),
        2 => (0..3_usize).prop_map(Step::Close),
        6 => (0..3_usize, offset(), len.clone()).prop_map(|(n, at, len)| Step::Write(n, at, len)),
        3 => (0..3_usize, offset(), len).prop_map(|(n, at, len)| Step::Read(n, at, len)),
        1 => (0..3_usize, offset()).prop_map(|(n, size)| Step::Resize(n, size)),
        1 => offset().prop_map(Step::ResizeByPath),
    ];
    prop::collection::vec(step, 1..40)
}

/// What is known of the file.
struct Model {
    /// As the session's handles show it.
    now: Vec<u8>,
    /// As the store has it.
    stored: Vec<u8>,
}

struct Handle {
    writer: Writer,
    reads: bool,
    appends: bool,
    has_changed: bool,
}

async fn run(env: &Env, start: usize, steps: Vec<Step>) {
    let content = pattern(start);
    let mut model = Model { now: content.to_vec(), stored: content.to_vec() };
    let mut handles: Vec<Handle> = Vec::new();
    for (n, step) in steps.into_iter().enumerate() {
        let done = apply(env, &mut handles, &mut model, n, &step).await;
        if let Err(error) = done {
            let refused = error.kind() == FsErrorKind::Unsupported && handles.iter().any(|handle| !handle.reads);
            assert!(refused || error.kind() == FsErrorKind::Unavailable, "{step:?}: {}", error.report());
            for handle in handles.drain(..) {
                handle.writer.abandon().await;
            }
            assert!(env.object("f").await.unwrap() == model.stored, "{step:?} failed and left the old file");
            model.now.clone_from(&model.stored);
        }
    }
    drop(handles);
    assert!(env.object("f").await.unwrap() == model.stored);
}

async fn apply(
    env: &Env,
    handles: &mut Vec<Handle>,
    model: &mut Model,
    turn: usize,
    step: &Step,
) -> Result<(), FsError> {
    match *step {
        Step::Open(how) if handles.len() < 3 => {
            let options = OpenOptions {
                read: how == 0,
                write: true,
                append: how == 2,
                create: how > 0,
                truncate: how == 3,
                ..OpenOptions::default()
            };
            let writer = open_writer(&env.mount, "/f", options).await?;
            if options.truncate {
                model.now.clear();
            }
            handles.push(Handle {
                writer,
                reads: options.read,
                appends: options.append,
                has_changed: options.truncate,
            });
        }
        Step::Close(n) if n < handles.len() => {
            let handle = handles.remove(n);
            let publishes = handle.has_changed || handles.is_empty();
            handle.writer.finish().await?;
            if publishes {
                model.stored.clone_from(&model.now);
            }
            assert!(env.object("f").await.unwrap() == model.stored, "what CLOSE has published");
        }
        Step::Write(n, offset, len) if n < handles.len() => {
            let data = Bytes::from(vec![turn as u8 + 1; len]);
            let at = if handles[n].appends { model.now.len() } else { offset };
            write(&mut handles[n].writer, offset, data.clone()).await?;
            handles[n].has_changed = true;
            model.now.resize(model.now.len().max(at + len), 0);
            model.now[at..at + len].copy_from_slice(&data);
            assert_eq!(handles[n].writer.attributes().size, model.now.len() as u64);
        }
        Step::Read(n, offset, len) if n < handles.len() && handles[n].reads => {
            let read = handles[n].writer.read(offset as u64, len as u32).await?.chunks().concat();
            let end = model.now.len().min(offset + len);
            assert!(read == model.now[offset.min(end)..end], "{step:?}");
        }
        Step::Resize(n, size) if n < handles.len() => {
            let set = SetAttributes { size: Some(size as u64), ..SetAttributes::default() };
            handles[n].writer.set_attributes(set).await?;
            handles[n].has_changed = true;
            model.now.resize(size, 0);
        }
        Step::ResizeByPath(size) if handles.is_empty() => {
            let set = SetAttributes { size: Some(size as u64), ..SetAttributes::default() };
            env.mount.set_attributes(&path("/f"), set).await?;
            model.now.resize(size, 0);
            model.stored.clone_from(&model.now);
            assert!(env.object("f").await.unwrap() == model.stored);
        }
        _ => {}
    }
    Ok(())
}

fn check(plan: FaultPlan, start: usize, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(within(async {
        // Groups of two parts, so that parts are joined, and holes filled, inside the store.
        let config = Config { part_group: ByteSize::b(2 * PART as u64), ..config() };
        let env = env_with(config, plan).await;
        env.put_bytes("f", pattern(start)).await;
        run(&env, start, steps).await;
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_gives_the_bytes_of_the_model(start in 0..FILE_MAX, steps in steps()) {
        check(FaultPlan::none(), start, steps);
    }

    #[test]
    fn what_fails_leaves_the_file_that_was_there(start in 0..FILE_MAX, seed in any::<u64>(), steps in steps()) {
        let rates = Rates { before: 0.05, broken_body: 0.05, ..Rates::default() };
        check(FaultPlan::seeded(seed, rates), start, steps);
    }
}
