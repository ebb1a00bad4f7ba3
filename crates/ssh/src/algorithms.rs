//! The algorithms we offer: modern ones only.
//!
//! Left out on purpose: finite-field Diffie-Hellman, CBC ciphers, everything with SHA-1, and
//! compression (CRIME-like leaks, and memory for each connection). Left out unless the operator
//! wants them: the NIST curves for key exchange. MACs over the plaintext come last: libssh2 knew no
//! others before its version 1.11 of 2023, and curl, PHP and others are built on it.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, mac};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};

/// Key exchanges, the best first. The markers at the end announce RFC 8308 (`ext-info-s`) and
/// OpenSSH's strict key exchange, the answer to Terrapin (CVE-2023-48795).
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Behind all others, for clients that know neither Curve25519 nor anything better, JSch of before
/// 2021 among them.
const NIST_KEX: &[kex::Name] = &[kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// Host keys that we have are offered in this order. All of them are announced to clients as
/// acceptable for their own keys (`server-sig-algs`, RFC 8308, section 3.1).
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// The smallest RSA key that opens an account, in bits.
pub(crate) const MIN_RSA_BITS: u32 = 2048;

/// The largest RSA key that opens an account, in bits: as in OpenSSH, so that a key can't make a
/// login arbitrarily expensive.
pub(crate) const MAX_RSA_BITS: u32 = 16_384;

/// What is offered to every client; key exchange over NIST curves only with `nist_curves`.
pub(crate) fn preferred(nist_curves: bool) -> Preferred {
    Preferred {
        kex: if nist_curves { Cow::Owned([KEX, NIST_KEX].concat()) } else { Cow::Borrowed(KEX) },
        key: Cow::Borrowed(KEYS),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Whether a client may sign with this algorithm. RSA with SHA-1 (`ssh-rsa`) may not.
pub(crate) fn may_sign_logins(algorithm: &Algorithm) -> bool {
    KEYS.contains(algorithm)
}
