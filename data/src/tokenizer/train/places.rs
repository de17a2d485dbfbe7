//! The words of a corpus as symbols, merged in place, and lists of the places where pairs start.
//!
//! A symbol stands where its first character stood. The place of its last character holds its length,
//! so that both neighbours are found without being stored; a wall stands between words.

use rustc_hash::FxHashMap;

use super::queue::Texts;

/// No place.
pub(super) const NONE: u32 = u32::MAX;
/// In place of a symbol: the border of a word.
const WALL: u32 = u32::MAX;
/// Set where a symbol of several characters goes on; the rest is its length.
const INSIDE: u32 = 1 << 31;

/// All words.
pub(super) struct Places(Vec<Place>);

#[derive(Clone, Copy)]
struct Place {
    /// A symbol's number, `INSIDE` with a length, or `WALL`.
    content: u32,
    word: u32,
    /// Neighbours in the list of the pair that starts here.
    before: u32,
    after: u32,
}

impl Places {
    /// Lays words out; characters that are no symbols are walls.
    pub(super) fn new<'w>(
        words: impl Iterator<Item = &'w str>,
        symbols: &FxHashMap<char, u32>,
    ) -> Self {
        let place = |content, word| Place { content, word, before: NONE, after: NONE };
        let mut places = vec![place(WALL, 0)];
        for (text, word) in words.zip(0..) {
            let contents = text.chars().map(|c| symbols.get(&c).copied().unwrap_or(WALL));
            places.extend(contents.map(|content| place(content, word)));
            places.push(place(WALL, word));
        }
        places.shrink_to_fit();
        Self(places)
    }

    /// Every place.
    pub(super) fn all(&self) -> std::ops::Range<u32> {
        0..self.0.len() as u32
    }

    /// The symbol that starts at a place.
    pub(super) fn symbol(&self, at: u32) -> Option<u32> {
        let content = self.0[at as usize].content;
        (content & INSIDE == 0).then_some(content)
    }

    /// Number of the word that a place belongs to.
    pub(super) fn word(&self, at: u32) -> usize {
        self.0[at as usize].word as usize
    }

    /// Where the symbol after the one at `at` starts, if `at` has one and there is a next.
    pub(super) fn next(&self, at: u32, texts: &Texts) -> Option<u32> {
        let next = at + texts.n_chars(self.symbol(at)?);
        self.symbol(next).map(|_| next)
    }

    /// Where the symbol before the one at `at` starts.
    pub(super) fn previous(&self, at: u32) -> Option<u32> {
        match self.0[at as usize - 1].content {
            WALL => None,
            inside if inside & INSIDE != 0 => Some(at - (inside & !INSIDE)),
            _ => Some(at - 1),
        }
    }

    /// Makes a symbol and the next one into `merged`, whose text is known already.
    pub(super) fn join(&mut self, at: u32, merged: u32, texts: &Texts) {
        let n_chars = texts.n_chars(merged);
        // Whatever started inside starts no more.
        for place in &mut self.0[at as usize + 1..(at + n_chars) as usize] {
            place.content = INSIDE | n_chars;
        }
        self.0[at as usize].content = merged;
    }

    /// The places of a list.
    pub(super) fn list(&self, head: u32) -> Vec<u32> {
        let after = |at: &u32| Some(self.0[*at as usize].after).filter(|&at| at != NONE);
        std::iter::successors(Some(head).filter(|&head| head != NONE), after).collect()
    }

    /// Puts a place, which is in no list, before the head of one.
    pub(super) fn join_list(&mut self, at: u32, head: u32) {
        (self.0[at as usize].before, self.0[at as usize].after) = (NONE, head);
        if head != NONE {
            self.0[head as usize].before = at;
        }
    }

    /// Takes a place out of its list and gives the list's head then.
    pub(super) fn leave_list(&mut self, at: u32, head: u32) -> u32 {
        let Place { before, after, .. } = self.0[at as usize];
        if after != NONE {
            self.0[after as usize].before = before;
        }
        if before == NONE {
            return after;
        }
        self.0[before as usize].after = after;
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_before_and_after_merging() {
        let mut texts = Texts::default();
        let symbols = ['a', 'b'].map(|c| (c, texts.push(&c.to_string()))).into_iter().collect();
        let mut places = Places::new(["abab", "a?b"].into_iter(), &symbols);
        let (ab, abab) = (texts.push("ab"), texts.push("abab"));
        assert_eq!((places.next(1, &texts), places.previous(1)), (Some(2), None));
        places.join(1, ab, &texts);
        assert_eq!((places.symbol(1), places.symbol(2)), (Some(ab), None));
        assert_eq!((places.next(1, &texts), places.previous(3)), (Some(3), Some(1)));
        places.join(3, ab, &texts);
        places.join(1, abab, &texts);
        assert_eq!((places.next(1, &texts), places.word(1)), (None, 0));
        assert_eq!((places.next(6, &texts), places.previous(8), places.word(8)), (None, None, 1));
    }

    #[test]
    fn lists_lose_any_of_their_places() {
        let mut places = Places::new(["abcd"].into_iter(), &FxHashMap::default());
        places.join_list(1, NONE);
        places.join_list(2, 1);
        places.join_list(3, 2);
        assert_eq!(places.list(3), [3, 2, 1]);
        assert_eq!(places.leave_list(2, 3), 3);
        assert_eq!(places.list(3), [3, 1]);
        assert_eq!(places.leave_list(3, 3), 1);
        assert_eq!(places.leave_list(1, 1), NONE);
        assert_eq!(places.list(NONE), [0; 0]);
    }
}
