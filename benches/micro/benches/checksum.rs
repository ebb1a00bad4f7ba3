//! CRC-64/NVME: of bytes, and of two neighbours joined.

#![allow(missing_docs, reason = "Criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate_store::Checksum;

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for length in [4 << 10, 32 << 10, 255 << 10] {
        let data = vec![0x5a; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("of", length), |bencher| bencher.iter(|| Checksum::of(black_box(&data))));
    }
    group.throughput(Throughput::Elements(1));
    for length in [32 << 10, 255 << 10] {
        let (left, right) = (Checksum::new(0x0123_4567, 1 << 23), Checksum::new(0x89ab_cdef, length));
        group.bench_function(BenchmarkId::new("then", length), |bencher| {
            bencher.iter(|| black_box(left).then(black_box(right)));
        });
    }
}

criterion_group!(benches, checksum);
criterion_main!(benches);
