//! CRC-64/NVME, the checksum that follows the bytes from the client's packet into S3.

use crc_fast::CrcAlgorithm;

/// The CRC-64/NVME of some bytes and their number, so that neighbours can be joined without
/// reading them again.
///
/// S3 accepts it per part and, for the whole object, on completion (`FULL_OBJECT`).
/// Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    crc: u64,
    len: u64,
}

impl Checksum {
    /// The checksum of no bytes.
    pub const EMPTY: Self = Self { crc: 0, len: 0 };

    /// The checksum of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self { crc: crc_fast::checksum(CrcAlgorithm::Crc64Nvme, data), len: data.len() as u64 }
    }

    /// The checksum of these bytes followed by those of `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self.len, next.len) {
            (_, 0) => self,
            (0, _) => next,
            _ => Self {
                crc: crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, self.crc, next.crc, next.len),
                len: self.len + next.len,
            },
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_check_value() {
        // The check value of CRC-64/NVME for "123456789", reveng catalogue.
        assert_eq!(Checksum::of(b"123456789").to_be_bytes(), 0xae8b_1486_0a79_9888_u64.to_be_bytes());
    }

    #[test]
    fn joins_neighbours() {
        let data: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        for cut in [0, 1, 7, 4096, 99_999, 100_000] {
            let (left, right) = data.split_at(cut);
            assert_eq!(Checksum::of(left).then(Checksum::of(right)), Checksum::of(&data), "cut at {cut}");
        }
    }
}
