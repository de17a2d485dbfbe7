//! What the rules look things up in, read from a folder under the names of MAP-Neo's own files.
//!
//! ```text
//! ut1_urls.tsv.zst               a category, TAB and an address a line   C1
//! lid.176.bin                    fastText language model                 C14 (or lid.standin.bin)
//! strict_zh.txt, hard_zh.txt     one bad word a line                     the filter of lines
//! ```

use std::path::Path;

use super::blacklist::Blacklist;
use crate::{
    Result,
    fast_text::FastText,
    filter::matrix_en::assets::{LANGUAGE_MODELS, WordList, existing},
};

/// The assets that the rules at hand ask for; the others are empty.
#[derive(Debug, Default)]
pub(super) struct Assets {
    pub(super) blacklist: Blacklist,
    pub(super) languages: Option<FastText>,
    pub(super) bad_words: WordList,
}

impl Assets {
    /// Reads what the rules of these names ask for; of the addresses those of the categories, or all.
    pub(super) fn read(
        folder: Option<&Path>,
        rules: &[&'static str],
        categories: Option<&[String]>,
        has_line_filter: bool,
    ) -> Result<Self> {
        let mut assets = Self::default();
        if rules.contains(&"C1") {
            let path = existing(folder, &["ut1_urls.tsv.zst", "ut1_urls.tsv"], "C1")?;
            assets.blacklist = Blacklist::read(&path, categories)?;
        }
        if rules.contains(&"C14") {
            assets.languages = Some(FastText::read(&existing(folder, &LANGUAGE_MODELS, "C14")?)?);
        }
        for name in ["strict_zh.txt", "hard_zh.txt"].iter().filter(|_| has_line_filter) {
            assets.bad_words.add_lines(&existing(folder, &[name], "line_filter")?)?;
        }
        Ok(assets)
    }
}
