//! C1: the addresses whose pages are dropped.

use std::path::Path;

use crate::{Error, Result, python::strip};

/// Beginnings of addresses, such as the `urls` files of the UT1 blacklists.
///
/// Entries that begin with another entry add nothing and are left out. Of what is left, in order, at most one
/// can begin an address: the last that does not come after it. So a sorted list does the work of a trie.
#[derive(Debug, Default)]
pub(super) struct Blacklist {
    starts: Vec<Box<str>>,
}

impl Blacklist {
    /// Reads a list of lines `category TAB entry`; of the given categories, or of all of them. A name that ends in
    /// `.zst` is unpacked.
    ///
    /// # Errors
    /// The file cannot be read, a line has no TAB, or a category is not in the file.
    pub(super) fn read(path: &Path, categories: Option<&[String]>) -> Result<Self> {
        let text = read_text(path)?;
        let mut entries = Vec::new();
        for (idx, line) in text.lines().enumerate() {
            let (category, entry) = line.split_once('\t').ok_or_else(|| Error::Malformed {
                path: path.to_owned(),
                problem: format!("line {}: expected a category, a TAB and an address", idx + 1),
            })?;
            entries.push((category, entry));
        }
        for wanted in categories.unwrap_or_default() {
            if !entries.iter().any(|(category, _)| category == wanted) {
                let problem = format!("there is no category `{wanted}`");
                return Err(Error::Malformed { path: path.to_owned(), problem });
            }
        }
        let is_wanted = |category: &str| {
            categories.is_none_or(|wanted| wanted.iter().any(|wanted| wanted == category))
        };
        let entries = entries.iter().filter(|(category, _)| is_wanted(category));
        Ok(Self::new(entries.map(|&(_, entry)| entry)))
    }

    /// The list of these entries. An empty one is passed over: it would begin every address.
    pub(super) fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Self {
        let mut starts: Vec<&str> = entries.into_iter().map(without_scheme).collect();
        starts.retain(|start| !start.is_empty());
        starts.sort_unstable();
        starts.dedup_by(|later, kept| later.starts_with(*kept));
        Self { starts: starts.into_iter().map(Box::from).collect() }
    }

    /// Whether one of the entries begins an address.
    pub(super) fn begins(&self, address: &str) -> bool {
        let after = self.starts.partition_point(|start| **start <= *address);
        after > 0 && address.starts_with(&*self.starts[after - 1])
    }
}

/// An address without white space around it and without one `http://` or `https://` before it.
pub(super) fn without_scheme(url: &str) -> &str {
    let url = strip(url);
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url)
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = fs_err::read(path).map_err(Error::io(path))?;
    let is_packed = path.extension().is_some_and(|end| end == "zst");
    let bytes = if is_packed { zstd::decode_all(&*bytes).map_err(Error::io(path))? } else { bytes };
    let not_text = |_| Error::Malformed { path: path.to_owned(), problem: "not UTF-8".to_owned() };
    String::from_utf8(bytes).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_the_beginning_of_an_address() {
        let list = Blacklist::new([
            " http://a.com/x \n",
            "a.com/xy",
            "a.com/b",
            "b.de",
            "",
            "https://é.fr",
        ]);
        let check = |url, expected| assert_eq!(list.begins(without_scheme(url)), expected, "{url}");
        check("a.com/xyz", true);
        check("https://a.com/x", true);
        check("HTTP://a.com/x", false);
        check("http://http://a.com/x", false);
        check("a.com/", false);
        check("a.com/w", false);
        check("\u{3000}b.dev", true);
        check("b.d", false);
        check("é.fr", true);
        check("", false);
        assert!(!Blacklist::default().begins("a"));
    }

    #[test]
    fn categories_can_be_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("urls.tsv");
        std::fs::write(&path, "adult\ta.com\npress\tb.com\n").unwrap();
        let entry = |categories: Option<&[&str]>, url| {
            let categories: Option<Vec<String>> =
                categories.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            let list = Blacklist::read(&path, categories.as_deref())?;
            Ok::<_, Error>(list.begins(url))
        };
        assert!(entry(None, "b.com/1").unwrap());
        assert!(!entry(Some(&["adult"]), "b.com/1").unwrap());
        assert!(entry(Some(&["adult", "press"]), "b.com/1").unwrap());
        let problem = entry(Some(&["sport"]), "b.com").unwrap_err().to_string();
        assert!(problem.ends_with("there is no category `sport`"), "{problem}");
        std::fs::write(&path, "a.com\n").unwrap();
        assert!(entry(None, "a.com").is_err());
    }
}
