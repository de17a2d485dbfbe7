//! Records of a WARC file (ISO 28500, versions 1.0 and 1.1) to documents: web pages, and the texts of WET files.
//!
//! `response` records are HTTP answers, whose HTML goes through [`crate::extract`]; `conversion` records are text
//! already. Other kinds, other content types and answers other than 200 are counted and left out. [`members`] gives
//! the uncompressed bytes and where they lie, [`header`] reads what stands before a record, [`http`] takes an answer
//! apart. What is damaged is a bad record with its place, and reading goes on at the next record that begins.

mod broken;
mod document;
mod header;
mod http;
mod members;

use std::sync::{Arc, atomic::AtomicU64};

use self::{
    broken::{Attempt, Broken, Resume},
    header::Header,
    members::{Damage, Members, Offset},
};
use super::{
    BadReason, BadRecord, MAX_RECORD_BYTES, PassedCounts, PassedOver, Record, Source,
    file::InputFile,
};
use crate::Result;

/// Reads the records of one file.
pub(super) struct Warc {
    members: Members,
    source: Source,
    path: String,
    file: String,
    stored_name: String,
    content: Vec<u8>,
    passed: Arc<PassedCounts>,
    done: bool,
}

/// What there was to find.
enum Found {
    Record(Record),
    /// A record that is no text, counted.
    Passed,
    End,
}

impl Warc {
    pub(super) fn open(
        file: &InputFile,
        source: &Source,
        position: Arc<AtomicU64>,
        passed: Arc<PassedCounts>,
    ) -> Result<Self> {
        Ok(Self {
            members: Members::open(file, position)?,
            source: source.clone(),
            path: file.path.display().to_string(),
            file: file.name.clone(),
            stored_name: file.stored_name(),
            content: Vec::new(),
            passed,
            done: false,
        })
    }

    fn next_found(&mut self) -> Result<Found> {
        self.content.clear();
        let start = match self.members.skip_line_ends() {
            Ok(true) => self.members.offset(),
            Ok(false) => return Ok(Found::End),
            Err(damage) => {
                let offset = self.members.offset();
                return self.broken(offset, Broken::from(damage));
            }
        };
        match self.record(start) {
            Ok(found) => Ok(found),
            Err(broken) => self.broken(start, broken),
        }
    }

    /// Reads one record to its end, which has to be where its length says.
    fn record(&mut self, start: Offset) -> Attempt<Found> {
        let header = self.header()?;
        let length = header.content_length().map_err(Broken::header)?;
        if length > MAX_RECORD_BYTES as u64 {
            return Err(self.too_long(length)?);
        }
        let read = self.members.read(length as usize, &mut self.content)?;
        if read < length {
            return Err(Broken {
                reason: BadReason::Truncated,
                detail: format!("the file ends after {read} of {length} bytes of the record"),
                resume: Resume::Nowhere,
            });
        }
        self.check_end(length)?;
        let found = self.judge(&header, start);
        found.map_err(|(reason, detail)| Broken { reason, detail, resume: Resume::Here })
    }

    fn header(&mut self) -> Attempt<Header> {
        let mut bytes = Vec::new();
        let found_end = self.members.read_header(&mut bytes, header::MAX_BYTES)?;
        let header = Header::parse(&bytes).map_err(Broken::header)?;
        match found_end {
            true => Ok(header),
            false if self.members.is_at_end()? => Err(Broken {
                reason: BadReason::Truncated,
                detail: "the file ends within the header of the record".to_owned(),
                resume: Resume::Nowhere,
            }),
            false => {
                let limit = header::MAX_BYTES;
                Err(Broken::header(format!("a header of more than {limit} bytes")))
            }
        }
    }

    /// Passes over a record that is longer than one may be.
    fn too_long(&mut self, length: u64) -> Attempt<Broken> {
        let passed = self.members.pass(length)?;
        let resume = if passed < length { Resume::Nowhere } else { Resume::NextRecord };
        let limit = MAX_RECORD_BYTES;
        let detail = format!("a record of {length} bytes, expected at most {limit}");
        Ok(Broken { reason: BadReason::TooLong, detail, resume })
    }

    /// After the content come two line ends and then the next record or the end of the file.
    fn check_end(&mut self, length: u64) -> Attempt<()> {
        if !self.members.skip_line_ends()? || self.members.starts_with(header::MAGIC)? {
            return Ok(());
        }
        // The length was wrong: if too large, the next record has been read with this one.
        let next = memchr::memmem::find(&self.content, b"\r\n\r\nWARC/1.");
        if let Some(at) = next {
            let rest = self.content.split_off(at);
            self.members.unread(rest);
        }
        Err(Broken {
            reason: BadReason::BrokenRecord,
            detail: format!("the record does not end after its length of {length} bytes"),
            resume: Resume::NextRecord,
        })
    }

    fn judge(
        &self,
        header: &Header,
        start: Offset,
    ) -> std::result::Result<Found, (BadReason, String)> {
        let read = match header.kind() {
            "response" => http::page(&self.content)?,
            "conversion" => http::Read::Page(http::Page::text(&self.content, header)?),
            "request" => http::Read::Passed(PassedOver::Request),
            "metadata" | "warcinfo" => http::Read::Passed(PassedOver::Metadata),
            _ => http::Read::Passed(PassedOver::OtherKind),
        };
        Ok(match read {
            http::Read::Page(page) => {
                Found::Record(Record::Document(self.document(header, start, page)))
            }
            http::Read::Passed(kind) => {
                self.passed.count(kind);
                Found::Passed
            }
        })
    }

    /// A bad record; reading is set to go on behind it.
    fn broken(&mut self, start: Offset, broken: Broken) -> Result<Found> {
        let skipped = match broken.resume {
            Resume::Here => 0,
            Resume::NextRecord => match self.members.find_line(header::MAGIC) {
                Ok(skipped) => skipped,
                Err(Damage::Unreadable(error)) => return Err(error),
                Err(_) => {
                    self.done = !self.members.next_member(header::MAGIC);
                    0
                }
            },
            Resume::NextMember => {
                self.done = !self.members.next_member(header::MAGIC);
                0
            }
            Resume::Nowhere => {
                self.done = true;
                0
            }
            Resume::Failed(error) => return Err(error),
        };
        Ok(Found::Record(Record::Bad(BadRecord {
            place: format!("{}:{start}", self.path),
            reason: broken.reason,
            detail: broken.detail,
            bytes: self.content.len() as u64 + skipped,
        })))
    }

    /// The next record, and what was passed over before it.
    fn next_record(&mut self) -> Result<Option<Record>> {
        while !self.done {
            match self.next_found()? {
                Found::Record(record) => return Ok(Some(record)),
                Found::Passed => {}
                Found::End => self.done = true,
            }
        }
        Ok(None)
    }
}

impl Iterator for Warc {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record().transpose();
        self.done |= matches!(record, Some(Err(_)));
        record
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::{
        super::{Format, Reader},
        *,
    };
    use crate::{Document, Language, Origin};

    fn record(kind: &str, id: &str, content: &[u8]) -> Vec<u8> {
        let header = format!(
            "WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:{id}>\r\nWARC-Target-URI: \
             http://x/{id}\r\nWARC-Date: 2024-05-03T10:00:00Z\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        [header.as_bytes(), content, b"\r\n\r\n"].concat()
    }

    fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes(), body].concat()
    }

    fn html(text: &str) -> Vec<u8> {
        let page = format!("<title>T</title><p>{text}</p>");
        answer("Content-Type: text/html; charset=utf-8", page.as_bytes())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    /// Three pages between records that are none.
    fn records() -> Vec<Vec<u8>> {
        vec![
            record("warcinfo", "i", b"software: test"),
            record("request", "q", b"GET / HTTP/1.1\r\n\r\n"),
            record("response", "a", &html("page a")),
            record("response", "b", b"HTTP/1.1 404 Not Found\r\n\r\n<p>no"),
            record("response", "c", &html("page c")),
            record("conversion", "d", "text d\n中文".as_bytes()),
        ]
    }

    fn read(name: &str, bytes: &[u8]) -> Result<(Vec<Record>, Reader)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let input = vec![path.to_string_lossy().into_owned()];
        let mut reader = Reader::open(&Source::new("s", Language::En, input, Format::Warc))?;
        let records = reader.by_ref().collect::<Result<_>>()?;
        Ok((records, reader))
    }

    fn origin(document: &Document) -> Origin {
        document.origin.clone().unwrap()
    }

    fn summary(record: &Record) -> String {
        match record {
            Record::Document(d) => format!("{} {} @{}", d.id, d.text, origin(d).byte.unwrap()),
            Record::Bad(bad) => {
                let place = bad.place.rsplit(':').next().unwrap();
                format!("bad @{place} {}: {}", bad.reason.name(), bad.detail)
            }
        }
    }

    fn check(name: &str, bytes: &[u8], expected: &[&str]) {
        let found: Vec<String> = read(name, bytes).unwrap().0.iter().map(summary).collect();
        assert_eq!(found, expected, "{name}");
    }

    /// Where each part lies when they are joined.
    fn offsets(parts: &[Vec<u8>]) -> Vec<usize> {
        parts.iter().scan(0, |sum, part| Some(std::mem::replace(sum, *sum + part.len()))).collect()
    }

    #[test]
    fn pages_come_out_of_every_packing_with_their_offsets() {
        let pack = |name: &str, pack: &dyn Fn(&[u8]) -> Vec<u8>| {
            let parts: Vec<Vec<u8>> = records().iter().map(|record| pack(record)).collect();
            let at = offsets(&parts);
            let expected = [
                format!("urn:a page a @{}", at[2]),
                format!("urn:c page c @{}", at[4]),
                format!("urn:d text d\n中文 @{}", at[5]),
            ];
            check(name, &parts.concat(), &expected.each_ref().map(String::as_str));
        };
        pack("x.warc", &<[u8]>::to_vec);
        pack("x.warc.gz", &gzip);
        pack("x.warc.zst", &zstd);
        let whole = ["urn:a page a @0", "urn:c page c @0", "urn:d text d\n中文 @0"];
        check("one.warc.gz", &gzip(&records().concat()), &whole);
        check("one.warc.zst", &zstd(&records().concat()), &whole);
    }

    #[test]
    fn what_is_passed_over_is_counted_and_what_is_known_is_kept() {
        let (found, reader) = read("x.warc", &records().concat()).unwrap();
        let passed = reader.limits().passed_over;
        let passed: Vec<(&str, u64)> =
            passed.iter().map(|(kind, &count)| (kind.as_str(), count)).collect();
        assert_eq!(passed, [("http_status", 1), ("metadata", 1), ("request", 1)]);
        let Record::Document(document) = &found[0] else { panic!("a page") };
        assert_eq!(document.url.as_deref(), Some("http://x/a"));
        let at = offsets(&records())[2];
        assert_eq!(origin(document), Origin::at_byte("x.warc", at as u64));
        let meta = serde_json::json!({
            "title": "T", "date": "2024-05-03T10:00:00Z",
            "content_type": "text/html; charset=utf-8", "charset": "UTF-8",
        });
        assert_eq!(Value::Object(document.meta.clone()), meta);
    }

    #[test]
    fn answers_are_taken_apart() {
        let (gbk, ..) = encoding_rs::GBK.encode("<p>中文网页的一段");
        let chunked = b"4\r\n<p>a\r\n3;x=y\r\nb c\r\n0\r\n\r\n";
        let mut brotli_page = vec![0x0b, 0x02, 0x80];
        brotli_page.extend(b"<p>br\x03");
        let bodies: [(&str, &[u8]); 6] = [
            ("Content-Type: text/html; charset=gb2312", &gbk),
            ("Content-Type: text/html\r\nTransfer-Encoding: chunked", chunked),
            ("Content-Type: text/html\r\nTransfer-Encoding: chunked", b"<p>no chunks"),
            ("Content-Type: text/html\r\nContent-Encoding: gzip", &gzip(b"<p>packed")),
            ("Content-Type: text/html\r\nContent-Encoding: br", &brotli_page),
            ("content-type: TEXT/PLAIN", b"a < b"),
        ];
        let expected = ["中文网页的一段", "ab c", "no chunks", "packed", "br", "a < b"];
        for ((fields, body), text) in bodies.iter().zip(expected) {
            let file = record("response", "a", &answer(fields, body));
            check("x.warc", &file, &[&format!("urn:a {text} @0")]);
        }
    }

    #[test]
    fn a_cut_file_ends_with_a_bad_record() {
        let parts: Vec<Vec<u8>> = records().iter().map(|record| gzip(record)).collect();
        let at = offsets(&parts);
        let whole = parts.concat();
        let bad = format!("bad @{} truncated: gzip data ends too early", at[4]);
        check("x.warc.gz", &whole[..at[5] - 9], &[&format!("urn:a page a @{}", at[2]), &bad]);
        let plain = records().concat();
        let at = offsets(&records());
        let (found, _) = read("x.warc", &plain[..at[5] - 30]).unwrap();
        let last = summary(found.last().unwrap());
        assert!(
            last.starts_with(&format!("bad @{} truncated: the file ends after", at[4])),
            "{last}"
        );
        let (found, _) = read("x.warc", &plain[..at[4] + 30]).unwrap();
        let last = summary(found.last().unwrap());
        assert!(last.ends_with("ends within the header of the record"), "{last}");
    }

    #[test]
    fn reading_goes_on_behind_damage() {
        let mut parts: Vec<Vec<u8>> = records().iter().map(|record| gzip(record)).collect();
        let middle = parts[2].len() / 2;
        parts[2].truncate(middle);
        let at = offsets(&parts);
        let (found, _) = read("x.warc.gz", &parts.concat()).unwrap();
        let found: Vec<String> = found.iter().map(summary).collect();
        assert!(found[0].starts_with(&format!("bad @{} ", at[2])), "{}", found[0]);
        assert_eq!(
            found[1..],
            [format!("urn:c page c @{}", at[4]), format!("urn:d text d\n中文 @{}", at[5])]
        );
        parts[2] = b"garbage between members".to_vec();
        let (found, _) = read("x.warc.gz", &parts.concat()).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(summary(&found[0]).contains("where a compressed member should begin"));
    }

    #[test]
    fn a_wrong_length_costs_no_other_record() {
        for (wrong, label) in [("90", "too large"), ("4", "too small"), ("x", "no number")] {
            let mut parts = records();
            let text = String::from_utf8(parts[2].clone()).unwrap();
            let length = text.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap();
            let wrong = if wrong == "90" { "400".to_owned() } else { wrong.to_owned() };
            let text = text.replace(&format!("Length: {length}"), &format!("Length: {wrong}"));
            parts[2] = text.into_bytes();
            let (found, _) = read("x.warc", &parts.concat()).unwrap();
            let found: Vec<String> = found.iter().map(summary).collect();
            assert!(found[0].contains("broken_record"), "{label}: {found:?}");
            assert!(found[1].starts_with("urn:c") && found.len() == 3, "{label}: {found:?}");
        }
    }

    #[test]
    fn a_dictionary_in_front_is_used() {
        let dictionary = records().concat().repeat(3);
        let mut file = vec![0x5d, 0x2a, 0x4d, 0x18];
        file.extend((dictionary.len() as u32).to_le_bytes());
        file.extend(&dictionary);
        for record in records() {
            let mut encoder = zstd::Encoder::with_dictionary(Vec::new(), 3, &dictionary).unwrap();
            encoder.write_all(&record).unwrap();
            file.extend(encoder.finish().unwrap());
        }
        let (found, _) = read("x.warc.zst", &file).unwrap();
        assert!(matches!(&found[0], Record::Document(page) if page.text == "page a"));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn bad_lengths_again_and_again_take_linear_time() {
        let record = "WARC/1.0\r\nContent-Length: 60000000\r\n\r\nx\r\n\r\n";
        let (found, _) = read("x.warc", record.repeat(20_000).as_bytes()).unwrap();
        assert!(!found.is_empty());
        let magic = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].repeat(100_000);
        read("x.warc.gz", &magic).unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..1500) {
            let _ = read("x.warc", &bytes);
            for pack in [<[u8]>::to_vec, gzip as fn(&[u8]) -> Vec<u8>, zstd] {
                let mut file: Vec<u8> = records().iter().flat_map(|record| pack(record)).collect();
                let at = at.min(file.len());
                file.splice(at..(at + 7).min(file.len()), bytes.iter().copied());
                let _ = read("x", &file);
            }
        }
    }
}
