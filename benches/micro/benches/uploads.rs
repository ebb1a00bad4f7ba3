//! Uploads through a mount into the object store in memory: assembly, memory budget, checksum, parts.

#![allow(missing_docs, clippy::expect_used, reason = "Criterion's macros; a benchmark fails by panicking")]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate_microbench::uploads::{self, Order};
use tokio::runtime::Builder;

/// Parts as a node makes them.
const PART: u64 = 8 << 20;

fn upload(criterion: &mut Criterion) {
    const SIZE: u64 = 4 * PART;
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mount = runtime.block_on(uploads::mount(PART));
    let mut group = criterion.benchmark_group("upload");
    group.sample_size(20).throughput(Throughput::Bytes(SIZE));
    for (order, length) in [(Order::Ascending, 32 << 10), (Order::Ascending, 256 << 10), (Order::Shuffled, 32 << 10)] {
        let (data, offsets) =
            (Bytes::from(vec![0x5a; length as usize]), uploads::offsets(order, SIZE / length, length));
        group.bench_function(BenchmarkId::new(format!("{order:?}"), length), |bencher| {
            bencher.iter(|| runtime.block_on(uploads::upload(&mount, &data, &offsets)));
        });
    }
}

criterion_group!(benches, upload);
criterion_main!(benches);
