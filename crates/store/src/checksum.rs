//! CRC-64/NVME, the checksum that follows the bytes from the client's packet into S3.

use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};

/// The polynomial, bits reflected: the highest bit is the coefficient of x^0.
/// Source: NVM Command Set Specification, "64b CRC"; reveng catalogue, CRC-64/NVME
/// (poly 0xad93d23594c93659).
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// The polynomial 1.
const ONE: u64 = 1 << 63;

/// x^(8 * 2^n) modulo the polynomial: what 2^n bytes behind it do to a checksum.
const POWERS: [u64; 64] = {
    let mut powers = [ONE >> 8; 64];
    let mut n = 1;
    while n < powers.len() {
        #[expect(clippy::indexing_slicing, reason = "n is below the length, and this runs in the compiler")]
        {
            powers[n] = multiply(powers[n - 1], powers[n - 1]);
        }
        n += 1;
    }
    powers
};

/// The CRC-64/NVME of some bytes and their number, so that neighbours can be joined without
/// reading them again.
///
/// S3 accepts it per part and, for the whole object, on completion (`FULL_OBJECT`).
/// Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    crc: u64,
    len: u64,
}

impl Checksum {
    /// The checksum of no bytes.
    pub const EMPTY: Self = Self { crc: 0, len: 0 };

    /// A checksum that was computed elsewhere: `crc` of `len` bytes.
    pub fn new(crc: u64, len: u64) -> Self {
        Self { crc, len }
    }

    /// The checksum of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self { crc: crc_fast::checksum(CrcAlgorithm::Crc64Nvme, data), len: data.len() as u64 }
    }

    /// The checksum of these bytes followed by those of `next`. Every WRITE is joined to the ones
    /// before it, so this takes well under a microsecond for the usual lengths; crc-fast's own
    /// routine squares matrices for it and takes some fifty.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self.len, next.len) {
            (_, 0) => self,
            (0, _) => next,
            _ => Self { crc: multiply(power(next.len), self.crc) ^ next.crc, len: self.len + next.len },
        }
    }

    /// The value.
    pub fn crc(self) -> u64 {
        self.crc
    }

    /// How many bytes it covers.
    pub fn covered(self) -> u64 {
        self.len
    }

    /// The value as S3's `x-amz-checksum-crc64nvme` carries it before base64: big-endian.
    pub fn to_be_bytes(self) -> [u8; 8] {
        self.crc.to_be_bytes()
    }
}

/// x^(8 * len) modulo the polynomial.
fn power(len: u64) -> u64 {
    let of_two = POWERS.iter().enumerate();
    of_two.filter(|(n, _)| len >> n & 1 == 1).fold(ONE, |power, (_, of_two)| multiply(*of_two, power))
}

/// The product modulo the polynomial, without a branch on the data.
const fn multiply(left: u64, mut right: u64) -> u64 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 64 {
        product ^= right & ((left >> (63 - bit)) & 1).wrapping_neg();
        right = (right >> 1) ^ (POLYNOMIAL & (right & 1).wrapping_neg());
        bit += 1;
    }
    product
}

/// The checksums that a store keeps for the whole of an object, each `None` where it does not tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptChecksums {
    /// CRC-64/NVME.
    pub crc64nvme: Option<Checksum>,
    /// MD5, the first byte first.
    pub md5: Option<[u8; 16]>,
    /// SHA-1, the first byte first.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256, the first byte first.
    pub sha256: Option<[u8; 32]>,
}

/// The MD5 of chunks, one behind the other: what stores have as the tag of some objects. It guards
/// nothing: whoever likes can make two files with the same.
pub fn md5<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut digest = Md5::new();
    chunks.into_iter().for_each(|chunk| digest.update(chunk));
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_check_value() {
        // The check value of CRC-64/NVME for "123456789", reveng catalogue.
        assert_eq!(Checksum::of(b"123456789").crc(), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn joins_neighbours() {
        let data: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        for cut in [0, 1, 7, 4096, 37_233, 65_536, 99_999, 100_000] {
            let (left, right) = data.split_at(cut);
            assert_eq!(Checksum::of(left).then(Checksum::of(right)), Checksum::of(&data), "cut at {cut}");
        }
    }

    // Lengths that no test can hold in memory, against the general routine of crc-fast.
    #[test]
    fn joins_across_any_length() {
        let (left, right) = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        for len in [1, 255, 261_120, 5 << 30, (5 << 40) - 1, 1 << 62] {
            let joined = Checksum::new(left, 1).then(Checksum::new(right, len)).crc();
            assert_eq!(joined, crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, left, right, len), "{len}");
        }
    }
}
