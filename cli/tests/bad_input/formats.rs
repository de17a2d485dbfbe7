//! The real binary on bad input: formats of documents and object stores that refuse.

use std::io::Write as _;

use crate::program::Workplace;
use crate::{FAILED, WRONG_INPUT, ids};

#[test]
fn a_missing_column_is_told_with_those_that_are_there() {
    let place = Workplace::new();
    place.write("in.jsonl", "{\"text\":\"one line\"}\n");
    place.neo(&["data", "ingest", "--input", "in.jsonl", "--out", "out"]).check(0, &[]);
    let filter = ["data", "filter", "--rules", "basic", "--input", "out/documents.parquet"];
    place
        .neo(&[&filter[..], &["--out", "next", "--text-field", "body"]].concat())
        .check(WRONG_INPUT, &["out/documents.parquet", "no column `body`, found `id`, `text`"]);
    assert!(!place.path("next/kept.parquet").exists());
}

#[test]
fn a_warc_cut_in_the_middle_loses_its_end_and_no_more() {
    let place = Workplace::new();
    let record = |id: usize| {
        let page = format!("<html><p>The text of page number {id}, and {}.</p>", id * 7919 % 1009);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}");
        format!(
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:{id}>\r\n\
             Content-Length: {}\r\n\r\n{answer}\r\n\r\n",
            answer.len()
        )
    };
    let mut file = Vec::new();
    for id in 0..20 {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        encoder.write_all(record(id).as_bytes()).expect("memory is writable");
        file = encoder.finish().expect("memory is writable");
    }
    file.truncate(file.len() * 3 / 4);
    place.write("cut.warc.gz", file);
    place
        .neo(&["data", "ingest", "--input", "cut.warc.gz", "--out", "out", "--format", "jsonl"])
        .check(0, &[]);
    let dropped = fs_err::read_to_string(place.path("out/dropped.jsonl")).expect("a result");
    assert_eq!(dropped.lines().count(), 1);
    assert!(dropped.contains("truncated") && dropped.contains("cut.warc.gz:"), "{dropped}");
    assert!((10..20).contains(&ids(&place, "documents").len()));
}

#[test]
fn a_store_that_refuses_is_named_within_seconds() {
    let place = Workplace::new();
    // A port that was free a moment ago, on which nothing listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let ingest = ["data", "ingest", "--input", "s3://pages/raw/*.jsonl", "--out", "out"];
    let started = std::time::Instant::now();
    let output = place
        .command(&ingest)
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env_remove("AWS_ENDPOINT_URL_S3")
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(FAILED), "{told}");
    for part in
        ["`s3://pages/raw/*.jsonl`: the connection is refused", "hint: is the service running"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert!(started.elapsed().as_secs() < 30, "{told}");
}
