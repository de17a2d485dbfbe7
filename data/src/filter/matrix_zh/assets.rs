//! What the rules look things up in, read from a folder under the names of MAP-Neo's own files.
//!
//! ```text
//! ut1_urls.tsv.zst               a category, TAB and an address a line   C1
//! lid.176.bin                    fastText language model                 C14 (or lid.standin.bin)
//! strict_zh.txt, hard_zh.txt     one bad word a line                     the filter of lines
//! ```

use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;

use super::blacklist::Blacklist;
use crate::{Error, Result, fast_text::FastText};

/// Names of language models, the first that is there is taken.
const LANGUAGE_MODELS: [&str; 2] = ["lid.176.bin", "lid.standin.bin"];

/// The assets that the rules at hand ask for; the others are empty.
#[derive(Debug, Default)]
pub(super) struct Assets {
    pub(super) blacklist: Blacklist,
    pub(super) languages: Option<FastText>,
    pub(super) bad_words: FxHashSet<Box<str>>,
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
            let path = existing(folder, &[name], "line_filter")?;
            let list = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
            assets.bad_words.extend(list.lines().map(Box::from));
        }
        Ok(assets)
    }
}

/// The first of these files that is there.
fn existing(folder: Option<&Path>, names: &[&str], rule: &str) -> Result<PathBuf> {
    let Some(folder) = folder else {
        let problem = format!(
            "rule `{rule}` needs `{}`, expected the folder that holds it as `--assets`",
            names[0]
        );
        return Err(Error::Setting(problem));
    };
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
    found.ok_or_else(|| {
        let path = folder.join(names[0]);
        Error::Setting(format!("`{}` is missing, which rule `{rule}` needs", path.display()))
    })
}
