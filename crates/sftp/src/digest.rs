//! Checksums that clients ask for.

use crc_fast::CrcAlgorithm;
use sha2::Digest as _;
use tidegate_store::Checksum;
use tidegate_vfs::View;

/// A checksum: those that draft-ietf-secsh-filexfer-extensions-00, section 3, names, and the one that S3 keeps
/// with what is stored through this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc64Nvme,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 8] =
        [Self::Crc32, Self::Crc64Nvme, Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The first that is known of names with commas between.
    pub(crate) fn first_of(names: &[u8]) -> Option<Self> {
        let known = |name: &[u8]| Self::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name);
        names.split(|byte| *byte == b',').find_map(known)
    }

    /// Its name for `check-file`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc64Nvme => "crc64nvme",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many bytes its checksums have.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Crc32 => 4,
            Self::Crc64Nvme => 8,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Up to this size a file comes with OPEN, or with one request as asking for its checksums is one: 256 KiB.
const READ_MAX: u64 = 256 << 10;

/// The checksum that the store keeps for all of a file; `None` where it keeps another or none, and where asking
/// for it saves nothing.
pub(crate) async fn kept(algorithm: Algorithm, view: &View) -> Option<Vec<u8>> {
    let is_asked = match algorithm {
        Algorithm::Crc64Nvme => true,
        Algorithm::Md5 | Algorithm::Sha1 | Algorithm::Sha256 => view.size() > READ_MAX,
        Algorithm::Crc32 | Algorithm::Sha224 | Algorithm::Sha384 | Algorithm::Sha512 => false,
    };
    if !is_asked {
        return None;
    }
    let kept = view.kept_checksums().await?;
    match algorithm {
        Algorithm::Crc64Nvme => kept.crc64nvme.map(|sum| sum.to_be_bytes().to_vec()),
        Algorithm::Md5 => kept.md5.map(Vec::from),
        Algorithm::Sha1 => kept.sha1.map(Vec::from),
        Algorithm::Sha256 => kept.sha256.map(Vec::from),
        Algorithm::Crc32 | Algorithm::Sha224 | Algorithm::Sha384 | Algorithm::Sha512 => None,
    }
}

/// A checksum while it is computed.
pub(crate) enum Digest {
    Crc32(crc_fast::Digest),
    Crc64Nvme(Checksum),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Digest {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(Checksum::EMPTY),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Sha224 => Self::Sha224(sha2::Sha224::new()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(digest) => digest.update(bytes),
            Self::Crc64Nvme(sum) => *sum = sum.then(Checksum::of(bytes)),
            Self::Md5(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha224(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha384(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
        }
    }

    /// The checksum of all that was taken, in the order of its bytes that people write.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc32(digest) => (digest.finalize() as u32).to_be_bytes().to_vec(),
            Self::Crc64Nvme(sum) => sum.to_be_bytes().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha224(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Sha384(digest) => digest.finalize().to_vec(),
            Self::Sha512(digest) => digest.finalize().to_vec(),
        }
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // "abc": RFC 1321, section A.5; FIPS 180-2, appendices; CRC-32/ISO-HDLC and CRC-64/NVME of the reveng
    // catalogue.
    #[test]
    fn published_values_come_out() {
        for (algorithm, text, expected) in [
            (Algorithm::Crc32, "123456789", "cbf43926"),
            (Algorithm::Crc64Nvme, "123456789", "ae8b14860a799888"),
            (Algorithm::Md5, "abc", "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha224, "abc", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            (Algorithm::Sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            let mut digest = Digest::new(algorithm);
            text.bytes().for_each(|byte| digest.update(&[byte]));
            assert_eq!(hex(&digest.finish()), expected, "{algorithm:?}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Digest::new(algorithm).finish().len(), algorithm.len(), "{algorithm:?}");
        }
        let long = |algorithm| hex(&Digest::new(algorithm).finish());
        assert!(long(Algorithm::Sha384).starts_with("38b060a751ac9638"));
        assert!(long(Algorithm::Sha512).starts_with("cf83e1357eefb8bd"));
    }

    #[test]
    fn the_first_known_name_is_taken() {
        for (names, expected) in [
            ("sha512,md5", Some(Algorithm::Sha512)),
            ("blake3,crc32,md5", Some(Algorithm::Crc32)),
            ("MD5", None),
            ("", None),
            (",,md5", Some(Algorithm::Md5)),
        ] {
            assert_eq!(Algorithm::first_of(names.as_bytes()), expected, "{names}");
        }
    }
}
