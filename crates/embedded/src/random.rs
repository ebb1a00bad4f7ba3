//! Random bytes from the operating system.

use aws_lc_rs::error::Unspecified;

/// The operating system has no random bytes to give.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub(crate) struct NoRandomness(#[from] Unspecified);

/// `N` bytes fit for keys.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes)
}
