//! A page as blocks of text in reading order, each with its kind and its surroundings.
//!
//! `html5gum` does the tokenizing as browsers do; the stack of open elements here ends what HTML lets authors leave
//! open. It is no tree: an end tag closes down to the nearest element of its kind, which costs what was opened.

mod line;
mod start_tag;

use std::{borrow::Cow, convert::Infallible};

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};

use self::{
    line::{Line, Space, is_blank},
    start_tag::StartTag,
};
use super::tag::{N_TAGS, Tag};

/// Open elements that the end tag of an inline element is sought in.
const INLINE_REACH: usize = 64;
/// Open elements that the end tag of a block is sought in.
const BLOCK_REACH: usize = 512;
/// Longest title kept, in characters.
const TITLE_CHARS: usize = 1000;
/// Weight of a row from which line breaks in it are those of a text.
const CELL_WEIGHT: usize = 160;
/// Levels of lists that are indented.
const INDENT_LEVELS: usize = 5;

/// A page before the choice of what to read.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) title: Option<String>,
    pub(super) blocks: Vec<Block>,
}

/// A piece of text that stands on lines of its own.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Characters that are no spaces.
    pub(super) n_chars: usize,
    /// How many of them are links.
    pub(super) n_link_chars: usize,
    /// How much there is to read: a Chinese character counts for two.
    pub(super) weight: usize,
    pub(super) place: Place,
    mark: String,
}

/// What a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Paragraph,
    Heading,
    Item,
    Row,
    Preformatted,
}

/// What is around a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Not shown, or not text.
    hidden: bool,
    /// In `nav`, `footer`, `aside` or a role like them.
    pub(super) furniture: bool,
    /// In an element whose class or id names furniture.
    pub(super) named_furniture: bool,
    /// In a `header`.
    pub(super) header: bool,
    /// In `main` or `article`.
    pub(super) content: bool,
    /// In a heading.
    heading: bool,
    link: bool,
    preformatted: bool,
}

impl Block {
    /// The block as it is read.
    pub(super) fn line(&self) -> Cow<'_, str> {
        match self.mark.is_empty() {
            true => Cow::Borrowed(&self.text),
            false => Cow::Owned(format!("{}{}", self.mark, self.text)),
        }
    }
}

impl Outline {
    /// Reads a page.
    pub(super) fn of(html: &str) -> Self {
        let mut builder = Builder::default();
        let mut emitter =
            CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<Infallible> {
                builder.handle(event);
                None
            });
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
        builder.finish()
    }
}

/// An element that is not closed yet.
#[derive(Debug)]
struct Open {
    tag: Tag,
    /// What was around it.
    outside: Place,
}

#[derive(Debug, Default)]
struct Builder {
    outline: Outline,
    open: Vec<Open>,
    n_open: [u32; N_TAGS],
    place: Place,
    start: StartTag,
    /// Of each open list the number of its next item, if it is numbered.
    lists: Vec<Option<u32>>,
    row: Option<Row>,
    line: Line,
}

/// The row of a table that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    cell_has_text: bool,
    /// A block ended in this cell, so that further text of it is no more one cell of a row.
    broken: bool,
    /// A line break went by since the last text.
    line_broken: bool,
}

impl Builder {
    fn handle(&mut self, event: CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.start = StartTag::of(Tag::of(name));
            }
            CallbackEvent::AttributeName { name } => self.start.attribute_name(name),
            CallbackEvent::AttributeValue { value } => {
                if let Ok(value) = std::str::from_utf8(value) {
                    self.start.attribute_value(value);
                }
            }
            CallbackEvent::CloseStartTag { .. } => {
                let start = std::mem::take(&mut self.start);
                if let Some(tag) = start.tag {
                    self.enter(tag, &start);
                }
            }
            CallbackEvent::EndTag { name } => self.leave(Tag::of(name)),
            CallbackEvent::String { value } => {
                if let Ok(text) = std::str::from_utf8(value) {
                    self.text(text);
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Outline {
        self.end_line();
        self.outline
    }

    fn enter(&mut self, tag: Tag, start: &StartTag) {
        match tag {
            Tag::LineBreak => return self.line_break(),
            Tag::Void => return,
            _ => self.close_implied(tag),
        }
        if tag.is_block() {
            self.block_boundary(tag);
        }
        self.n_open[tag as usize] += 1;
        self.open.push(Open { tag, outside: self.place });
        let place = &mut self.place;
        place.hidden |= tag == Tag::Hidden || start.hides;
        place.furniture |= tag == Tag::Furniture || start.furniture;
        place.header |= tag == Tag::Header;
        place.content |= tag == Tag::Content || start.content;
        place.link |= tag == Tag::Link;
        place.heading |= tag == Tag::Heading;
        place.preformatted |= tag == Tag::Preformatted;
        // Names on the whole page tell of its state, and a table's or a text's own name of its style.
        if !matches!(tag, Tag::Root | Tag::Content | Tag::Inline) {
            place.named_furniture |= start.named_furniture;
        }
        self.begin(tag, start);
    }

    /// What a start tag changes beside its surroundings.
    fn begin(&mut self, tag: Tag, start: &StartTag) {
        match tag {
            Tag::List => self.lists.push(None),
            Tag::NumberedList => self.lists.push(Some(start.first_number.unwrap_or(1))),
            Tag::Item => self.begin_item(),
            Tag::Heading => self.line.kind = Kind::Heading,
            Tag::Preformatted => self.line.kind = Kind::Preformatted,
            Tag::Table => self.row = None,
            Tag::Row => {
                self.row = Some(Row::default());
                self.line.kind = Kind::Row;
            }
            Tag::Cell => self.begin_cell(),
            _ => {}
        }
    }

    fn begin_item(&mut self) {
        let level = self.lists.len().clamp(1, INDENT_LEVELS) - 1;
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number = number.saturating_add(1);
                format!("{}. ", *number - 1)
            }
            _ => "- ".to_owned(),
        };
        self.line.mark = format!("{}{mark}", "  ".repeat(level));
        self.line.kind = Kind::Item;
    }

    fn begin_cell(&mut self) {
        if self.row.is_some() {
            self.row = Some(Row::default());
            if !self.line.text.is_empty() {
                self.line.space = Space::None;
                self.line.text.push_str(" | ");
            }
        } else {
            self.end_line();
        }
    }

    fn leave(&mut self, tag: Tag) {
        if tag.is_empty() || tag == Tag::Root {
            return;
        }
        if self.n_open[tag as usize] == 0 {
            if tag == Tag::Paragraph {
                self.block_boundary(tag);
            }
            return;
        }
        let is_inline = matches!(tag, Tag::Inline | Tag::Link);
        let reach = if is_inline { INLINE_REACH } else { BLOCK_REACH };
        let mut depth = 0;
        for open in self.open.iter().rev().take(reach) {
            depth += 1;
            if open.tag == tag {
                return self.close(depth, tag);
            }
            // An inline element's end does not close the block around it, nor a cell's content the cell.
            if is_inline && open.tag.is_block() || open.tag == Tag::Table && closes_in_table(tag) {
                return;
            }
        }
    }

    fn close(&mut self, depth: usize, tag: Tag) {
        if tag.is_block() {
            self.block_boundary(tag);
        }
        for _ in 0..depth {
            let Some(open) = self.open.pop() else { break };
            self.n_open[open.tag as usize] -= 1;
            self.place = open.outside;
            match open.tag {
                Tag::List | Tag::NumberedList => drop(self.lists.pop()),
                // An item without text leaves its mark to nobody.
                Tag::Item if self.line.text.is_empty() => self.line.mark.clear(),
                Tag::Table | Tag::Row => {
                    self.end_line();
                    self.row = None;
                }
                _ => {}
            }
        }
    }

    /// Ends what a start tag ends without an end tag.
    fn close_implied(&mut self, tag: Tag) {
        if tag.is_block() && !matches!(tag, Tag::Root | Tag::Table) {
            self.close_within(Tag::Paragraph, &[Tag::Cell, Tag::Table, Tag::Hidden]);
        }
        match tag {
            Tag::Item => self.close_within(Tag::Item, &[Tag::List, Tag::NumberedList, Tag::Table]),
            Tag::Term => self.close_within(Tag::Term, &[Tag::Table, Tag::List]),
            Tag::Row => self.close_within(Tag::Row, &[Tag::Table]),
            Tag::Cell => self.close_within(Tag::Cell, &[Tag::Row, Tag::Table]),
            Tag::Link => self.close_within(Tag::Link, &[Tag::Table, Tag::Cell]),
            _ => {}
        }
    }

    /// Closes the nearest open element of a kind, unless one of the bounds lies between.
    fn close_within(&mut self, tag: Tag, bounds: &[Tag]) {
        if self.n_open[tag as usize] == 0 {
            return;
        }
        let near = self.open.iter().rev().take(INLINE_REACH);
        let found =
            near.map(|open| open.tag).position(|open| open == tag || bounds.contains(&open));
        if let Some(depth) = found
            && self.open[self.open.len() - 1 - depth].tag == tag
        {
            self.close(depth + 1, tag);
        }
    }

    fn block_boundary(&mut self, tag: Tag) {
        match &mut self.row {
            Some(row) if !matches!(tag, Tag::Row | Tag::Table | Tag::Preformatted) => {
                row.broken = true;
            }
            _ => self.end_line(),
        }
    }

    fn line_break(&mut self) {
        if self.place.hidden {
            return;
        }
        match (self.place.preformatted, &mut self.row) {
            (true, _) => self.line.text.push('\n'),
            (false, Some(row)) => {
                row.broken |= row.line_broken || self.line.weight > CELL_WEIGHT;
                row.line_broken = true;
                self.line.space = Space::Blank;
            }
            (false, None) => {
                let kind = self.line.kind;
                self.end_line();
                if kind == Kind::Heading {
                    self.line.kind = kind;
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.place.hidden {
            return;
        }
        if self.open.last().is_some_and(|open| open.tag == Tag::Title) {
            return self.title(text);
        }
        if !text.trim().is_empty() {
            self.break_cell();
            self.break_furniture();
            self.line.place.get_or_insert(self.place);
        }
        match self.place.preformatted {
            true => self.line.push_preformatted(text, self.place.link),
            false => self.line.push(text, self.place.link),
        }
    }

    /// A second paragraph in a cell makes paragraphs of the row so far.
    fn break_cell(&mut self) {
        let Some(row) = &mut self.row else { return };
        let breaks = row.broken && row.cell_has_text;
        *row = Row { cell_has_text: true, ..Row::default() };
        if breaks {
            self.end_line();
        }
    }

    /// A text does not share its line with furniture, such as the numbers of lines beside code.
    fn break_furniture(&mut self) {
        let is_furniture = |place: Place| place.furniture || place.named_furniture;
        if self.line.place.is_some_and(|place| is_furniture(place) != is_furniture(self.place)) {
            let kind = self.line.kind;
            self.end_line();
            self.line.kind = kind;
        }
    }

    fn title(&mut self, text: &str) {
        if self.outline.title.is_some() || text.trim().is_empty() {
            return;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        self.outline.title = Some(words.join(" ").chars().take(TITLE_CHARS).collect());
    }

    /// Puts the block that was being read with the others.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_row = line.kind == Kind::Row;
        let text = match line.kind {
            Kind::Preformatted => line.text.trim_matches('\n').trim_end(),
            Kind::Row => line.text.trim_matches([' ', '|']),
            _ => line.text.trim(),
        };
        if text.is_empty() || is_blank(text) {
            // The mark of an item whose text is yet to come.
            self.line.mark = line.mark;
            if !matches!(line.kind, Kind::Heading | Kind::Preformatted) {
                self.line.kind = line.kind;
            }
            return;
        }
        let place = line.place.unwrap_or_default();
        let kind = match line.kind {
            Kind::Paragraph if place.heading => Kind::Heading,
            Kind::Row if !text.contains(" | ") => Kind::Paragraph,
            kind => kind,
        };
        let text = if text.len() == line.text.len() { line.text } else { text.to_owned() };
        self.outline.blocks.push(Block {
            kind,
            text,
            n_chars: line.n_chars,
            n_link_chars: line.n_link_chars,
            weight: line.weight,
            place,
            mark: line.mark,
        });
        if is_row && self.row.is_some() {
            self.line.kind = Kind::Row;
        }
    }
}

/// Whether an end tag belongs to the table it stands in.
fn closes_in_table(tag: Tag) -> bool {
    matches!(tag, Tag::Row | Tag::Cell | Tag::Item | Tag::Paragraph | Tag::Block | Tag::Heading)
}
