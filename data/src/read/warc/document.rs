//! A page and the header of its record to a document.

use serde_json::{Map, Value};

use super::{Warc, header::Header, http::Page, members::Offset};
use crate::{Document, Origin};

impl Warc {
    pub(super) fn document(&self, header: &Header, start: Offset, page: Page) -> Document {
        let id = header
            .id()
            .map_or_else(|| format!("{}/{}:{start}", self.source.name, self.file), str::to_owned);
        let meta = meta(header, page.title, page.content_type, page.charset);
        Document {
            id,
            text: page.text,
            source: self.source.name.clone(),
            url: header.target().map(str::to_owned),
            language: self.source.language,
            meta,
            origin: Some(Origin::in_packed(&self.stored_name, start.member, start.inside)),
        }
    }
}

/// What the record says of itself.
fn meta(
    header: &Header,
    title: Option<String>,
    content_type: Option<String>,
    charset: &str,
) -> Map<String, Value> {
    let mut meta = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        meta.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("title", title.map(Value::from));
    put("date", header.field("warc-date").map(Value::from));
    put("content_type", content_type.map(Value::from));
    put("charset", Some(Value::from(charset)));
    put("truncated", header.field("warc-truncated").map(Value::from));
    meta
}
