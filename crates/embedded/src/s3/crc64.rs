//! Joins the CRC-64/NVME of neighbours in less than a microsecond where the length of the second
//! is a power of two, and in some microseconds for any other. The general routine of crate
//! crc-fast squares matrices for it, which takes some hundred.

/// The polynomial 0xad93d23594c93659, bits reflected. Source: reveng catalogue, CRC-64/NVME.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// The polynomial 1: reflected, the highest bit is the coefficient of x^0.
const ONE: u64 = 1 << 63;

/// x^(2^n) modulo the polynomial, from n = 0.
const POWERS: [u64; 67] = {
    let mut powers = [ONE >> 1; 67];
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

/// The checksum of bytes with the checksum `left` followed by `len` bytes with the checksum `right`.
pub(crate) fn join(left: u64, right: u64, len: u64) -> u64 {
    // x^(8 len), by the bits of len; a byte is 2^3 bits.
    let powers = POWERS.iter().skip(3).enumerate();
    let shift = powers.filter(|(bit, _)| len >> bit & 1 == 1).fold(ONE, |shift, (_, power)| multiply(shift, *power));
    multiply(left, shift) ^ right
}

/// The product modulo the polynomial.
const fn multiply(left: u64, mut right: u64) -> u64 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if left & bit != 0 {
            product ^= right;
        }
        right = if right & 1 == 0 { right >> 1 } else { (right >> 1) ^ POLYNOMIAL };
        bit >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use crc_fast::{CrcAlgorithm, checksum, checksum_combine};

    use super::*;

    #[test]
    fn joins_as_the_general_routine_does() {
        let nvme = CrcAlgorithm::Crc64Nvme;
        let data: Vec<u8> = (0..70_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for cut in [0, 1, 3, 4_096, 37_233, 65_536, 69_999, 70_000] {
            let (left, right) = data.split_at(cut);
            let joined = join(checksum(nvme, left), checksum(nvme, right), right.len() as u64);
            assert_eq!(joined, checksum(nvme, &data), "cut at {cut}");
        }
        for len in [1, 5 << 30, (5 << 40) - 1, 1 << 62] {
            assert_eq!(join(0x0123_4567, 0x89ab, len), checksum_combine(nvme, 0x0123_4567, 0x89ab, len), "{len}");
        }
    }
}
