//! What HTML's tags mean for reading: which begin a block, which hold nothing to read, which are furniture.

/// The part a tag plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Text goes on in the same line.
    Inline,
    /// `a`.
    Link,
    /// Nothing in it is text.
    Hidden,
    /// `title`.
    Title,
    /// A line ends before and after it.
    Block,
    /// `html`, `head`, `body`: nothing of their own.
    Root,
    /// `p`, which any block ends.
    Paragraph,
    /// `h1` to `h6`.
    Heading,
    /// `br`.
    LineBreak,
    /// `hr` and other elements without content.
    Void,
    /// `ul`, `menu`.
    List,
    /// `ol`.
    NumberedList,
    /// `li`.
    Item,
    /// `dt`, `dd`.
    Term,
    /// `pre`.
    Preformatted,
    /// `table`.
    Table,
    /// `tr`.
    Row,
    /// `td`, `th`.
    Cell,
    /// `main`, `article`.
    Content,
    /// `nav`, `footer`, `aside`.
    Furniture,
    /// `header`, which may be the page's or an article's.
    Header,
}

/// Number of different tags, for counting by tag.
pub(super) const N_TAGS: usize = Tag::Header as usize + 1;

impl Tag {
    /// The tag of a lower-case name; what is unknown is inline, as in browsers.
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"a" => Self::Link,
            b"script" | b"style" | b"template" | b"iframe" | b"object" | b"embed" | b"svg"
            | b"math" | b"canvas" | b"audio" | b"video" | b"select" | b"button" | b"noscript"
            | b"textarea" | b"datalist" | b"dialog" | b"map" | b"noembed" | b"noframes" | b"rt"
            | b"rp" => Self::Hidden,
            b"title" => Self::Title,
            b"html" | b"head" | b"body" => Self::Root,
            b"p" => Self::Paragraph,
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => Self::Heading,
            b"br" => Self::LineBreak,
            b"area" | b"base" | b"col" | b"img" | b"input" | b"link" | b"meta" | b"param"
            | b"source" | b"track" | b"wbr" | b"frame" | b"keygen" => Self::Void,
            b"ul" | b"menu" | b"dir" => Self::List,
            b"ol" => Self::NumberedList,
            b"li" => Self::Item,
            b"dt" | b"dd" => Self::Term,
            b"pre" | b"listing" | b"xmp" => Self::Preformatted,
            b"table" => Self::Table,
            b"tr" => Self::Row,
            b"td" | b"th" => Self::Cell,
            b"main" | b"article" => Self::Content,
            b"nav" | b"footer" | b"aside" => Self::Furniture,
            b"header" => Self::Header,
            b"address" | b"blockquote" | b"caption" | b"center" | b"details" | b"div" | b"dl"
            | b"fieldset" | b"figcaption" | b"figure" | b"form" | b"frameset" | b"hgroup"
            | b"hr" | b"legend" | b"option" | b"optgroup" | b"search" | b"section" | b"summary"
            | b"tbody" | b"tfoot" | b"thead" => Self::Block,
            _ => Self::Inline,
        }
    }

    /// Whether text before and after its ends stands on lines of its own.
    pub(super) fn is_block(self) -> bool {
        !matches!(
            self,
            Self::Inline
                | Self::Link
                | Self::Hidden
                | Self::Title
                | Self::Void
                | Self::LineBreak
                | Self::Cell
        )
    }

    /// Whether it is never closed.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::Void | Self::LineBreak)
    }
}
