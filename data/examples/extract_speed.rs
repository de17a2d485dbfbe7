//! Times the way from WARC to text on one thread, or shows what comes out.
//!
//! `cargo run --release --example extract_speed -- FILE.warc.gz.. [--show]`

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::time::Instant;

use neo_data::{
    Language, Result,
    read::{Format, Reader, Record, Source},
};

/// Passes over the files; the fastest counts.
const N_PASSES: usize = 10;

fn main() -> Result<()> {
    let (flags, input): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let source = Source::new("pages", Language::Other, input, Format::Warc);
    if flags.iter().any(|flag| flag == "--show") {
        for record in Reader::open(&source)? {
            match record? {
                Record::Bad(bad) => println!("=== bad: {} {}\n", bad.place, bad.detail),
                Record::Document(page) => println!(
                    "=== {}\n=== {:?}\n{}\n",
                    page.url.unwrap_or_default(),
                    page.meta.get("title"),
                    page.text
                ),
            }
        }
        return Ok(());
    }
    let (mut best, mut n_pages, mut n_bytes) = (f64::INFINITY, 0, 0);
    for _ in 0..N_PASSES {
        let start = Instant::now();
        (n_pages, n_bytes) = (0, 0);
        for record in Reader::open(&source)? {
            if let Record::Document(page) = record? {
                n_pages += 1;
                n_bytes += page.text.len();
            }
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    let rate = f64::from(n_pages) / best;
    println!("{n_pages} pages, {n_bytes} bytes of text, {rate:.0} pages/s");
    Ok(())
}
