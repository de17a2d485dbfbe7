//! Counts the operations that a device could not run in their fast form.
//!
//! A fallback is correct but slow, so it is never silent: the first one of each operation is
//! warned about, all are counted, and tests and benchmarks assert that the count is 0.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static WARNED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Number of operations since the program started that ran in a slower form than they should.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Counts one fallback of `operation` and warns the first time, with the reason.
pub(crate) fn note(operation: &'static str, reason: &str) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let mut warned = WARNED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if warned.insert(operation) {
        tracing::warn!(operation, reason, "running the slow form of this operation");
    }
}
