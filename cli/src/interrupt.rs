//! Signals: a polite request to stop becomes a flag that long work polls; a closed pipe ends the
//! program without noise.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::flag;

/// Exit code of a process that a second signal ends before it could save.
const ABANDONED: i32 = 1;

/// A flag that the first SIGINT or SIGTERM raises; a second one ends the process at once.
///
/// # Errors
/// When the system refuses the handlers.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Order matters: the shutdown acts only once the flag is up, that is on the second signal.
        flag::register_conditional_shutdown(signal, ABANDONED, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Makes a reader that goes away (`neo … | head`) a success instead of a panic inside `println!`.
///
/// # Errors
/// When the system refuses the handler.
pub(crate) fn end_quietly_on_broken_pipe() -> io::Result<()> {
    flag::register_conditional_shutdown(SIGPIPE, 0, Arc::new(AtomicBool::new(true)))?;
    Ok(())
}
