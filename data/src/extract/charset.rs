//! Bytes of a page to text, by what page and server say of the encoding and by what the bytes themselves say.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

/// Bytes at the start of a page in which its own declaration is sought, as browsers do.
const DECLARATION_BYTES: usize = 1024;

/// Text and the name of the encoding it was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text; bytes that mean nothing in the encoding are U+FFFD.
    pub text: Cow<'a, str>,
    /// The standard's name of the encoding.
    pub encoding: &'static str,
}

/// Decodes a page: a byte order mark decides, then bytes that can only be UTF-8, then the `charset` of the server,
/// then the page's own, then a guess from the bytes.
pub fn decode<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    let encoding = encoding_of(bytes, content_type);
    let (text, encoding, _) = encoding.decode(bytes);
    Decoded { text, encoding: encoding.name() }
}

fn encoding_of(bytes: &[u8], content_type: Option<&str>) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding;
    }
    // Declarations are often wrong; text of another encoding is hardly ever valid UTF-8 by chance.
    if !bytes.is_ascii() && std::str::from_utf8(bytes).is_ok() {
        return UTF_8;
    }
    let declared = content_type.and_then(|value| charset(value.as_bytes()));
    let declared = declared.or_else(|| {
        // UTF-16 would have hidden its own declaration, so one that says so is wrong.
        charset(&bytes[..bytes.len().min(DECLARATION_BYTES)]).map(Encoding::output_encoding)
    });
    declared.unwrap_or_else(|| guess(bytes))
}

/// The encoding named after the first `charset=`, wherever it stands.
fn charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let lower = bytes.to_ascii_lowercase();
    let at = memchr::memmem::find(&lower, b"charset")? + b"charset".len();
    let value = lower[at..].trim_ascii_start().strip_prefix(b"=")?;
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"\"").or(value.strip_prefix(b"'")).unwrap_or(value);
    let end = value.iter().position(|byte| b"\"'; >/".contains(byte)).unwrap_or(value.len());
    Encoding::for_label(&value[..end])
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, chardetng::Utf8Detection::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], content_type: Option<&str>, text: &str, encoding: &str) {
        let decoded = decode(bytes, content_type);
        assert_eq!((decoded.text.as_ref(), decoded.encoding), (text, encoding));
    }

    #[test]
    fn server_page_and_bytes_are_asked_in_turn() {
        let (gbk, ..) = encoding_rs::GBK.encode("中文网页");
        let (big5, ..) = encoding_rs::BIG5.encode("中文網頁");
        let (gb18030, ..) = encoding_rs::GB18030.encode("𠀀字");
        check(&gbk, Some("text/html; charset=gb2312"), "中文网页", "GBK");
        check(&gb18030, Some("text/html;charset=\"GB18030\""), "𠀀字", "gb18030");
        check(&big5, Some("text/html; charset = Big5"), "中文網頁", "Big5");
        check(b"caf\xe9", Some("text/html; charset=iso-8859-1"), "café", "windows-1252");
        let page = [b"<meta charset='gbk'>".as_slice(), &gbk].concat();
        check(&page, None, "<meta charset='gbk'>中文网页", "GBK");
    }

    #[test]
    fn utf8_is_seen_whatever_is_declared() {
        check("中文".as_bytes(), Some("text/html; charset=iso-8859-1"), "中文", "UTF-8");
        check(b"\xff\xfea\0", Some("text/html; charset=utf-8"), "a", "UTF-16LE");
        check(b"plain", None, "plain", "UTF-8");
    }

    #[test]
    fn undeclared_chinese_is_recognised() {
        let text = "北京大学是中国的一所综合性大学，位于北京市海淀区。".repeat(4);
        let (gbk, ..) = encoding_rs::GBK.encode(&text);
        check(&gbk, None, &text, "GBK");
    }
}
