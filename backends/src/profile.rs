//! Where the time of a step goes: a span of time for every call of an operation, while somebody asks.
//!
//! Each operation of `kernels/` starts a timer in its first line. Unless [`measure`] is running the
//! timer does nothing. Inside, it waits for the device at the end of every operation, so the
//! seconds are the operation's own, and a step takes a little longer than unobserved. Callers mark
//! the stages of their work with [`stage`], which hold operations.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

static IS_MEASURING: AtomicBool = AtomicBool::new(false);
static SPANS: Mutex<Vec<Span>> = Mutex::new(Vec::new());

/// One stretch of time, from beginning to end of an operation or a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The operation's file in `kernels/`, or the stage.
    pub name: &'static str,
    /// What it is a span of.
    pub kind: SpanKind,
    /// When it began.
    pub started: Instant,
    /// How long it took.
    pub duration: Duration,
}

/// What a [`Span`] is a span of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A call of an operation.
    Operation,
    /// A part of the work that holds operations and other stages.
    Stage,
}

/// What one operation took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OperationTime {
    /// Number of calls.
    pub calls: u64,
    /// Time of all calls.
    pub total: Duration,
}

/// Runs `work` and returns the spans of all operations and stages inside, in the order of their ends.
///
/// For one caller at a time: a second one at the same time would see the first one's operations.
pub fn measure<R>(work: impl FnOnce() -> R) -> (R, Vec<Span>) {
    spans().clear();
    IS_MEASURING.store(true, Ordering::SeqCst);
    let result = work();
    IS_MEASURING.store(false, Ordering::SeqCst);
    (result, std::mem::take(&mut *spans()))
}

/// What each operation took in sum, by name.
pub fn by_operation(spans: &[Span]) -> BTreeMap<&'static str, OperationTime> {
    let mut times = BTreeMap::<_, OperationTime>::new();
    for span in spans.iter().filter(|span| span.kind == SpanKind::Operation) {
        let time = times.entry(span.name).or_default();
        time.calls += 1;
        time.total += span.duration;
    }
    times
}

/// Marks the rest of the calling scope as the stage `name`, if [`measure`] is running.
#[must_use = "the stage ends where this is dropped"]
pub fn stage(name: &'static str, device: &Device) -> Option<Timer> {
    start(name, SpanKind::Stage, || device.clone())
}

/// Times the rest of the calling scope as part of `operation`, if [`measure`] is running.
#[must_use = "the timer ends where it is dropped"]
pub(crate) fn timer<const D: usize>(operation: &'static str, on: &Tensor<D>) -> Option<Timer> {
    start(operation, SpanKind::Operation, || on.device())
}

fn start(name: &'static str, kind: SpanKind, device: impl FnOnce() -> Device) -> Option<Timer> {
    IS_MEASURING.load(Ordering::Relaxed).then(|| {
        let device = device();
        wait(&device);
        Timer { name, kind, device, started: Instant::now() }
    })
}

/// Whether [`measure`] is running.
pub(crate) fn is_measuring() -> bool {
    IS_MEASURING.load(Ordering::Relaxed)
}

/// Leaves a span of what has gone on since `started` as a call of `operation`.
pub(crate) fn record(operation: &'static str, started: Instant) {
    record_span(operation, SpanKind::Operation, started);
}

fn record_span(name: &'static str, kind: SpanKind, started: Instant) {
    spans().push(Span { name, kind, started, duration: started.elapsed() });
}

/// A running clock; it leaves a [`Span`] where it is dropped.
pub struct Timer {
    name: &'static str,
    kind: SpanKind,
    device: Device,
    started: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        wait(&self.device);
        record_span(self.name, self.kind, self.started);
    }
}

/// Waits until the device has done what it was given.
fn wait(device: &Device) {
    if let Err(problem) = device.sync() {
        tracing::warn!(%problem, "the device could not be waited for; times are not its own");
    }
}

fn spans() -> std::sync::MutexGuard<'static, Vec<Span>> {
    SPANS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_inside_is_counted() {
        let device = Device::flex();
        let tensor = Tensor::<1>::ones([4], &device);
        drop(timer("outside", &tensor));
        let ((), spans) = measure(|| {
            let _stage = stage("all", &device);
            for _ in 0..3 {
                let _timer = timer("inside", &tensor);
            }
        });
        let times = by_operation(&spans);
        assert_eq!(times.keys().copied().collect::<Vec<_>>(), ["inside"]);
        assert_eq!(times["inside"].calls, 3);
        let (all, inside) = spans.split_last().unwrap();
        assert_eq!((all.name, all.kind), ("all", SpanKind::Stage));
        assert!(inside.iter().map(|span| span.duration).sum::<Duration>() <= all.duration);
    }
}
