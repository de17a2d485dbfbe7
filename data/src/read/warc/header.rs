//! The named fields before a record's content, and those of an HTTP answer, which have the same form.

/// What every record begins with.
pub(super) const MAGIC: &[u8] = b"WARC/";
/// Longest header read.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// The fields of a record.
#[derive(Debug)]
pub(super) struct Header {
    fields: Vec<(String, String)>,
}

impl Header {
    /// Reads a header; what is wrong with it otherwise.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let (version, rest) = text.split_once('\n').unwrap_or((&text, ""));
        if !version.as_bytes().starts_with(MAGIC) {
            let found: String = version.trim_end().chars().take(40).collect();
            return Err(format!("found `{}`, expected `WARC/1.0`", found.escape_debug()));
        }
        Ok(Self { fields: fields(rest) })
    }

    /// The first value of a field, by its lower-case name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// Number of bytes of the content.
    pub(super) fn content_length(&self) -> Result<u64, String> {
        let value = self.field("content-length").ok_or("no `Content-Length`")?;
        value.parse().map_err(|_| {
            let found: String = value.chars().take(40).collect();
            format!("`Content-Length` is `{}`, expected a number", found.escape_debug())
        })
    }

    /// The type of the record, in lower case as the standard writes it.
    pub(super) fn kind(&self) -> &str {
        self.field("warc-type").unwrap_or_default()
    }

    /// The record's id without its brackets.
    pub(super) fn id(&self) -> Option<&str> {
        self.field("warc-record-id").map(bare).filter(|id| !id.is_empty())
    }

    /// The address of the page; some writers put it in brackets.
    pub(super) fn target(&self) -> Option<&str> {
        self.field("warc-target-uri").map(bare).filter(|uri| !uri.is_empty())
    }
}

fn bare(value: &str) -> &str {
    value.trim_start_matches('<').trim_end_matches('>')
}

/// The fields of a header, names in lower case; a line that begins with a space goes on with the one before.
pub(super) fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    fields
}

/// The first value of a field, by its lower-case name.
pub(super) fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
