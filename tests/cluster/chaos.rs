//! Nodes that are killed, paused, drained, cut off and throttled under clients of several kinds, and
//! afterwards the question whether anything that was acknowledged is missing, mixed or half.

mod client;
mod disturb;
mod packets;
mod programs;
mod resuming;
mod schedule;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tidegate_tests::Ssh;

use self::client::Client;
use self::packets::Packets;
use self::programs::Copier;
use self::resuming::{Resumed, Resuming};
use self::worker::{Ground, Worker};
use crate::fleet::Fleet;
use crate::history::{Action, Fate, History, Recorder, Sight, check};

/// How long clients work, unless `TIDEGATE_CHAOS_SECONDS` says otherwise. Every kind of disturbance
/// comes in that time.
const SHORT: Duration = Duration::from_secs(32);

const NODES: usize = 3;

/// Nodes give up within seconds what they would try for minutes, and every look is at the store.
const SETTINGS: [(&str, &str); 12] = [
    ("TIDEGATE_AWS__MAX_ATTEMPTS", "3"),
    ("TIDEGATE_AWS__TIMEOUTS__ATTEMPT", "2s"),
    ("TIDEGATE_AWS__TIMEOUTS__CONNECT", "1s"),
    ("TIDEGATE_AWS__TIMEOUTS__CONTROL", "2s"),
    ("TIDEGATE_AWS__TIMEOUTS__SERVER_WORK", "3s"),
    ("TIDEGATE_AWS__TIMEOUTS__STALL", "1s"),
    ("TIDEGATE_AWS__TIMEOUTS__UPLOAD_RATE_MIN", "8MiB"),
    ("TIDEGATE_DRAIN__DEADLINE", "2s"),
    ("TIDEGATE_VFS__PART_SIZE", "5MiB"),
    ("TIDEGATE_VFS__PREFETCH_FILES", "0"),
    ("TIDEGATE_VFS__REAP_INTERVAL", "2s"),
    // Longer than anything is under way.
    ("TIDEGATE_VFS__UPLOAD_LIFE", "30s"),
];

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

#[test]
fn chaos_loses_nothing_that_was_acknowledged() {
    // Always the same one among the tests, which are to find what a change broke; `tests/chaos` takes others.
    let seed = number_from("TIDEGATE_CHAOS_SEED").unwrap_or(1);
    let length = number_from("TIDEGATE_CHAOS_SECONDS").map_or(SHORT, Duration::from_secs);
    println!("TIDEGATE_CHAOS_SEED={seed} TIDEGATE_CHAOS_SECONDS={}", length.as_secs());
    let steps = schedule::schedule(seed, length, NODES);

    let mut fleet = Fleet::start(NODES, &SETTINGS);
    let login = fleet.login();
    let resumed = Arc::new(Resumed::default());
    let clients: Vec<(&str, Box<dyn Client + Send>)> = vec![
        ("packets-1", Box::new(Packets::new(&login, 12, 9))),
        ("packets-2", Box::new(Packets::new(&login, 5, 0))),
        ("packets-3", Box::new(Packets::new(&login, 30, 11))),
        ("resuming-1", Box::new(Resuming::new(&login, seed, 12, &resumed))),
        ("resuming-2", Box::new(Resuming::new(&login, !seed, 4, &resumed))),
        ("openssh", Box::new(Ssh::new(&login))),
        ("rclone", Box::new(Copier::new(&login))),
    ];
    let ground = Ground { clients: clients.len(), length };
    let mut maker = Packets::new(&fleet.direct_login(0), usize::MAX, 0);
    ground.directories().iter().for_each(|directory| maker.make_directory(directory));
    drop(maker);

    let recorder = Recorder::new();
    thread::scope(|scope| {
        let recorder = &recorder;
        for (number, (name, client)) in clients.into_iter().enumerate() {
            scope.spawn(move || Worker::new(name, number, seed, ground, recorder, client).work());
        }
        disturb::disturb(&mut fleet, &steps, seed);
    });
    let harmed = |proxy: fn(&crate::fleet::Member) -> u64| (0..NODES).map(|place| proxy(fleet.member(place))).sum();
    let (s3, dynamodb): (u64, u64) =
        (harmed(|member| member.s3.seen().harmed()), harmed(|member| member.dynamodb.seen().harmed()));
    println!("{s3} requests to S3 and {dynamodb} to DynamoDB were harmed");
    assert!(s3 > 0 && dynamodb > 0, "the proxies did what they were told");
    let [uploads, bytes, syncs] =
        [&resumed.uploads, &resumed.bytes, &resumed.syncs].map(|count| count.load(Ordering::Relaxed));
    println!("{uploads} uploads were resumed, without {} MiB of theirs, behind {syncs} fsync", bytes >> 20);
    assert!(uploads > 0 && syncs > 0, "clients have resumed and asked for fsync");

    // No client is left, and what their sessions still had under way has ended.
    fleet.wait_until_nothing_is_open();
    recorder.settle();
    look_at_everything(&fleet, ground, &recorder);
    judge(&recorder.history());
    // Those of clients and nodes that died. What the journal does not know is left to the bucket's
    // lifecycle rule: uploads that were begun when the answer was lost.
    fleet.wait_until_no_upload_is_listed();
}

/// Every file and every directory, from every node.
fn look_at_everything(fleet: &Fleet, ground: Ground, recorder: &Recorder) {
    thread::scope(|scope| {
        for place in 0..NODES {
            scope.spawn(move || {
                let client = Box::new(Packets::new(&fleet.direct_login(place), usize::MAX, 0));
                let mut worker = Worker::new(&format!("at the end, node {place}"), place, 0, ground, recorder, client);
                for directory in ground.leaves() {
                    assert!(worker.list(&directory), "{directory} can't be listed when all is over");
                    for file in Ground::files(&directory) {
                        assert!(worker.fetch(file.clone()), "{file} can't be read when all is over");
                    }
                }
            });
        }
    });
}

fn judge(history: &History) {
    let mut counts = BTreeMap::<String, usize>::new();
    for event in &history.events {
        let what = match &event.action {
            Action::Publish { .. } => format!("publish, {:?}", event.fate),
            Action::Remove { .. } => format!("remove, {:?}", event.fate),
            Action::Rename { .. } => format!("rename, {:?}", event.fate),
            Action::See { sight: Sight::Whole(_), .. } => "see a whole file".to_owned(),
            Action::See { sight, .. } => format!("see {sight:?}"),
        };
        *counts.entry(what).or_default() += 1;
    }
    println!("{counts:#?}");
    let violations = check(history);
    let shown: Vec<_> = violations.iter().take(10).map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} violations, among them:\n{}", violations.len(), shown.join("\n\n"));
    // A run in which nothing works has shown nothing.
    let published = history
        .events
        .iter()
        .filter(|event| matches!(event.action, Action::Publish { .. }) && event.fate == Fate::Done);
    let seen = history.events.iter().filter(|event| matches!(event.action, Action::See { sight: Sight::Whole(_), .. }));
    let (published, seen) = (published.count(), seen.count());
    assert!(published >= 50 && seen >= 50, "{published} uploads and {seen} downloads are too few to tell anything");
}
