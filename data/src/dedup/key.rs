//! Identity of a text or of a part of one, which is all that is compared.

use sha2::{Digest, Sha256};

/// Identity of a text or of a part of one: 128 bits make a chance collision negligible (below 1e-15 for
/// 10^11 keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64, pub u64);

impl Key {
    /// The first half of the SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_digest(&Sha256::digest(bytes))
    }

    /// The first half of a digest.
    pub(super) fn of_digest(digest: &[u8]) -> Self {
        let half = |at: usize| {
            let mut half = [0; 8];
            half.copy_from_slice(&digest[at..at + 8]);
            u64::from_be_bytes(half)
        };
        Self(half(0), half(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_start_of_sha_256() {
        // printf abc | sha256sum
        assert_eq!(Key::of(b"abc"), Key(0xba78_16bf_8f01_cfea, 0x4141_40de_5dae_2223));
    }
}
