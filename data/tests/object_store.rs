//! Sources in object stores, against a server in the test that speaks enough of S3: listings, ranges, and what goes
//! wrong on the way.

#![expect(clippy::unwrap_used, reason = "the server is part of the test")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use neo_data::{
    Error, Language, Result,
    read::{Format, Reader, Record, Source},
    store::{Keys, Settings, Store},
};

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Status(u16),
    /// The body ends in the middle.
    Torn,
}

/// Says what goes wrong with the request of a number, given its first line.
type Faults = Arc<dyn Fn(usize, &str) -> Fault + Send + Sync>;

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves the objects of a bucket.
    fn start(
        objects: &[(&str, Vec<u8>)],
        faults: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let objects = objects.iter().map(|(key, content)| ((*key).to_owned(), content.clone()));
        let objects: Arc<BTreeMap<String, Vec<u8>>> = Arc::new(objects.collect());
        let (seen, faults): (_, Faults) = (Arc::clone(&requests), Arc::new(faults));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (objects, seen) = (Arc::clone(&objects), Arc::clone(&seen));
                let faults = Arc::clone(&faults);
                std::thread::spawn(
                    move || while serve(&stream, &objects, &seen, &faults).is_some() {},
                );
            }
        });
        Self { address, requests }
    }

    fn source(&self, address: &str, format: Format) -> Source {
        let keys = Keys { id: "id".into(), secret: "secret".into(), session: None };
        let settings =
            Settings { endpoint: Some(self.address.clone()), region: None, keys: Some(keys) };
        let mut source = Source::new("s", Language::En, vec![address.to_owned()], format);
        source.store = Store::new(settings);
        source
    }

    fn n_requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Answers one request; `None` when the connection is over.
fn serve(
    mut stream: &TcpStream,
    objects: &BTreeMap<String, Vec<u8>>,
    seen: &Mutex<Vec<String>>,
    faults: &Faults,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut range = None;
    for line in lines {
        let line = line.ok()?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            let (start, end) = value.split_once('-')?;
            range = Some(start.parse::<usize>().ok()?..end.parse::<usize>().ok()? + 1);
        }
    }
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(first.clone());
        seen.len() - 1
    };
    let fault = faults(number, &first);
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.replace("%20", " ");
    let (status, body) = match (fault, path.strip_prefix("/bucket/"), path.as_str()) {
        (Fault::Status(status), ..) => (status, b"<Error><Code>Refused</Code></Error>".to_vec()),
        (_, _, "/bucket") | (_, Some(""), _) => (200, listing(objects, query)),
        (_, Some(key), _) => match (objects.get(key), range.clone()) {
            (None, _) => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            (Some(content), None) => (200, content.clone()),
            (Some(content), Some(range)) => (206, content[range].to_vec()),
        },
        _ => (404, b"<Error><Code>NoSuchBucket</Code></Error>".to_vec()),
    };
    let mut head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nETag: \"e\"\r\n", body.len());
    head += "Last-Modified: Fri, 03 May 2024 10:00:00 GMT\r\n";
    if let (206, Some(range), Some(content)) =
        (status, range, path.strip_prefix("/bucket/").and_then(|key| objects.get(key)))
    {
        head += &format!(
            "Content-Range: bytes {}-{}/{}\r\n",
            range.start,
            range.end - 1,
            content.len()
        );
    }
    let n_sent = if fault == Fault::Torn { body.len() / 2 } else { body.len() };
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&body[..n_sent]).ok()?;
    }
    if fault == Fault::Torn {
        stream.shutdown(std::net::Shutdown::Both).ok()?;
        return None;
    }
    Some(())
}

fn listing(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> Vec<u8> {
    let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = prefix.replace("%2F", "/");
    let entries =
        objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(key, content)| {
            format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><ETag>\"e\"</ETag>\
             <LastModified>2024-05-03T10:00:00.000Z</LastModified></Contents>",
                content.len()
            )
        });
    let entries: String = entries.collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>").into()
}

fn jsonl(name: &str, n_lines: usize) -> Vec<u8> {
    (0..n_lines).flat_map(|i| format!("{{\"text\":\"{name} {i}\"}}\n").into_bytes()).collect()
}

fn objects() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("raw/b.jsonl.zst", zstd::encode_all(&jsonl("b", 2)[..], 1).unwrap()),
        ("raw/a.jsonl", jsonl("a", 1)),
        ("raw/deep/c.jsonl", jsonl("c", 1)),
        ("raw/notes.txt", b"no".to_vec()),
    ]
}

/// `id text` of every document.
fn read(source: &Source) -> Result<Vec<String>> {
    let mut reader = Reader::open(source)?;
    let records = reader.by_ref().map(|record| match record? {
        Record::Document(document) => Ok(format!("{} {}", document.id, document.text)),
        Record::Bad(bad) => Ok(format!("bad {}", bad.place)),
    });
    let records = records.collect::<Result<Vec<_>>>()?;
    let (done, total) = reader.progress();
    assert_eq!(done, total, "progress ends at the end");
    Ok(records)
}

#[test]
fn patterns_folders_and_single_objects_are_read() {
    let server = Server::start(&objects(), |_, _| Fault::None);
    let check = |address: &str, expected: &[&str]| {
        assert_eq!(read(&server.source(address, Format::Jsonl)).unwrap(), expected, "{address}");
    };
    check("s3://bucket/raw/*.jsonl*", &["s/a.jsonl:1 a 0", "s/b.jsonl:1 b 0", "s/b.jsonl:2 b 1"]);
    check("s3://bucket/raw/a.jsonl", &["s/a.jsonl:1 a 0"]);
    check("s3://bucket/raw/deep/", &["s/c.jsonl:1 c 0"]);
    check("s3://bucket/raw/d*/c.jsonl", &["s/deep/c.jsonl:1 c 0"]);
    let all = ["s/a.jsonl:1 a 0", "s/b.jsonl:1 b 0", "s/b.jsonl:2 b 1", "s/deep/c.jsonl:1 c 0"];
    check("s3://bucket/raw", &all);
}

#[test]
fn the_format_of_a_folder_is_that_of_its_names() {
    let objects = [("j/a.jsonl.gz", vec![]), ("j/b.json", vec![]), ("m/a.jsonl", vec![])];
    let others = [("m/b.parquet", vec![]), ("t/read.me", vec![]), ("one.warc.gz", vec![])];
    let server = Server::start(&[&objects[..], &others].concat(), |_, _| Fault::None);
    let store = server.source("s3://bucket/", Format::Text).store;
    let format = |address: &str| Format::of_input(address, &store);
    assert_eq!(format("s3://bucket/j/").unwrap(), Format::Jsonl);
    assert_eq!(format("s3://bucket/j").unwrap(), Format::Jsonl);
    assert_eq!(format("s3://bucket/one.warc.gz").unwrap(), Format::Warc);
    let several = format("s3://bucket/m/").unwrap_err().to_string();
    assert!(several.contains("of several formats, such as `a.jsonl` and `b.parquet`"), "{several}");
    let none = format("s3://bucket/t/").unwrap_err();
    assert!(none.is_input() && none.to_string().contains("`s3://bucket/t/`"), "{none}");
}

#[test]
fn a_large_object_comes_in_ranges_and_parquet_in_pieces() {
    let big = jsonl("a rather long line of text that fills the file", 300_000);
    assert!(big.len() > 16 << 20);
    let server = Server::start(&[("big.jsonl", big)], |_, _| Fault::None);
    assert_eq!(
        read(&server.source("s3://bucket/big.jsonl", Format::Jsonl)).unwrap().len(),
        300_000
    );
    assert!(server.n_requests() >= 4);
    let dir = tempfile::tempdir().unwrap();
    let mut writer =
        neo_data::write::Writer::create(dir.path(), "d", neo_data::write::FileFormat::Parquet)
            .unwrap();
    let file = dir.path().join("a.jsonl");
    std::fs::write(&file, jsonl("p", 3)).unwrap();
    let local = Source::new("s", Language::En, vec![file.to_string_lossy().into()], Format::Jsonl);
    for record in Reader::open(&local).unwrap() {
        let Record::Document(document) = record.unwrap() else { panic!("a document") };
        writer.push(&document).unwrap();
    }
    let parquet = std::fs::read(writer.finish().unwrap()).unwrap();
    let server = Server::start(&[("d.parquet", parquet)], |_, _| Fault::None);
    let found = read(&server.source("s3://bucket/d.parquet", Format::Parquet)).unwrap();
    assert_eq!(found.last().unwrap(), "s/a.jsonl:3 p 2");
}

#[test]
fn a_busy_store_and_a_torn_body_are_tried_again() {
    let busy = Server::start(&objects(), |number, _| match number {
        0 | 2 => Fault::Status(503),
        _ => Fault::None,
    });
    assert_eq!(read(&busy.source("s3://bucket/raw/a.jsonl", Format::Jsonl)).unwrap().len(), 1);
    assert!(busy.n_requests() >= 4);
    let torn = Server::start(&objects(), |number, first| {
        if number < 2 && first.starts_with("GET") { Fault::Torn } else { Fault::None }
    });
    assert_eq!(read(&torn.source("s3://bucket/raw/a.jsonl", Format::Jsonl)).unwrap().len(), 1);
}

/// An error that names the address, says what happened, and comes soon.
fn check_error(source: &Source, is_input: bool, expected: &str) {
    let start = Instant::now();
    let error = read(source).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(30), "{error}");
    let Error::Store { address, problem, hint, .. } = &error else { panic!("{error:?}") };
    assert!(address.starts_with("s3://bucket") && !hint.is_empty(), "{error}");
    assert!(problem.contains(expected), "{error}");
    assert_eq!(error.is_input(), is_input, "{error}");
}

#[test]
fn refusals_say_what_happened() {
    let check = |address: &str, fault: Fault, is_input: bool, expected: &str| {
        let server = Server::start(&objects(), move |_, _| fault);
        check_error(&server.source(address, Format::Jsonl), is_input, expected);
    };
    check("s3://bucket/raw/*", Fault::Status(403), true, "access is denied (403)");
    check("s3://bucket/raw/a.jsonl", Fault::Status(403), true, "access is denied (403)");
    check("s3://bucket/raw/*", Fault::Status(404), true, "no such object or bucket (404)");
    check("s3://bucket/raw/*", Fault::Status(503), false, "503");
    let always_torn =
        Server::start(
            &objects(),
            |_, first| {
                if first.starts_with("GET") { Fault::Torn } else { Fault::None }
            },
        );
    let source = always_torn.source("s3://bucket/raw/a.jsonl", Format::Jsonl);
    let error = read(&source).unwrap_err();
    assert!(!error.is_input() && error.to_string().contains("s3://bucket/raw/a.jsonl"), "{error}");
}

#[test]
fn what_is_not_reached_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let source = |endpoint: &str| {
        let mut source =
            Source::new("s", Language::En, vec!["s3://bucket/x/*.jsonl".into()], Format::Jsonl);
        let endpoint = Some(endpoint.to_owned());
        source.store = Store::new(Settings { endpoint, ..Settings::default() });
        source
    };
    check_error(&source(&closed), false, "connection is refused");
    check_error(&source("http://no-such-host.invalid"), true, "DNS");
}

#[test]
fn nothing_found_is_an_error_and_secrets_are_not_shown() {
    let server = Server::start(&objects(), |_, _| Fault::None);
    let source = server.source("s3://bucket/raw/*.parquet", Format::Jsonl);
    assert_eq!(
        read(&source).unwrap_err().to_string(),
        "nothing matches `s3://bucket/raw/*.parquet`"
    );
    assert!(!format!("{source:?}").contains("secret\""), "{source:?}");
    let source = server.source("s3:///raw", Format::Jsonl);
    assert!(read(&source).unwrap_err().to_string().contains("names no bucket"));
}

#[test]
fn a_web_address_is_one_file() {
    let server = Server::start(&objects(), |_, _| Fault::None);
    let address = format!("{}/bucket/raw/a.jsonl", server.address);
    assert_eq!(read(&server.source(&address, Format::Jsonl)).unwrap(), ["s/a.jsonl:1 a 0"]);
}
