//! The filter of lines: which lines of a text look like sentences.
//!
//! The original defines it and never calls it, so it is an option of the corrected mode. Its list of Chinese bad
//! words was not published; the lists of the English filter's Chinese copy are used where they are there.

use crate::{filter::matrix_en::assets::WordList, jieba::Jieba, python::strip};

/// Fewest words of a line that is kept.
const MIN_WORDS: usize = 3;
/// What a line of prose does not contain, in any case.
const REMNANTS: [&str; 2] = ["javascript", "lorem ipsum"];

/// The lines of a text that are kept, joined again.
pub(super) fn kept_lines(text: &str, bad_words: &WordList) -> String {
    let lines = text.split('\n').filter(|line| is_sentence(line, bad_words));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a line ends as sentences do, has words enough, and none of them is bad.
fn is_sentence(line: &str, bad_words: &WordList) -> bool {
    if !strip(line).ends_with(['.', '!', '?', '…']) {
        return false;
    }
    let lower = line.to_lowercase();
    if REMNANTS.iter().any(|remnant| lower.contains(remnant)) {
        return false;
    }
    let (mut n_words, mut is_bad) = (0, false);
    Jieba::shared().cut(line, |word| {
        n_words += usize::from(!strip(word).is_empty());
        is_bad |= bad_words.contains(word);
    });
    n_words >= MIN_WORDS && !is_bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_sentences_go() {
        let mut bad_words = WordList::default();
        bad_words.add("发票");
        let check = |text: &str, expected: &str| {
            assert_eq!(kept_lines(text, &bad_words), expected, "{text:?}");
        };
        check("我来到北京.\n首页 新闻\n他走了! \n", "我来到北京.\n他走了! ");
        check("请打开 JavaScript 再看.\n好.\n他要的发票在.\n北京大学…", "");
        check("北京大学很大…", "北京大学很大…");
    }
}
