//! A flat hash table from two ids to a third: one word of memory for an entry, one load for most
//! lookups, hit or miss.

/// Bits of an id; three ids and the mark of a free slot fit into a word.
pub(crate) const ID_BITS: u32 = 21;

/// In no table: more than any id.
const FREE: u64 = u64::MAX;
/// Odd, without a pattern: 2^64 over the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Open addressing with linear probing, at most a quarter full, so that a miss ends at once.
pub(super) struct PairTable {
    /// Left id, right id and value, from the upper bits down.
    slots: Vec<u64>,
    /// 64 minus the binary logarithm of the number of slots.
    shift: u32,
}

impl PairTable {
    /// A table of pairs with their values, all below `1 << ID_BITS`. Of equal pairs the last counts.
    pub(super) fn new(entries: &[((u32, u32), u32)]) -> Self {
        let n_slots = (entries.len().max(4) * 2).next_power_of_two();
        let shift = u64::BITS - n_slots.trailing_zeros();
        let mut table = Self { slots: vec![FREE; n_slots], shift };
        for &((left, right), value) in entries {
            let (place, _) = table.find(key(left, right));
            table.slots[place] = key(left, right) << ID_BITS | u64::from(value);
        }
        table
    }

    /// The value of a pair.
    pub(super) fn get(&self, left: u32, right: u32) -> Option<u32> {
        let (_, slot) = self.find(key(left, right));
        (slot != FREE).then_some((slot & ((1 << ID_BITS) - 1)) as u32)
    }

    /// Where a key is or would be, and what is there.
    fn find(&self, key: u64) -> (usize, u64) {
        let mask = self.slots.len() - 1;
        let mut place = (key.wrapping_mul(SPREAD) >> self.shift) as usize;
        loop {
            let slot = self.slots[place & mask];
            if slot == FREE || slot >> ID_BITS == key {
                return (place & mask, slot);
            }
            place += 1;
        }
    }
}

fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << ID_BITS | u64::from(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_found_and_no_other() {
        let last = (1 << ID_BITS) - 1;
        let pairs = (0..300).map(|i| (i % 7, i)).chain([(last, last), (last, 0), (0, last)]);
        let entries: Vec<_> = pairs.zip((0..=last).rev()).collect();
        let table = PairTable::new(&entries);
        for &((left, right), value) in &entries {
            assert_eq!(table.get(left, right), Some(value), "({left}, {right})");
            assert_eq!(table.get(left + 8, right), None);
        }
        assert_eq!(PairTable::new(&[]).get(0, 0), None);
    }
}
