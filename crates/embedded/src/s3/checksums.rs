//! The checksums that S3 takes with a body, verifies, keeps and gives back.
//! Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest};
use hyper::HeaderMap;
use s3s::crypto::{Checksum as _, Md5, Sha1, Sha256};
use s3s::dto;
use serde::{Deserialize, Serialize};
use tidegate_store::Checksum;

use super::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "CRC32")]
    Crc32,
    #[serde(rename = "CRC32C")]
    Crc32c,
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    #[serde(rename = "SHA1")]
    Sha1,
    #[serde(rename = "SHA256")]
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The name in `x-amz-checksum-algorithm`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header or trailer that carries the value in base64.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// What a multipart upload's checksum covers when the client does not say.
    pub(crate) fn default_coverage(self) -> Coverage {
        match self {
            Self::Crc64Nvme => Coverage::FullObject,
            _ => Coverage::Composite,
        }
    }

    pub(crate) fn allows(self, coverage: Coverage) -> bool {
        match coverage {
            Coverage::FullObject => matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme),
            Coverage::Composite => self != Self::Crc64Nvme,
        }
    }

    /// The checksum of two neighbours from theirs, for the CRCs.
    fn combine(self, left: u64, right: u64, right_len: u64) -> Option<u64> {
        match self {
            Self::Crc32 => Some(crc_fast::checksum_combine(CrcAlgorithm::Crc32IsoHdlc, left, right, right_len)),
            Self::Crc32c => Some(crc_fast::checksum_combine(CrcAlgorithm::Crc32Iscsi, left, right, right_len)),
            // How long the left one is makes no difference, as long as it is not empty.
            Self::Crc64Nvme => Some(Checksum::new(left, 1).then(Checksum::new(right, right_len)).crc()),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// What a checksum was computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Coverage {
    /// The object's bytes.
    #[serde(rename = "FULL_OBJECT")]
    FullObject,
    /// The parts' checksums, one behind the other.
    #[serde(rename = "COMPOSITE")]
    Composite,
}

impl Coverage {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "FULL_OBJECT" => Some(Self::FullObject),
            "COMPOSITE" => Some(Self::Composite),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// A checksum as S3 keeps it: base64, with `-N` behind a composite of N parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) algorithm: Algorithm,
    pub(crate) coverage: Coverage,
    pub(crate) value: String,
}

impl Sum {
    pub(crate) fn crc64(value: u64) -> Self {
        Self {
            algorithm: Algorithm::Crc64Nvme,
            coverage: Coverage::FullObject,
            value: BASE64.encode(value.to_be_bytes()),
        }
    }

    pub(crate) fn to_dto(&self) -> dto::Checksum {
        let mut sum = dto::Checksum::default();
        let value = Some(self.value.clone());
        match self.algorithm {
            Algorithm::Crc32 => sum.checksum_crc32 = value,
            Algorithm::Crc32c => sum.checksum_crc32c = value,
            Algorithm::Crc64Nvme => sum.checksum_crc64nvme = value,
            Algorithm::Sha1 => sum.checksum_sha1 = value,
            Algorithm::Sha256 => sum.checksum_sha256 = value,
        }
        sum.checksum_type = Some(dto::ChecksumType::from_static(self.coverage.name()));
        sum
    }
}

/// What the client says its body's checksums are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    md5: Option<Vec<u8>>,
    /// `None` as the value: it comes in the trailer.
    sum: Option<(Algorithm, Option<String>)>,
}

impl Claims {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Failure> {
        let md5 = match text(headers, "content-md5") {
            None => None,
            Some(value) => {
                let digest = BASE64.decode(value).map_err(|_| Failure::InvalidDigest)?;
                if digest.len() != 16 {
                    return Err(Failure::InvalidDigest);
                }
                Some(digest)
            }
        };
        let mut sum = None;
        for algorithm in Algorithm::ALL {
            let value = text(headers, algorithm.header());
            let trails = text(headers, "x-amz-trailer")
                .is_some_and(|names| names.split(',').any(|name| name.trim().eq_ignore_ascii_case(algorithm.header())));
            if (value.is_some() || trails) && sum.replace((algorithm, value.map(str::to_owned))).is_some() {
                return Err(Failure::InvalidRequest("Expecting a single x-amz-checksum- header"));
            }
        }
        Ok(Self { md5, sum })
    }

    pub(crate) fn hashers(&self) -> Hashers {
        Hashers {
            len: 0,
            crc64: Digest::new(CrcAlgorithm::Crc64Nvme),
            extra: self.sum.as_ref().and_then(|(algorithm, _)| Extra::new(*algorithm)),
            md5: self.md5.as_ref().map(|_| Md5::new()),
        }
    }

    /// Compares with what arrived; returns the checksum to keep.
    pub(crate) fn verify(&self, sums: &Sums, trailers: Option<&HeaderMap>) -> Result<Option<Sum>, Failure> {
        if let (Some(claimed), Some(md5)) = (&self.md5, &sums.md5)
            && claimed.as_slice() != md5.as_slice()
        {
            return Err(Failure::BadDigest("Content-MD5"));
        }
        let Some((algorithm, claimed)) = &self.sum else { return Ok(None) };
        let claimed = match claimed {
            Some(value) => value.as_str(),
            None => trailers
                .and_then(|trailers| text(trailers, algorithm.header()))
                .ok_or(Failure::InvalidRequest("the trailer lacks the checksum that x-amz-trailer announced"))?,
        };
        let actual = sums.of(*algorithm);
        if actual.as_ref().is_none_or(|sum| sum.value != claimed) {
            return Err(Failure::BadDigest(algorithm.name()));
        }
        Ok(actual)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Computes what is to be verified, and always the CRC64NVME: entity tags and the checksums of
/// assembled objects come from it.
pub(crate) struct Hashers {
    len: u64,
    crc64: Digest,
    extra: Option<Extra>,
    md5: Option<Md5>,
}

impl Hashers {
    /// The CRC64NVME, and `algorithm` where it is another.
    pub(crate) fn with(algorithm: Option<Algorithm>) -> Self {
        Claims { md5: None, sum: algorithm.map(|algorithm| (algorithm, None)) }.hashers()
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.crc64.update(bytes);
        match &mut self.extra {
            None => {}
            Some(Extra::Crc32(crc) | Extra::Crc32c(crc)) => crc.update(bytes),
            Some(Extra::Sha1(sha)) => sha.update(bytes),
            Some(Extra::Sha256(sha)) => sha.update(bytes),
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    pub(crate) fn finish(self) -> Sums {
        Sums {
            len: self.len,
            crc64: self.crc64.finalize(),
            extra: self.extra.map(Extra::finish),
            md5: self.md5.map(|md5| md5.finalize().as_ref().to_vec()),
        }
    }
}

enum Extra {
    Crc32(Digest),
    Crc32c(Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Extra {
    fn new(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Crc32 => Some(Self::Crc32(Digest::new(CrcAlgorithm::Crc32IsoHdlc))),
            Algorithm::Crc32c => Some(Self::Crc32c(Digest::new(CrcAlgorithm::Crc32Iscsi))),
            Algorithm::Crc64Nvme => None,
            Algorithm::Sha1 => Some(Self::Sha1(Sha1::new())),
            Algorithm::Sha256 => Some(Self::Sha256(Sha256::new())),
        }
    }

    fn finish(self) -> (Algorithm, Vec<u8>) {
        match self {
            Self::Crc32(crc) => (Algorithm::Crc32, crc32_bytes(crc.finalize())),
            Self::Crc32c(crc) => (Algorithm::Crc32c, crc32_bytes(crc.finalize())),
            Self::Sha1(sha) => (Algorithm::Sha1, sha.finalize().as_ref().to_vec()),
            Self::Sha256(sha) => (Algorithm::Sha256, sha.finalize().as_ref().to_vec()),
        }
    }
}

/// The low half, big-endian, as the headers carry a 32-bit CRC.
fn crc32_bytes(crc: u64) -> Vec<u8> {
    crc.to_be_bytes().into_iter().skip(4).collect()
}

/// The checksums of some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    pub(crate) len: u64,
    pub(crate) crc64: u64,
    extra: Option<(Algorithm, Vec<u8>)>,
    md5: Option<Vec<u8>>,
}

impl Sums {
    pub(crate) fn of(&self, algorithm: Algorithm) -> Option<Sum> {
        match &self.extra {
            _ if algorithm == Algorithm::Crc64Nvme => Some(Sum::crc64(self.crc64)),
            Some((extra, digest)) if *extra == algorithm => {
                Some(Sum { algorithm, coverage: Coverage::FullObject, value: BASE64.encode(digest) })
            }
            _ => None,
        }
    }

    /// The MD5 where the client had us compute it, as S3 does. Otherwise the CRC and the length,
    /// with a suffix as on multipart objects, so that no client takes it for an MD5.
    pub(crate) fn etag(&self) -> String {
        match &self.md5 {
            Some(md5) => md5.iter().map(|byte| format!("{byte:02x}")).collect(),
            None => crc_etag(self.crc64, self.len, 1),
        }
    }
}

/// A tag for `parts` parts: equal bytes in equal parts get equal tags, as in S3.
pub(crate) fn crc_etag(crc64: u64, len: u64, parts: usize) -> String {
    format!("{crc64:016x}{len:016x}-{parts}")
}

/// The CRC64NVME of neighbours, given as pairs of value and length.
pub(crate) fn combine_crc64(neighbours: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    let sums = neighbours.into_iter().map(|(crc, len)| Checksum::new(crc, len));
    sums.fold(Checksum::EMPTY, Checksum::then).crc()
}

/// The checksum of a whole made of parts; `None` if a part lacks its own, or the algorithm can't.
pub(crate) fn assemble<'p>(
    algorithm: Algorithm,
    coverage: Coverage,
    parts: impl Iterator<Item = (Option<&'p Sum>, u64)>,
) -> Option<Sum> {
    let mut whole: Option<u64> = None;
    let mut chain = Vec::new();
    let mut count = 0;
    for (sum, len) in parts {
        let digest = BASE64.decode(&sum.filter(|sum| sum.algorithm == algorithm)?.value).ok()?;
        count += 1;
        match coverage {
            Coverage::Composite => chain.extend_from_slice(&digest),
            Coverage::FullObject => {
                let value = digest.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
                whole = Some(match whole {
                    None => value,
                    Some(left) => algorithm.combine(left, value, len)?,
                });
            }
        }
    }
    let value = match coverage {
        Coverage::Composite => {
            let mut hashers = Hashers::with(Some(algorithm));
            hashers.update(&chain);
            format!("{}-{count}", hashers.finish().of(algorithm)?.value)
        }
        Coverage::FullObject if algorithm == Algorithm::Crc64Nvme => return Some(Sum::crc64(whole?)),
        Coverage::FullObject => BASE64.encode(crc32_bytes(whole?)),
    };
    Some(Sum { algorithm, coverage, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(algorithm: Option<Algorithm>, bytes: &[u8]) -> Sums {
        let mut hashers = Hashers::with(algorithm);
        hashers.update(bytes);
        hashers.finish()
    }

    #[test]
    fn the_checksum_of_a_whole_comes_from_those_of_its_parts() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let cuts = [0, 1, 1, 40_000, 99_999, 100_000];
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<_> = cuts
                .windows(2)
                .map(|cut| sums(Some(algorithm), &bytes[cut[0]..cut[1]]))
                .map(|sums| (sums.of(algorithm).unwrap(), sums.len))
                .collect();
            let whole = assemble(algorithm, Coverage::FullObject, parts.iter().map(|(sum, len)| (Some(sum), *len)));
            assert_eq!(whole, sums(Some(algorithm), &bytes).of(algorithm), "{algorithm:?}");
        }
        let crcs = cuts.windows(2).map(|cut| sums(None, &bytes[cut[0]..cut[1]])).map(|sums| (sums.crc64, sums.len));
        assert_eq!(combine_crc64(crcs), sums(None, &bytes).crc64);
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_parts_checksums() {
        let algorithm = Algorithm::Sha256;
        let parts = ["one", "two"].map(|part| sums(Some(algorithm), part.as_bytes()).of(algorithm).unwrap());
        let chain: Vec<u8> = parts.iter().flat_map(|sum| BASE64.decode(&sum.value).unwrap()).collect();
        let expected = format!("{}-2", sums(Some(algorithm), &chain).of(algorithm).unwrap().value);
        let whole = assemble(algorithm, Coverage::Composite, parts.iter().map(|sum| (Some(sum), 3))).unwrap();
        assert_eq!(whole.value, expected);
        let lacking = assemble(algorithm, Coverage::Composite, [(Some(&parts[0]), 3), (None, 3)].into_iter());
        assert_eq!(lacking, None, "a part without a checksum makes no composite");
    }
}
