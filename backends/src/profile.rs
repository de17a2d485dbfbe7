//! Where the time of a step goes: seconds per operation, while somebody asks.
//!
//! Each operation of `kernels/` starts a timer in its first line. Unless [`measure`] is running the
//! timer does nothing. Inside, it waits for the device at the end of every operation, so the
//! seconds are the operation's own, and a step takes a little longer than unobserved.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

static IS_MEASURING: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<BTreeMap<&'static str, OperationTime>> = Mutex::new(BTreeMap::new());

/// What one operation took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OperationTime {
    /// Number of calls.
    pub calls: u64,
    /// Time of all calls.
    pub total: Duration,
}

/// Runs `work` and returns what each operation took inside, by name.
///
/// For one caller at a time: a second one at the same time would see the first one's operations.
pub fn measure<R>(work: impl FnOnce() -> R) -> (R, BTreeMap<&'static str, OperationTime>) {
    times().clear();
    IS_MEASURING.store(true, Ordering::SeqCst);
    let result = work();
    IS_MEASURING.store(false, Ordering::SeqCst);
    (result, std::mem::take(&mut *times()))
}

/// Times the rest of the calling scope as part of `operation`, if [`measure`] is running.
#[must_use = "the timer ends where it is dropped"]
pub(crate) fn timer<const D: usize>(operation: &'static str, on: &Tensor<D>) -> Option<Timer> {
    IS_MEASURING.load(Ordering::Relaxed).then(|| {
        let device = on.device();
        wait(&device);
        Timer { operation, device, started: Instant::now() }
    })
}

/// Whether [`measure`] is running.
pub(crate) fn is_measuring() -> bool {
    IS_MEASURING.load(Ordering::Relaxed)
}

/// Counts what has gone on since `started` as part of `operation`.
pub(crate) fn record(operation: &'static str, started: Instant) {
    let mut times = times();
    let time = times.entry(operation).or_default();
    time.calls += 1;
    time.total += started.elapsed();
}

/// A running clock of one operation.
pub(crate) struct Timer {
    operation: &'static str,
    device: Device,
    started: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        wait(&self.device);
        record(self.operation, self.started);
    }
}

/// Waits until the device has done what it was given.
fn wait(device: &Device) {
    if let Err(problem) = device.sync() {
        tracing::warn!(%problem, "the device could not be waited for; times are not its own");
    }
}

fn times() -> std::sync::MutexGuard<'static, BTreeMap<&'static str, OperationTime>> {
    TIMES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_inside_is_counted() {
        let tensor = Tensor::<1>::ones([4], &Device::flex());
        drop(timer("outside", &tensor));
        let ((), times) = measure(|| {
            for _ in 0..3 {
                let _timer = timer("inside", &tensor);
            }
        });
        assert_eq!(times.keys().copied().collect::<Vec<_>>(), ["inside"]);
        assert_eq!(times["inside"].calls, 3);
    }
}
