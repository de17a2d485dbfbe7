//! What the rules look things up in, read from a folder under the names of MAP-Neo's own files.
//!
//! ```text
//! en_gopher_stopwords.json       one JSON array of words        E5 E6
//! punkt_tab/english/             NLTK's Punkt parameters        E1 E7 E8 E17 E18 E22 E23 E24
//! strict_en.txt, hard_en.txt     one bad word a line            E24
//! lid.176.bin                    fastText language model        E9 (or lid.standin.bin)
//! ```

use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{Error, Result, fast_text::FastText, nltk::Punkt};

/// Names of language models, the first that is there is taken.
pub(in crate::filter) const LANGUAGE_MODELS: [&str; 2] = ["lid.176.bin", "lid.standin.bin"];

/// For each asset the first rule that asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::filter) struct Wanted {
    /// NLTK's tokens or sentences.
    pub(in crate::filter) tokens: Option<&'static str>,
    pub(in crate::filter) stop_words: Option<&'static str>,
    pub(in crate::filter) bad_words: Option<&'static str>,
    pub(in crate::filter) languages: Option<&'static str>,
}

/// The assets that the rules at hand ask for; the others are empty.
#[derive(Debug)]
pub(in crate::filter) struct Assets {
    /// A number for each stop word.
    pub(in crate::filter) stop_words: FxHashMap<Box<str>, u32>,
    pub(in crate::filter) punkt: Punkt,
    pub(in crate::filter) bad_words: WordList,
    pub(in crate::filter) languages: Option<FastText>,
}

impl Assets {
    /// Reads what is wanted from a folder.
    pub(in crate::filter) fn read(folder: Option<&Path>, wanted: &Wanted) -> Result<Self> {
        let path = |names: &[&str], rule: &str| existing(folder, names, rule);
        let punkt = match wanted.tokens {
            Some(rule) => Punkt::read(&path(&["punkt_tab/english"], rule)?)?,
            None => Punkt::default(),
        };
        let stop_words = match wanted.stop_words {
            Some(rule) => stop_words(&path(&["en_gopher_stopwords.json"], rule)?)?,
            None => FxHashMap::default(),
        };
        let languages = match wanted.languages {
            Some(rule) => Some(FastText::read(&path(&LANGUAGE_MODELS, rule)?)?),
            None => None,
        };
        let mut bad_words = WordList::default();
        if let Some(rule) = wanted.bad_words {
            for name in ["strict_en.txt", "hard_en.txt"] {
                bad_words.add_lines(&path(&[name], rule)?)?;
            }
        }
        Ok(Self { stop_words, punkt, bad_words, languages })
    }
}

/// The first of these files that is there.
pub(in crate::filter) fn existing(
    folder: Option<&Path>,
    names: &[&str],
    rule: &str,
) -> Result<PathBuf> {
    let Some(folder) = folder else {
        let problem = format!(
            "rule `{rule}` needs `{}`, expected the folder that holds it as `assets`: `--assets`, or in a recipe's stage",
            names[0]
        );
        return Err(Error::Setting(problem));
    };
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let wanted = folder.join(names[0]);
    match found {
        Some(ref found) if *found != wanted => {
            let (found, wanted) = (found.display(), wanted.display());
            tracing::warn!("`{found}` stands in for `{wanted}`, which rule `{rule}` is made for");
        }
        Some(_) => {}
        None => {
            let wanted = wanted.display();
            let problem = format!("`{wanted}` is missing, which rule `{rule}` needs");
            return Err(Error::Setting(problem));
        }
    }
    Ok(found.unwrap_or(wanted))
}

/// Reads the array on the first line of a file.
pub(in crate::filter) fn stop_words(path: &Path) -> Result<FxHashMap<Box<str>, u32>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let words: Vec<Box<str>> = serde_json::from_str(text.lines().next().unwrap_or_default())
        .map_err(|error| Error::Malformed {
            path: path.to_owned(),
            problem: format!("the first line is no JSON array of words: {error}"),
        })?;
    Ok(words.into_iter().zip(0..).collect())
}

/// Words that are asked for often and seldom found.
#[derive(Debug, Default)]
pub(in crate::filter) struct WordList {
    words: FxHashSet<Box<str>>,
    /// A bit for each word by ends and length, which most words that are not in the list miss.
    bits: Vec<u64>,
}

impl WordList {
    /// Adds the lines of a file.
    pub(in crate::filter) fn add_lines(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        text.lines().for_each(|word| self.add(word));
        Ok(())
    }

    /// Adds a word.
    pub(in crate::filter) fn add(&mut self, word: &str) {
        self.bits.resize(1 << 10, 0);
        let bit = Self::bit(word.as_bytes());
        self.bits[bit / 64] |= 1 << (bit % 64);
        self.words.insert(word.into());
    }

    /// Whether the word is in the list.
    #[inline]
    pub(in crate::filter) fn contains(&self, word: &str) -> bool {
        let bit = Self::bit(word.as_bytes());
        self.bits.get(bit / 64).is_some_and(|bits| bits >> (bit % 64) & 1 == 1)
            && self.words.contains(word)
    }

    /// One of 2^16 places.
    #[inline]
    fn bit(word: &[u8]) -> usize {
        let at = |idx: usize| word.get(idx).copied().unwrap_or_default() as usize;
        let last = word.last().copied().unwrap_or_default() as usize;
        let mixed = at(0) | at(1) << 8 | at(2) << 16 | last << 24 | word.len() << 32;
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48
    }
}
