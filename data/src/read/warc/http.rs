//! An HTTP answer as it went over the wire, to the text of its page.

use std::{borrow::Cow, io::Read as _};

use super::header::{Header, field, fields};
use crate::{
    extract,
    read::{BadReason, MAX_RECORD_BYTES, PassedOver},
};

/// What a record says.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) title: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) charset: &'static str,
}

/// A page, or why the record is none.
pub(super) enum Read {
    Page(Page),
    Passed(PassedOver),
}

type Refusal = (BadReason, String);

impl Page {
    /// A record that is text already, as in WET files.
    pub(super) fn text(content: &[u8], header: &Header) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(content).map_err(|error| {
            let at = error.valid_up_to();
            (BadReason::InvalidUtf8, format!("invalid UTF-8 at byte {at} of the content"))
        })?;
        Ok(Self {
            text: text.to_owned(),
            title: None,
            content_type: header.field("content-type").map(str::to_owned),
            charset: "UTF-8",
        })
    }
}

/// Reads an answer.
pub(super) fn page(content: &[u8]) -> Result<Read, Refusal> {
    let (head, body) = split(content)?;
    let (status, head) = head.split_once('\n').unwrap_or((&head, ""));
    let code = status.split_whitespace().nth(1).unwrap_or_default();
    if !status.starts_with("HTTP/") || code.len() != 3 {
        return Err(broken("the content does not begin with the status of an HTTP answer"));
    }
    if code != "200" {
        return Ok(Read::Passed(PassedOver::Status));
    }
    let fields = fields(head);
    let content_type = field(&fields, "content-type");
    let kind = kind(content_type, body);
    let Some(is_html) = kind else { return Ok(Read::Passed(PassedOver::ContentType)) };
    let body = match field(&fields, "transfer-encoding") {
        Some(coding) if coding.to_ascii_lowercase().contains("chunked") => dechunked(body),
        _ => Cow::Borrowed(body),
    };
    let body = decoded(body, field(&fields, "content-encoding").unwrap_or_default())?;
    let decoded = extract::charset::decode(&body, content_type);
    let page = match is_html {
        true => extract::page(&decoded.text),
        false => extract::Page { title: None, text: decoded.text.into_owned() },
    };
    if page.text.trim().is_empty() {
        return Err((BadReason::NoText, "the page holds no text".to_owned()));
    }
    Ok(Read::Page(Page {
        text: page.text,
        title: page.title,
        content_type: content_type.map(str::to_owned),
        charset: decoded.encoding,
    }))
}

fn broken(detail: &str) -> Refusal {
    (BadReason::BrokenRecord, detail.to_owned())
}

/// The header of the answer as text, and its body.
fn split(content: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Refusal> {
    let crlf = memchr::memmem::find(content, b"\r\n\r\n").map(|at| (at, at + 4));
    let lf = memchr::memmem::find(content, b"\n\n").map(|at| (at, at + 2));
    let end = crlf.into_iter().chain(lf).min();
    let Some((end, body)) = end else {
        return Err(broken("the HTTP header of the content has no end"));
    };
    Ok((String::from_utf8_lossy(&content[..end]), &content[body..]))
}

/// Whether the body is HTML or plain text; `None` when it is neither.
fn kind(content_type: Option<&str>, body: &[u8]) -> Option<bool> {
    let name = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    match name.trim().to_ascii_lowercase().as_str() {
        "text/html" | "application/xhtml+xml" => Some(true),
        "text/plain" => Some(false),
        "" => body.trim_ascii_start().starts_with(b"<").then_some(true),
        _ => None,
    }
}

/// A body without its chunks (RFC 9112, 7.1); as it is when it has none, since many writers take them out.
fn dechunked(body: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut rest) = (Vec::new(), body);
    while let Some(line_end) = memchr::memchr(b'\n', &rest[..rest.len().min(1024)]) {
        let size = String::from_utf8_lossy(&rest[..line_end]);
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        rest = &rest[line_end + 1..];
        let chunk = &rest[..size.min(rest.len())];
        out.extend_from_slice(chunk);
        if size == 0 || chunk.len() < size {
            return Cow::Owned(out);
        }
        rest = without_line_end(&rest[size..]);
    }
    // An answer cut between chunks keeps what it has; one without any chunk was taken apart before.
    if out.is_empty() { Cow::Borrowed(body) } else { Cow::Owned(out) }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\r\n").or(bytes.strip_prefix(b"\n")).unwrap_or(bytes)
}

/// A body without its compression; as it is when it was never compressed, since many writers take that off too.
fn decoded<'a>(body: Cow<'a, [u8]>, codings: &str) -> Result<Cow<'a, [u8]>, Refusal> {
    let mut body = body;
    for coding in codings.split(',').rev().take(4) {
        let unpacked = match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" if body.starts_with(&[0x1f, 0x8b]) => {
                unpack(flate2::read::MultiGzDecoder::new(&body[..]))
            }
            "deflate" => unpack(flate2::read::ZlibDecoder::new(&body[..]))
                .or_else(|_| unpack(flate2::read::DeflateDecoder::new(&body[..]))),
            "br" => unpack(brotli_decompressor::Decompressor::new(&body[..], 1 << 14)),
            _ => continue,
        };
        body = match unpacked {
            Ok(unpacked) => Cow::Owned(unpacked),
            Err(_) if body.trim_ascii_start().starts_with(b"<") => return Ok(body),
            Err(problem) => {
                let detail = format!("the page's `{}` data: {problem}", coding.trim());
                return Err((BadReason::BrokenRecord, detail));
            }
        };
    }
    Ok(body)
}

/// All bytes of a decoder. Pages that were cut are common, so what came before an early end counts.
fn unpack(decoder: impl std::io::Read) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = decoder.take(MAX_RECORD_BYTES as u64 + 1).read_to_end(&mut unpacked);
    if unpacked.len() > MAX_RECORD_BYTES {
        return Err(format!("more than {MAX_RECORD_BYTES} bytes"));
    }
    match read {
        Err(error) if unpacked.is_empty() => Err(error.to_string()),
        _ => Ok(unpacked),
    }
}
