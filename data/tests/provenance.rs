//! The origin of a document leads back to its record, in every format and packing, and through a recipe's stages.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use neo_data::{
    Document, Language, Origin,
    read::{Format, Reader, Record, Source, split::split},
    write::{FileFormat, Writer},
};

fn source(input: &Path, format: Format) -> Source {
    Source::new("s", Language::En, vec![input.to_string_lossy().into_owned()], format)
}

fn documents(source: &Source) -> Vec<Document> {
    let records = Reader::open(source).unwrap().map(Result::unwrap);
    let documents = records.filter_map(|record| match record {
        Record::Document(document) => Some(document),
        Record::Bad(_) => None,
    });
    documents.collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What lies at an origin, up to the end of the file, as its documentation says.
fn bytes_at(folder: &Path, origin: &Origin) -> Vec<u8> {
    let mut file = File::open(folder.join(&origin.file)).unwrap();
    file.seek(SeekFrom::Start(origin.byte.unwrap())).unwrap();
    let mut bytes = Vec::new();
    match origin.file.rsplit('.').next() {
        Some("gz") => drop(flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes)),
        Some("zst") => drop(zstd::Decoder::new(file).unwrap().read_to_end(&mut bytes)),
        _ => drop(file.read_to_end(&mut bytes)),
    }
    bytes.split_off(origin.unpacked_byte.unwrap_or(0) as usize)
}

/// Reads a file of this content, plain and packed, from a folder; every origin leads to what `begins` a document.
fn check(name: &str, format: Format, content: &[u8], begins: impl Fn(&Document) -> String) {
    let packings = [("", content.to_vec()), (".gz", gzip(content))];
    let zst = (".zst", zstd::encode_all(content, 1).unwrap());
    for (ending, bytes) in packings.into_iter().chain([zst]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        let file = format!("deep/{name}{ending}");
        std::fs::write(folder.path().join(&file), bytes).unwrap();
        let mut source = source(folder.path(), format);
        source.extensions = Some(vec![name.rsplit('.').next().unwrap().to_owned()]);
        let found = documents(&source);
        assert!(found.len() >= if name.contains("whole") { 1 } else { 2 }, "{file}: {found:?}");
        for document in found {
            let origin = document.origin.clone().unwrap();
            assert_eq!(origin.file, file);
            let there = bytes_at(folder.path(), &origin);
            let begins = begins(&document);
            assert!(there.starts_with(begins.as_bytes()), "{file} {origin:?}: {begins}");
        }
    }
}

#[test]
fn origins_lead_back_to_records_of_every_format() {
    let jsonl = "\u{feff}{\"text\":\"one\",\"id\":\"a\"}\n\nno json\n{\"text\":\"zwei 文\",\"id\":\"b\"}\n{\"text\":\"three\",\"id\":\"c\"}";
    check("x.jsonl", Format::Jsonl, jsonl.as_bytes(), |d| format!("{{\"text\":\"{}\"", d.text));
    let text = "\u{feff}first 文\r\nsecond line\n\n\nthird\nfourth\n".as_bytes();
    check("x.txt", Format::Lines, text, |d| d.text.clone());
    check("x.txt", Format::Paragraphs, text, |d| d.text.lines().next().unwrap().to_owned());
    let articles = b" = One = \n text\n = Two = \n more\n";
    check("x.txt", Format::Articles, articles, |d| d.text.clone());
    check("whole.txt", Format::Text, b"a\nb\n", |d| d.text.clone());
    check("whole.rs", Format::Tree, b"fn main() {}\n", |d| d.text.clone());
}

#[test]
fn origins_of_pages_lead_to_their_records() {
    let record = |id: usize| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\npage {id}");
        let head = format!("WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:{id}>\r\n");
        format!("{head}Content-Length: {}\r\n\r\n{answer}\r\n\r\n", answer.len())
    };
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<String> = (0..4).map(record).collect();
    let members: Vec<u8> = records.iter().flat_map(|record| gzip(record.as_bytes())).collect();
    for (name, bytes) in [
        ("x.warc", records.concat().into_bytes()),
        ("x.warc.gz", members),
        ("whole.warc.gz", gzip(records.concat().as_bytes())),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let found = documents(&source(&folder.path().join(name), Format::Warc));
        assert_eq!(found.len(), 4, "{name}");
        for (document, record) in found.iter().zip(&records) {
            let there = bytes_at(folder.path(), document.origin.as_ref().unwrap());
            assert!(there.starts_with(record.as_bytes()), "{name} {:?}", document.origin);
        }
    }
}

#[test]
fn rows_count_from_0_and_origins_of_own_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw.jsonl");
    std::fs::write(&raw, "{\"text\":\"one\"}\n{\"text\":\"two and more than that\"}\n").unwrap();
    let first = documents(&source(&raw, Format::Jsonl));
    for (format, read_as) in
        [(FileFormat::Parquet, Format::Parquet), (FileFormat::Jsonl, Format::Jsonl)]
    {
        let mut writer = Writer::create(folder.path(), "kept", format).unwrap();
        first.iter().for_each(|document| writer.push(document).unwrap());
        let kept = writer.finish().unwrap();
        assert_eq!(documents(&source(&kept, read_as)), first);
    }
    let parts = split(first[1].clone(), 16);
    assert!(parts.len() > 1 && parts.iter().all(|part| part.origin == first[1].origin));
    // A table of somebody else's: only its text is known.
    let foreign = Source {
        text_field: "id".to_owned(),
        id_field: "none".to_owned(),
        ..source(&folder.path().join("kept.parquet"), Format::Parquet)
    };
    let rows: Vec<Option<u64>> =
        documents(&foreign).iter().map(|document| document.origin.as_ref().unwrap().row).collect();
    assert_eq!(rows, [Some(0), Some(1)]);
}
