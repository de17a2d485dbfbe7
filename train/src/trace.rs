//! A step as a picture: the spans of `bench.rs` as Chrome trace events, which Perfetto
//! (<https://ui.perfetto.dev>) and `chrome://tracing` open.
//!
//! Spans of one track that lie within each other are drawn below each other: step, micro-batches
//! and update, operations. Times are in microseconds, as the format wants.

use neo_backends::profile::{Span, SpanKind};
use serde_json::{Value, json};

/// Process and thread of every event: one device, one track.
const TRACK: u64 = 1;

/// The trace file's content; time 0 is where the first span begins.
pub fn chrome_trace(title: &str, spans: &[Span]) -> Value {
    let mut spans: Vec<&Span> = spans.iter().collect();
    // What begins first and ends last comes first: a stage before what it holds.
    spans.sort_by_key(|span| (span.started, std::cmp::Reverse(span.duration)));
    let name = json!({
        "name": "process_name", "ph": "M", "pid": TRACK, "tid": TRACK, "args": { "name": title },
    });
    let begin = spans.first().map(|span| span.started);
    let events = spans.iter().map(|span| {
        let category = match span.kind {
            SpanKind::Operation => "operation",
            SpanKind::Stage => "stage",
        };
        let since = begin.map_or_else(Default::default, |begin| span.started - begin);
        json!({
            "name": span.name,
            "cat": category,
            "ph": "X",
            "ts": since.as_secs_f64() * 1e6,
            "dur": span.duration.as_secs_f64() * 1e6,
            "pid": TRACK,
            "tid": TRACK,
        })
    });
    json!({
        "displayTimeUnit": "ms",
        "traceEvents": std::iter::once(name).chain(events).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn spans_become_events_from_time_0() {
        let begin = Instant::now();
        let span = |name, kind, from: u64, micros| Span {
            name,
            kind,
            started: begin + Duration::from_micros(from),
            duration: Duration::from_micros(micros),
        };
        // In the order of their ends, as they are measured.
        let spans = [
            span("linear", SpanKind::Operation, 5, 20),
            span("rope", SpanKind::Operation, 25, 10),
            span("step", SpanKind::Stage, 5, 40),
        ];
        let trace = chrome_trace("tiny", &spans);
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events[0]["args"]["name"], "tiny");
        let listed: Vec<_> = events[1..]
            .iter()
            .map(|event| {
                let micros = |key: &str| event[key].as_f64().unwrap().round() as u64;
                (event["name"].as_str().unwrap(), micros("ts"), micros("dur"))
            })
            .collect();
        assert_eq!(listed, [("step", 0, 40), ("linear", 0, 20), ("rope", 20, 10)]);
        assert_eq!(events[1]["cat"], "stage");
        assert_eq!(events[2]["ph"], "X");
    }
}
