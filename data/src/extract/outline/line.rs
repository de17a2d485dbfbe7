//! The text of a block as it comes together: white space as browsers show it, and how much there is to read.

use super::{Kind, Place};

/// The block that is being read.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) mark: String,
    pub(super) text: String,
    pub(super) space: Space,
    pub(super) n_chars: usize,
    pub(super) n_link_chars: usize,
    pub(super) weight: usize,
    pub(super) place: Option<Place>,
}

/// White space that has gone by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Space {
    #[default]
    None,
    Blank,
    LineEnd,
}

impl Line {
    /// Adds running text, in which any white space is one space.
    pub(super) fn push(&mut self, text: &str, is_link: bool) {
        for c in text.chars() {
            match c {
                '\n' | '\r' => self.space = Space::LineEnd,
                ' ' | '\t' | '\u{c}' | '\u{a0}' | '\u{3000}' => self.space = self.space.or_blank(),
                '\u{200b}' | '\u{feff}' | '\u{ad}' | '\0' => {}
                _ => self.push_char(c, is_link),
            }
        }
    }

    fn push_char(&mut self, c: char, is_link: bool) {
        if self.space != Space::None {
            let last = self.text.chars().next_back();
            let joins = self.space == Space::LineEnd && is_wide(c) && last.is_some_and(is_wide);
            if last.is_some_and(|last| last != ' ') && !joins {
                self.text.push(' ');
            }
            self.space = Space::None;
        }
        self.text.push(c);
        self.count(c, is_link);
    }

    /// Adds text whose white space stays.
    pub(super) fn push_preformatted(&mut self, text: &str, is_link: bool) {
        for c in text.chars().filter(|c| !matches!(c, '\r' | '\0')) {
            self.text.push(c);
            if !c.is_whitespace() {
                self.count(c, is_link);
            }
        }
    }

    fn count(&mut self, c: char, is_link: bool) {
        self.n_chars += 1;
        self.n_link_chars += usize::from(is_link);
        self.weight += 1 + usize::from(is_wide(c));
    }
}

impl Space {
    /// Blank, unless there is more already.
    fn or_blank(self) -> Self {
        match self {
            Self::None => Self::Blank,
            space => space,
        }
    }
}

/// Whether a short text shows nothing: joiners and marks of direction alone.
pub(super) fn is_blank(text: &str) -> bool {
    text.len() < 16
        && text.chars().all(|c| c.is_whitespace() || ('\u{200b}'..='\u{200f}').contains(&c))
}

/// Characters of scripts that put no spaces between words.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3ffff}')
}
