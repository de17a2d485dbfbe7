//! Host memory: how much there is, and where it goes when it is freed: how the C allocator is told.
//!
//! A training step allocates the same large buffers over and over. glibc gives each back to the system and
//! gets it again page by page: measured as half of a training step's time on two cores. It also opens
//! another pool whenever two threads happen to allocate at once, and what is freed there stays there:
//! 2.4 MiB more at some step or other of 2,000, measured on `demo_small`.
//! Nothing is done where the C library is not glibc.

/// Tells the C allocator that threads share its pools, eight to a pool. To be called once, when a program starts.
///
/// By itself it opens eight pools for each processor, and each keeps what is freed in it: cleaning text on two threads
/// took twice the memory, at the same speed.
pub fn share_pools() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let n_pools = n_threads.div_ceil(8).try_into().unwrap_or(1);
        // SAFETY: `mallopt` only sets parameters of the allocator and takes any value.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, n_pools);
        }
    }
}

/// Tells the C allocator to keep freed memory for the next allocation, and to open no further pool: good for few large
/// buffers, as tensors are. For a program that opens the CPU as its device.
#[cfg(feature = "flex")]
pub(crate) fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only sets parameters of the allocator and takes any value.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// A field in KiB of one of the system's tables, in bytes, where there are such tables (Linux).
pub fn field(table: &str, name: &str) -> Option<u64> {
    let table = std::fs::read_to_string(table).ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
