//! One scenario of fixed work, for callgrind: `benches/instructions` runs it.
//!
//! Only what happens in `counted_section` is counted. The work is the same in every run, and no
//! clock, no thread and no hash table with a random seed takes part in it.

#![allow(clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::process::ExitCode;

use bytes::{Buf, Bytes};
use tidegate_microbench::packets::{self, PAYLOAD};
use tidegate_microbench::uploads::{self, Order};
use tidegate_sftp::codec::Replies;

/// A name, the number of operations, and the work.
type Scenario = (&'static str, u32, fn(u32));

/// The scenarios, in the order of the table.
const SCENARIOS: [Scenario; 6] = [
    ("decode-reads", 1000, decode_reads),
    ("decode-writes", 250, decode_writes),
    ("encode-data", 250, encode_data),
    ("encode-names", 1000, encode_names),
    ("write-in-order", 1024, write_in_order),
    ("write-shuffled", 1024, write_shuffled),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    match SCENARIOS.into_iter().find(|(name, ..)| wanted.as_deref() == Some(name)) {
        Some((_, operations, work)) => work(operations),
        // Names and operations, for the script.
        None if wanted.as_deref() == Some("--list") => {
            SCENARIOS.iter().for_each(|(name, operations, _)| println!("{name} {operations}"));
        }
        None => {
            eprintln!("counted: name a scenario, or --list");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What is counted: callgrind switches its counters at this name.
#[inline(never)]
fn counted_section<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn decode_reads(operations: u32) {
    let stream = packets::reads(operations);
    assert_eq!(counted_section(|| packets::decode_all(stream)), operations);
}

fn decode_writes(operations: u32) {
    let stream = packets::writes(operations, 4 << 10);
    assert_eq!(counted_section(|| packets::decode_all(stream)), operations);
}

/// Each answer comes from two chunks and is sent before the next is made.
fn encode_data(operations: u32) {
    let (chunks, mut replies) = (packets::chunks(PAYLOAD, 2), Replies::default());
    replies.data(0, &chunks);
    replies.advance(replies.remaining());
    counted_section(|| {
        for id in 0..operations {
            replies.data(id, &chunks);
            replies.advance(replies.remaining());
        }
    });
}

/// One page of a listing.
fn encode_names(operations: u32) {
    let (entries, mut replies) = (packets::entries(operations as usize), Replies::default());
    assert_eq!(counted_section(|| replies.names(0, &entries)), entries.len());
}

fn write_in_order(operations: u32) {
    write(Order::Ascending, operations);
}

fn write_shuffled(operations: u32) {
    write(Order::Shuffled, operations);
}

/// Four parts of 256 writes. Parts are handed over to be sent, but not sent: the runtime has one
/// thread, and that is here. Payloads are small, so that little of what is counted is checksum.
fn write(order: Order, operations: u32) {
    const LENGTH: u64 = 256;
    let data = Bytes::from(vec![0x5a; LENGTH as usize]);
    let offsets = uploads::offsets(order, u64::from(operations), LENGTH);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mount = uploads::mount(LENGTH * u64::from(operations) / 4).await;
        let mut writer = uploads::create(&mount).await;
        counted_section(|| uploads::write_at_once(&mut writer, &data, &offsets));
    });
}
