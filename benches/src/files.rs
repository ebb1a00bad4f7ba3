//! Files to send, and whether they came back as they were.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use crate::error::{BenchError, during};

const CHUNK: usize = 1 << 20;

/// Makes a file of `length` bytes that no program can compress. The same `seed` gives the same.
pub(crate) fn make(path: &Path, length: u64, seed: u64) -> Result<(), BenchError> {
    write_noise(path, length, seed).map_err(during(path.display().to_string()))
}

/// Makes a folder with `count` files of `length` bytes each, all different.
pub(crate) fn make_many(folder: &Path, count: u64, length: u64) -> Result<(), BenchError> {
    fs::create_dir(folder).map_err(during(folder.display().to_string()))?;
    (0..count).try_for_each(|n| make(&folder.join(format!("file-{n:06}")), length, n))
}

/// Checks that two files are the same, byte by byte.
pub(crate) fn assert_same(sent: &Path, received: &Path) -> Result<(), BenchError> {
    let path = received.display().to_string();
    match same(sent, received).map_err(during(path.as_str()))? {
        true => Ok(()),
        false => Err(BenchError::Corrupt { what: path }),
    }
}

/// Checks that two folders hold the same files.
pub(crate) fn assert_same_folders(sent: &Path, received: &Path) -> Result<(), BenchError> {
    let names = |folder: &Path| -> Result<Vec<_>, BenchError> {
        let entries = fs::read_dir(folder).map_err(during(folder.display().to_string()))?;
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        Ok(names)
    };
    let expected = names(sent)?;
    if expected != names(received)? {
        return Err(BenchError::Corrupt { what: format!("the folder {}", received.display()) });
    }
    expected.iter().try_for_each(|name| assert_same(&sent.join(name), &received.join(name)))
}

/// Writes and removes a file of `length` zeros. On a virtual machine, memory that nobody has used for
/// a while may first have to come from the host, which can cost whoever takes it more than a whole
/// upload: after this it is there, for each server alike.
pub(crate) fn warm_memory(folder: &Path, length: u64) -> Result<(), BenchError> {
    let path = folder.join("memory");
    let written = File::create(&path).and_then(|mut file| io::copy(&mut io::repeat(0).take(length), &mut file));
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(during(path.display().to_string()))
}

fn write_noise(path: &Path, length: u64, seed: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(CHUNK, File::create(path)?);
    let mut state = seed;
    let mut left = length;
    while left > 0 {
        let bytes = split_mix(&mut state).to_le_bytes();
        let take = left.min(bytes.len() as u64);
        out.write_all(bytes.get(..take as usize).unwrap_or_default())?;
        left -= take;
    }
    out.flush()
}

/// Steele, Lea and Flood: Fast splittable pseudorandom number generators (2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn same(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let length = a.metadata()?.len();
    if length != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut chunk_a, mut chunk_b) = (length, vec![0; CHUNK], vec![0; CHUNK]);
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let (Some(part_a), Some(part_b)) = (chunk_a.get_mut(..take), chunk_b.get_mut(..take)) else { break };
        a.read_exact(part_a)?;
        b.read_exact(part_b)?;
        if part_a != part_b {
            return Ok(false);
        }
        left -= take as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flipped_bit_or_missing_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        make(&path("a"), 2_500_001, 1).unwrap();
        make(&path("b"), 2_500_001, 1).unwrap();
        assert_same(&path("a"), &path("b")).unwrap();

        let mut bytes = fs::read(path("b")).unwrap();
        assert_eq!(bytes.len(), 2_500_001);
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path("b"), &bytes).unwrap();
        assert!(assert_same(&path("a"), &path("b")).unwrap_err().to_string().ends_with("is not what was sent"));
        bytes.pop();
        fs::write(path("b"), &bytes).unwrap();
        assert!(assert_same(&path("a"), &path("b")).is_err());
    }

    #[test]
    fn a_missing_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        make_many(&a, 3, 10).unwrap();
        make_many(&b, 3, 10).unwrap();
        assert_same_folders(&a, &b).unwrap();
        fs::remove_file(b.join("file-000001")).unwrap();
        assert!(assert_same_folders(&a, &b).is_err());
    }
}
