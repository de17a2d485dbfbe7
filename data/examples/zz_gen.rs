//! Temporary.
use neo_data::sample::*;
use std::io::Write;
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut o = std::io::stdout().lock();
    let s = write(
        std::path::Path::new(&std::env::args().nth(2).unwrap()),
        &SampleSettings { seed: 42, documents: n, junk_share: 0.2 },
    )
    .unwrap();
    writeln!(o, "{s:?}").unwrap();
    for src in Source::ALL {
        let (mut b, mut c, mut h) = (0, 0, 0.0);
        let m = 300;
        for i in 0..m {
            let d = document(1, src, i);
            b += d.text.len();
            c += d.text.chars().count();
            h += d.meta["nats"].as_f64().unwrap();
        }
        writeln!(
            o,
            "{src:?} bytes/doc {} chars/doc {} nats/doc {} bpb {:.3}",
            b / m,
            c / m,
            h / m as f64,
            h / std::f64::consts::LN_2 / b as f64
        )
        .unwrap();
        for i in 0..3 {
            writeln!(o, "---- {}\n{}", document(1, src, i).meta["nats"], document(1, src, i).text)
                .unwrap();
        }
    }
}
