//! A start tag as it is read: of its attributes only what decides whether a text is read.

use super::super::{furniture, tag::Tag};

/// A start tag being read.
#[derive(Debug, Default)]
pub(super) struct StartTag {
    pub(super) tag: Option<Tag>,
    attribute: Attribute,
    pub(super) hides: bool,
    pub(super) furniture: bool,
    pub(super) named_furniture: bool,
    pub(super) content: bool,
    pub(super) first_number: Option<u32>,
}

/// The attributes that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Attribute {
    #[default]
    Other,
    Name,
    Role,
    Style,
    AriaHidden,
    Start,
}

impl StartTag {
    /// One without attributes.
    pub(super) fn of(tag: Tag) -> Self {
        Self { tag: Some(tag), ..Self::default() }
    }

    /// An attribute begins.
    pub(super) fn attribute_name(&mut self, name: &[u8]) {
        self.attribute = match name {
            b"class" | b"id" => Attribute::Name,
            b"role" => Attribute::Role,
            b"style" => Attribute::Style,
            b"aria-hidden" => Attribute::AriaHidden,
            b"start" => Attribute::Start,
            _ => Attribute::Other,
        };
        self.hides |= name == b"hidden";
    }

    /// The value of the attribute that began last.
    pub(super) fn attribute_value(&mut self, value: &str) {
        match self.attribute {
            Attribute::Name => self.named_furniture |= furniture::is_named_so(value),
            Attribute::Role => {
                self.furniture |= furniture::is_role(value);
                self.content |= value == "main" || value == "article";
            }
            Attribute::Style => self.hides |= furniture::is_hiding(value),
            Attribute::AriaHidden => self.hides |= value == "true",
            Attribute::Start => self.first_number = value.trim().parse().ok(),
            Attribute::Other => {}
        }
    }
}
