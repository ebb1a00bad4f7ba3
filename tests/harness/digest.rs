//! Test data and what proves that it came back whole.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// `len` bytes that no compression shortens; the same for the same seed.
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill(bytes.as_mut_slice());
    bytes
}

/// Writes such bytes to a file and gives their SHA-256.
///
/// # Panics
/// If the file can't be written.
pub fn write_random_file(path: &Path, seed: u64, len: u64) -> Vec<u8> {
    const CHUNK: u64 = 1 << 20;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut sum = Context::new(&SHA256);
    let mut file = BufWriter::new(File::create(path).expect("the file can be made"));
    let mut left = len;
    while left > 0 {
        let mut chunk = vec![0; left.min(CHUNK) as usize];
        random.fill(chunk.as_mut_slice());
        sum.update(&chunk);
        file.write_all(&chunk).expect("the file can be written");
        left -= chunk.len() as u64;
    }
    file.flush().expect("the file can be written");
    sum.finish().as_ref().to_vec()
}

/// The SHA-256 of a file.
///
/// # Panics
/// If it can't be read.
pub fn sha256_of_file(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut sum = Context::new(&SHA256);
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).expect("the file can be read") {
            0 => return sum.finish().as_ref().to_vec(),
            read => sum.update(&chunk[..read]),
        }
    }
}
