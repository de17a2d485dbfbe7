//! Segments met before and their ids: a cache line for each, found by a hash of the segment's bytes.
//!
//! A place holds one segment; another one that belongs there takes it over. So the cache never
//! grows, asks for no memory while texts are encoded, and follows the text at hand.

/// Bytes of the longest segment that is kept.
const MAX_KEY_BYTES: usize = 14;
/// Ids of a segment that is kept, at most.
const MAX_IDS: usize = 4;
/// Binary logarithm of the number of places: 2 MiB.
const N_PLACES_LOG2: u32 = 16;
/// Where the number of ids stands in the second word of an entry.
const N_IDS_SHIFT: u32 = 56;

/// Two words of a segment: its bytes, zeros behind them, its length in the last byte but one.
pub(super) type Key = [u64; 2];

/// One place, half a cache line.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Entry {
    /// The key, with the number of ids in its last byte.
    key: Key,
    ids: [u32; MAX_IDS],
}

/// The places.
pub(super) struct Cache(Vec<Entry>);

impl Default for Cache {
    fn default() -> Self {
        // No segment has length 0, so no key is all zeros.
        let empty = Entry { key: [0; 2], ids: [0; MAX_IDS] };
        Self(vec![empty; 1 << N_PLACES_LOG2])
    }
}

impl Cache {
    /// Appends the ids of a segment, if it is there.
    #[inline]
    pub(super) fn append(&self, key: Key, ids: &mut Vec<u32>) -> bool {
        let entry = &self.0[place(key)];
        let n_ids = entry.key[1] >> N_IDS_SHIFT;
        if entry.key[0] != key[0] || entry.key[1] ^ n_ids << N_IDS_SHIFT != key[1] {
            return false;
        }
        // A copy of fixed size is one instruction.
        let n_ids = ids.len() + n_ids as usize;
        ids.extend_from_slice(&entry.ids);
        ids.truncate(n_ids);
        true
    }

    /// Keeps the ids of a segment, if they are few enough.
    pub(super) fn keep(&mut self, key: Key, ids: &[u32]) {
        if ids.len() <= MAX_IDS {
            let entry = &mut self.0[place(key)];
            entry.key = [key[0], key[1] | (ids.len() as u64) << N_IDS_SHIFT];
            entry.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}

/// The key of the segment `start..end` of a text, if it is short enough.
#[inline]
pub(super) fn key(text: &str, start: usize, end: usize) -> Option<Key> {
    let n_bytes = end - start;
    if n_bytes > MAX_KEY_BYTES {
        return None;
    }
    let mut bytes = [0; 16];
    match text.as_bytes().get(start..start + 16) {
        Some(more) => bytes.copy_from_slice(more),
        None => bytes[..n_bytes].copy_from_slice(&text.as_bytes()[start..end]),
    }
    let kept = u128::from_le_bytes(bytes) & !(u128::MAX << (8 * n_bytes));
    Some([kept as u64, (kept >> 64) as u64 | (n_bytes as u64) << 48])
}

/// Where a key belongs.
#[inline]
fn place(key: Key) -> usize {
    let product =
        u128::from(key[0] ^ 0x9E37_79B9_7F4A_7C15) * u128::from(key[1] ^ 0xD6E8_FEB8_6659_FD93);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded.wrapping_mul(0xA076_1D64_78BD_642F) >> (u64::BITS - N_PLACES_LOG2)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_segment_and_nothing_around_it() {
        let texts = ["", "a", "abcdefgh", "abcdefghi", "abcdefghijklmn"];
        for text in texts {
            let around = format!("xy{text}{}", "z".repeat(40));
            let inside = key(&around, 2, 2 + text.len());
            assert_eq!(key(text, 0, text.len()), inside, "{text}");
            let nul = format!("{text}\0");
            assert_ne!(key(&nul, 0, nul.len()), inside, "{text}");
        }
        assert_eq!(key(&"a".repeat(15), 0, 15), None);
    }

    #[test]
    fn what_was_kept_is_found_unless_it_is_too_much() {
        let mut cache = Cache::default();
        let (one, two) = (key("one", 0, 3).unwrap(), key("two", 0, 3).unwrap());
        cache.keep(one, &[1, 2, 3]);
        cache.keep(two, &[0; MAX_IDS + 1]);
        let mut ids = vec![7];
        assert!(cache.append(one, &mut ids) && !cache.append(two, &mut ids));
        assert_eq!(ids, [7, 1, 2, 3]);
    }
}
