//! Calls into a decoder whose checks of damaged files have holes: where it panics, the file is to blame.
//!
//! What a panic prints is for programmers, and a damaged file is a user's matter: it is told as an error. So panics of
//! a guarded call are silent; those of other threads, and of this one before and after, are told as ever.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether a guarded call is at work on this thread.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Makes panics of guarded calls silent and passes others on to who told them before.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                tell(panic);
            }
        }));
    });
}

/// The result of a call; `None` when it panicked.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    install();
    let before = IS_GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    IS_GUARDED.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    #[test]
    #[ignore = "prints what the test below reads"]
    fn panics() {
        assert_eq!(guarded(|| 3), Some(3));
        let elsewhere = || thread::spawn(|| panic!("of another thread")).join().is_err();
        assert_eq!(guarded(elsewhere), Some(true));
        assert_eq!(guarded(|| panic!("of a guarded call")), None::<()>);
        assert!(panic::catch_unwind(|| panic!("after it")).is_err());
    }

    #[test]
    fn only_panics_of_guarded_calls_are_silent() {
        let arguments = ["read::guarded::tests::panics", "--exact", "--ignored", "--nocapture"];
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(told.contains("of another thread") && told.contains("after it"), "{told}");
        assert!(!told.contains("of a guarded call"), "{told}");
    }
}
