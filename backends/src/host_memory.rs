//! Host memory that is freed stays with the process, in one pool.
//!
//! A step allocates the same large buffers over and over. glibc gives each back to the system and
//! gets it again page by page: measured as half of a training step's time on two cores. It also opens
//! another pool whenever two threads happen to allocate at once, and what is freed there stays there:
//! 2.4 MiB more at some step or other of 2,000, measured on `demo_small`.
//! Nothing is done where the C library is not glibc.

/// Tells the C allocator to keep freed memory for the next allocation, and to open no further pool.
///
/// Good for few large buffers, as tensors are, and bad for many small ones of many threads: the verbs that clean text
/// kept 500 MiB more than they used. So only a program that opens the CPU as its device calls it.
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
