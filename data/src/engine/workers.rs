//! Many units at a time: a thread for each that reads and writes, as many as the thread pool has.
//!
//! They are no threads of the pool: what a unit computes may go to the pool, and a thread that waits for it takes
//! up no second unit meanwhile, so that memory stays that of one unit a thread.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use crate::Result;

/// Does a job for every item, several at a time; results come in the order of the items.
///
/// # Errors
/// That of the first item, in order, among those that failed; items not begun then are left out.
pub(crate) fn for_each<T: Sync, R: Send>(
    items: &[T],
    job: impl Fn(usize, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let n_threads = rayon::current_num_threads().min(items.len());
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        while !failed.load(Relaxed) {
            let index = next.fetch_add(1, Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = job(index, item);
            failed.fetch_or(result.is_err(), Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| (0..n_threads).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_come_in_order_and_the_first_failure_counts() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = for_each(&items, |index, item| Ok(index + item)).unwrap();
        assert_eq!(doubled, items.iter().map(|item| 2 * item).collect::<Vec<_>>());
        let refuse = |_: usize, &item: &usize| match item % 10 {
            7 => Err(Error::Setting(item.to_string())),
            _ => Ok(item),
        };
        assert_eq!(for_each(&items, refuse).unwrap_err().to_string(), "7");
        assert_eq!(for_each(&[] as &[u8], |_, _| Ok(0)).unwrap(), [0; 0]);
    }
}
