//! The codec: requests decoded and answers encoded per second.

#![allow(missing_docs, reason = "Criterion's macros make public functions")]

use bytes::Buf;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate_microbench::packets::{self, PAYLOAD};
use tidegate_sftp::codec::{MAX_DATA, Replies};

fn decoding(criterion: &mut Criterion) {
    const COUNT: u32 = 64;
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(COUNT)));
    for payload in [PAYLOAD, MAX_DATA] {
        let stream = packets::writes(COUNT, payload);
        group.bench_function(BenchmarkId::new("WRITE", payload), |bencher| {
            bencher.iter_batched(|| stream.clone(), packets::decode_all, BatchSize::LargeInput);
        });
    }
    let stream = packets::reads(COUNT);
    group.bench_function("READ", |bencher| {
        bencher.iter_batched(|| stream.clone(), packets::decode_all, BatchSize::SmallInput);
    });
}

fn encoding(criterion: &mut Criterion) {
    const ENTRIES: usize = 1000;
    let mut group = criterion.benchmark_group("encode");
    for length in [PAYLOAD, MAX_DATA] {
        let (chunks, mut replies) = (packets::chunks(length, 2), Replies::default());
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("DATA", length), |bencher| {
            bencher.iter(|| {
                replies.data(1, &chunks);
                replies.advance(replies.remaining());
            });
        });
    }
    let (entries, mut replies) = (packets::entries(ENTRIES), Replies::default());
    group.throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("NAME", |bencher| {
        bencher.iter(|| {
            let count = replies.names(1, &entries);
            replies.advance(replies.remaining());
            count
        });
    });
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
