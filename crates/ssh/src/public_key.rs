//! Users' public keys: what an administrator may add, and in which form it is kept.

use russh::keys::PrivateKey;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::algorithms::{MAX_RSA_BITS, MIN_RSA_BITS};

/// The words that may open a line. `ssh-rsa` names the key here, not the signature: keys of this
/// kind sign logins with SHA-2 only.
pub(crate) const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The longest comment, in bytes.
const MAX_COMMENT: usize = 512;

/// A public key that may open an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedKey {
    /// The key's type: the first word of its OpenSSH form.
    pub algorithm: String,
    /// `SHA256:…`, as OpenSSH prints it.
    pub id: String,
    /// The canonical OpenSSH form, without comment: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// The rest of the line, may be empty.
    pub comment: String,
}

/// Why a line is no public key that may open an account.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// A certificate.
    #[error("\"{0}\" is a certificate; add the plain public key")]
    Certificate(String),
    /// The comment is too long or holds control characters.
    #[error("the comment may take {MAX_COMMENT} bytes at most and no control characters")]
    Comment,
    /// The base64 does not hold the key that the first word names.
    #[error("the key is damaged or cut short: {0}")]
    Damaged(String),
    /// Nothing in it.
    #[error("there is no key in it")]
    Empty,
    /// An `authorized_keys` line with options.
    #[error("options in front of a key are not supported; give the line from \"{0}\" on")]
    Options(String),
    /// A private key.
    #[error("this is a private key; give the public one (the file that ends in .pub), and keep this one to yourself")]
    PrivateKey,
    /// More than one line.
    #[error("there is more than one line in it; add one key at a time")]
    SeveralLines,
    /// A type that opens nothing.
    #[error(
        "keys of type \"{0}\" are not accepted; use ssh-ed25519, ecdsa-sha2-nistp256/384/521, rsa of 2048 bits or more, or their sk- variants"
    )]
    Unsupported(String),
    /// RSA of a size outside of what is accepted.
    #[error("an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this one has {0}")]
    WeakRsa(u32),
}

/// Why no key was made.
#[derive(Debug, Error)]
#[error("no key could be generated: {0}")]
pub struct KeyGenerationError(#[from] ssh_key::Error);

/// Checks one line of an `authorized_keys` or `.pub` file.
///
/// # Errors
/// Says what is wrong with it; the text is for the administrator.
pub fn check_public_key(openssh_line: &str) -> Result<ParsedKey, PublicKeyError> {
    let line = openssh_line.trim();
    if line.is_empty() {
        return Err(PublicKeyError::Empty);
    }
    if line.starts_with("-----BEGIN") {
        return Err(PublicKeyError::PrivateKey);
    }
    if line.contains(['\n', '\r']) {
        return Err(PublicKeyError::SeveralLines);
    }
    let mut words = line.splitn(3, [' ', '\t']);
    let algorithm = words.next().unwrap_or_default();
    if algorithm.contains("-cert-v") {
        return Err(PublicKeyError::Certificate(printable(algorithm)));
    }
    if !KEY_TYPES.contains(&algorithm) {
        return Err(match line.split([' ', '\t']).find(|word| KEY_TYPES.contains(word)) {
            Some(behind_options) => PublicKeyError::Options(behind_options.to_owned()),
            None => PublicKeyError::Unsupported(printable(algorithm)),
        });
    }
    let blob = words.next().unwrap_or_default();
    let comment = words.next().unwrap_or_default().trim();
    if comment.len() > MAX_COMMENT || comment.contains(char::is_control) {
        return Err(PublicKeyError::Comment);
    }
    let key = parse(&format!("{algorithm} {blob}")).map_err(|error| PublicKeyError::Damaged(error.to_string()))?;
    if let Some(bits) = rsa_bits(key.key_data())
        && !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)
    {
        return Err(PublicKeyError::WeakRsa(bits));
    }
    Ok(ParsedKey {
        algorithm: algorithm.to_owned(),
        id: key.fingerprint(HashAlg::Sha256).to_string(),
        key: key.to_openssh().map_err(|error| PublicKeyError::Damaged(error.to_string()))?,
        comment: comment.to_owned(),
    })
}

/// A fresh Ed25519 key: the private half in OpenSSH's PEM format, the public line with the
/// comment.
///
/// # Errors
/// If the comment holds a line break, mostly.
pub fn generate_client_key(comment: &str) -> Result<(Zeroizing<String>, String), KeyGenerationError> {
    let mut key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
    key.set_comment(comment);
    Ok((key.to_openssh(LineEnding::LF)?, key.public_key().to_openssh()?))
}

/// Reads the form in which keys are kept (`algorithm base64`).
pub(crate) fn parse(openssh: &str) -> Result<PublicKey, ssh_key::Error> {
    PublicKey::from_openssh(openssh)
}

/// The size of an RSA key, in bits; `None` for other kinds.
pub(crate) fn rsa_bits(key: &KeyData) -> Option<u32> {
    key.rsa().map(|rsa| rsa.key_size())
}

fn printable(word: &str) -> String {
    word.escape_debug().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by ssh-keygen, like every key below.
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_line_is_taken_apart() {
        let parsed = check_public_key(&format!("  {ED25519}  alice smith @ work \n")).unwrap();
        assert_eq!(parsed.algorithm, "ssh-ed25519");
        assert_eq!(parsed.key, ED25519);
        assert_eq!(parsed.comment, "alice smith @ work");
        assert_eq!(parsed.id, "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
        assert_eq!(check_public_key(ED25519).unwrap().comment, "");
    }

    #[test]
    fn what_is_no_acceptable_key_is_refused_with_the_reason() {
        let (kind, blob) = ED25519.split_once(' ').unwrap();
        let cut = &blob[..40];
        let rsa = ssh_key::private::RsaKeypair::random(&mut rand::rng(), 1024).unwrap();
        let rsa_1024 = PublicKey::new(KeyData::Rsa(rsa.public().clone()), "");
        for (line, expected) in [
            (String::new(), PublicKeyError::Empty),
            (format!("{ED25519}\n{ED25519}"), PublicKeyError::SeveralLines),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb".to_owned(), PublicKeyError::PrivateKey),
            (format!("no-pty,command=\"x y\" {ED25519}"), PublicKeyError::Options(kind.to_owned())),
            ("ssh-dss AAAAB3NzaC1kc3MAAACB".to_owned(), PublicKeyError::Unsupported("ssh-dss".to_owned())),
            ("hello world".to_owned(), PublicKeyError::Unsupported("hello".to_owned())),
            (
                "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(),
                PublicKeyError::Certificate("ssh-ed25519-cert-v01@openssh.com".to_owned()),
            ),
            (rsa_1024.to_openssh().unwrap(), PublicKeyError::WeakRsa(1024)),
            (format!("{ED25519} bell\x07"), PublicKeyError::Comment),
            (format!("{ED25519} {}", "x".repeat(513)), PublicKeyError::Comment),
        ] {
            assert_eq!(check_public_key(&line), Err(expected), "{line:?}");
        }
        for damaged in
            [format!("{kind} {cut}"), kind.to_owned(), format!("{kind} !!!!"), format!("ecdsa-sha2-nistp256 {blob}")]
        {
            let error = check_public_key(&damaged).unwrap_err();
            assert!(matches!(error, PublicKeyError::Damaged(_)), "{damaged}: {error:?}");
        }
    }
}
