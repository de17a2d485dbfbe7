//! SHA-1 of many short messages at once, one in each lane of the vector unit.
//!
//! Signatures need only the first word of the digest of runs that fit one block, so nothing else is here.
//! (SHA-1 is what the original hashes with; nothing depends on its security.)

use super::{SHINGLE_CHARS, shingles::MAX_SHINGLE_BYTES, simd::widest_simd};

/// Messages hashed at once.
pub(super) const LANES: usize = 64;

/// One word of every message.
type Lanes = [u32; LANES];

/// Bytes under as many runs of [`SHINGLE_CHARS`] single-byte characters as there are lanes.
pub(super) const WINDOW_BYTES: usize = LANES + SHINGLE_CHARS - 1;

/// The blocks of up to [`LANES`] messages, word by word.
pub(super) struct Blocks {
    words: [Lanes; 16],
}

impl Blocks {
    /// Blocks that hold nothing yet.
    pub(super) fn new() -> Self {
        Self { words: [[0; LANES]; 16] }
    }

    /// Empties all lanes.
    pub(super) fn clear(&mut self) {
        self.words = [[0; LANES]; 16];
    }

    /// Puts a message of up to [`MAX_SHINGLE_BYTES`] bytes into an empty lane.
    #[inline]
    pub(super) fn set(&mut self, lane: usize, message: &[u8]) {
        debug_assert!(message.len() <= MAX_SHINGLE_BYTES, "a message has one block");
        let (words, rest) = message.as_chunks::<4>();
        for (place, word) in self.words.iter_mut().zip(words) {
            place[lane] = u32::from_be_bytes(*word);
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        self.words[words.len()][lane] = u32::from_be_bytes(last);
        self.words[15][lane] = 8 * message.len() as u32;
    }

    /// Fills all lanes with the runs of an ASCII text, one beginning at each of the first [`LANES`] bytes.
    pub(super) fn set_windows(&mut self, bytes: &[u8; WINDOW_BYTES]) {
        fill_windows(&mut self.words, bytes);
    }

    /// The first four bytes of every digest as a little-endian number; the blocks are used up.
    pub(super) fn hash(&mut self, hashes: &mut Lanes) {
        compress(&mut self.words, hashes);
    }
}

widest_simd! {
    /// Lays runs that begin at neighbouring bytes into neighbouring lanes.
    fn fill_windows(words: &mut [Lanes; 16], bytes: &[u8; WINDOW_BYTES]) = fill_windows_body
}

#[inline(always)]
fn fill_windows_body(words: &mut [Lanes; 16], bytes: &[u8; WINDOW_BYTES]) {
    // A run's words are the big-endian words at its start, 4 and 8 bytes on; its last byte and the end mark.
    let mut at = [0; LANES + 8];
    for (i, word) in at.iter_mut().enumerate() {
        *word = u32::from_be_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    }
    words[0].copy_from_slice(&at[..LANES]);
    words[1].copy_from_slice(&at[4..LANES + 4]);
    words[2].copy_from_slice(&at[8..]);
    for (word, &last) in words[3].iter_mut().zip(&bytes[SHINGLE_CHARS - 1..]) {
        *word = u32::from(last) << 24 | 0x80_0000;
    }
    words[4..15].fill([0; LANES]);
    words[15] = [8 * SHINGLE_CHARS as u32; LANES];
}

widest_simd! {
    /// Hashes one block of every lane.
    fn compress(words: &mut [Lanes; 16], hashes: &mut Lanes) = compress_body
}

const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

#[inline(always)]
fn compress_body(words: &mut [Lanes; 16], hashes: &mut Lanes) {
    let mut state = INITIAL.map(|word| [word; LANES]);
    for step in (0..80).step_by(5) {
        let [a, b, c, d, e] = &mut state;
        round(step, a, b, c, d, e, words);
        round(step + 1, e, a, b, c, d, words);
        round(step + 2, d, e, a, b, c, words);
        round(step + 3, c, d, e, a, b, words);
        round(step + 4, b, c, d, e, a, words);
    }
    for (hash, a) in hashes.iter_mut().zip(&state[0]) {
        *hash = a.wrapping_add(INITIAL[0]).swap_bytes();
    }
}

/// One step of every lane: `e` becomes the new first word, `b` is turned in place.
#[inline(always)]
fn round(
    step: usize,
    a: &Lanes,
    b: &mut Lanes,
    c: &Lanes,
    d: &Lanes,
    e: &mut Lanes,
    words: &mut [Lanes; 16],
) {
    let word = scheduled(step, words);
    match step / 20 {
        0 => mix(a, b, c, d, e, word, 0x5a82_7999, |b, c, d| d ^ (b & (c ^ d))),
        1 => mix(a, b, c, d, e, word, 0x6ed9_eba1, |b, c, d| b ^ c ^ d),
        2 => mix(a, b, c, d, e, word, 0x8f1b_bcdc, |b, c, d| (b & c) | (d & (b | c))),
        _ => mix(a, b, c, d, e, word, 0xca62_c1d6, |b, c, d| b ^ c ^ d),
    }
}

/// The word of a step; from the 16th on made of earlier ones, which it overwrites in turn.
#[inline(always)]
fn scheduled(step: usize, words: &mut [Lanes; 16]) -> &Lanes {
    if step >= 16 {
        let at = |back: usize| (step - back) % 16;
        let (x, y, z, old) = (&words[at(3)], &words[at(8)], &words[at(14)], &words[at(16)]);
        let mut new = [0; LANES];
        for (i, new) in new.iter_mut().enumerate() {
            *new = (x[i] ^ y[i] ^ z[i] ^ old[i]).rotate_left(1);
        }
        words[step % 16] = new;
    }
    &words[step % 16]
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "the five words of SHA-1's state and what a step adds"
)]
fn mix(
    a: &Lanes,
    b: &mut Lanes,
    c: &Lanes,
    d: &Lanes,
    e: &mut Lanes,
    word: &Lanes,
    constant: u32,
    choose: impl Fn(u32, u32, u32) -> u32,
) {
    for i in 0..LANES {
        e[i] = a[i]
            .rotate_left(5)
            .wrapping_add(choose(b[i], c[i], d[i]))
            .wrapping_add(e[i])
            .wrapping_add(constant)
            .wrapping_add(word[i]);
        b[i] = b[i].rotate_left(30);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_words(messages: &[&[u8]]) -> Vec<u32> {
        let mut blocks = Blocks::new();
        for (lane, message) in messages.iter().enumerate() {
            blocks.set(lane, message);
        }
        let mut hashes = [0; LANES];
        blocks.hash(&mut hashes);
        hashes[..messages.len()].to_vec()
    }

    #[test]
    fn digests_are_sha_1s() {
        // printf abc | sha1sum, and so on; the first four bytes read from the right.
        let long = [b'a'; MAX_SHINGLE_BYTES];
        let found = first_words(&[b"abc", b"", b"abcdefghijklm", &long, "é".as_bytes()]);
        let digests: Vec<[u8; 4]> = found.iter().map(|word| word.to_le_bytes()).collect();
        assert_eq!(
            digests,
            [
                [0xa9, 0x99, 0x3e, 0x36],
                [0xda, 0x39, 0xa3, 0xee],
                [0x4b, 0x98, 0x92, 0xb6],
                [0xe6, 0x47, 0x9c, 0x70],
                [0xbf, 0x15, 0xbe, 0x71],
            ]
        );
    }

    #[test]
    fn windows_are_the_runs_of_a_text() {
        let bytes: [u8; WINDOW_BYTES] = std::array::from_fn(|i| b'!' + (i * i % 90) as u8);
        let runs: Vec<&[u8]> = bytes.windows(SHINGLE_CHARS).collect();
        let mut blocks = Blocks::new();
        let mut hashes = [0; LANES];
        blocks.set_windows(&bytes);
        blocks.hash(&mut hashes);
        assert_eq!(first_words(&runs), hashes);
    }

    #[test]
    fn lanes_do_not_disturb_each_other() {
        let messages: Vec<Vec<u8>> = (0..LANES).map(|i| vec![i as u8; i % 53]).collect();
        let borrowed: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let together = first_words(&borrowed);
        for (message, hash) in borrowed.iter().zip(together) {
            assert_eq!(first_words(&[message]), [hash]);
        }
    }
}
