//! From an error chain to what a user reads and to the exit code.
//!
//! `error: …`, one indented `caused by: …` per cause, `hint: …` when there is a next step. The
//! libraries know whether the input is at fault; this file only asks them.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// Exit code for wrong usage or wrong input.
pub(crate) const WRONG_INPUT: u8 = 2;
/// Exit code of work that was interrupted but saved, so that a scheduler can requeue it.
pub(crate) const INTERRUPTED: u8 = 75;

/// A mistake in what was typed that no library sees, such as two options that contradict.
#[derive(Debug)]
pub(crate) struct Usage {
    problem: String,
    hint: Option<String>,
}

impl Usage {
    /// Wrong usage with a next step to try.
    pub(crate) fn with_hint(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: Some(hint.into()) }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl StdError for Usage {}

/// Prints the chain to stderr and returns the exit code: 2 when the input is at fault, else 1.
pub(crate) fn report(failure: &anyhow::Error) -> ExitCode {
    if failure.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    if failure.chain().any(is_interruption) {
        eprintln!("{failure}; the same command goes on");
        return ExitCode::from(INTERRUPTED);
    }
    eprint!("{}", render(failure));
    // The outermost error that can tell decides: it knows what its causes were to it.
    match failure.chain().find_map(is_input) {
        Some(true) => ExitCode::from(WRONG_INPUT),
        _ => ExitCode::FAILURE,
    }
}

/// The text that `report` prints.
fn render(failure: &anyhow::Error) -> String {
    let mut text = format!("error: {failure}\n");
    let mut said = failure.to_string();
    for cause in failure.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their source inside their own message; once is enough.
        if !said.ends_with(&cause) {
            text.push_str(&format!("  caused by: {}\n", cause.replace('\n', "\n    ")));
        }
        said = cause;
    }
    if let Some(hint) = failure.chain().find_map(hint) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// Whether the user's input is at fault, if this cause can tell.
fn is_input(cause: &(dyn StdError + 'static)) -> Option<bool> {
    if let Some(error) = cause.downcast_ref::<neo_data::Error>() {
        Some(error.is_input())
    } else if let Some(error) = cause.downcast_ref::<neo_backends::Error>() {
        Some(error.is_input())
    } else if let Some(error) = cause.downcast_ref::<neo_backends::resident::Error>() {
        Some(error.is_input())
    } else if let Some(error) = cause.downcast_ref::<neo_model::Error>() {
        Some(error.is_input())
    } else if let Some(error) = cause.downcast_ref::<neo_eval::Error>() {
        Some(error.is_input())
    } else if let Some(error) = cause.downcast_ref::<neo_train::Error>() {
        Some(error.is_input())
    } else if let Some(error) = cause.downcast_ref::<io::Error>() {
        Some(error.kind() == io::ErrorKind::NotFound)
    } else {
        cause.is::<Usage>().then_some(true)
    }
}

/// The next step to try, if this cause has one.
fn hint(cause: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<neo_data::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<neo_backends::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<neo_backends::resident::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<neo_model::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<neo_eval::Error>() {
        error.hint()
    } else if let Some(error) = cause.downcast_ref::<neo_train::Error>() {
        error.hint()
    } else {
        cause.downcast_ref::<Usage>().and_then(|usage| usage.hint.clone())
    }
}

/// Whether the user asked to stop.
fn is_interruption(cause: &(dyn StdError + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(neo_data::Error::Interrupted))
        || matches!(cause.downcast_ref(), Some(neo_eval::Error::Stopped))
}

/// Whether the reader of our output has gone away.
fn is_broken_pipe(cause: &(dyn StdError + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn check(failure: anyhow::Error, expected: &str, input: bool) {
        assert_eq!(render(&failure), expected);
        assert_eq!(failure.chain().find_map(is_input).unwrap_or(false), input);
    }

    #[test]
    fn causes_are_indented_and_a_missing_file_is_wrong_input() {
        let missing = neo_data::Error::Io {
            path: PathBuf::from("corpus.jsonl"),
            source: io::Error::from(io::ErrorKind::NotFound),
        };
        check(
            anyhow::Error::new(missing).context("cannot clean"),
            "error: cannot clean\n  caused by: cannot access `corpus.jsonl`\n  caused by: entity \
             not found\n",
            true,
        );
    }

    #[test]
    fn a_full_disk_is_a_failure_and_no_wrong_input() {
        let full = neo_train::Error::Io {
            path: PathBuf::from("step-00000001"),
            source: io::Error::from(io::ErrorKind::StorageFull),
        };
        check(
            full.into(),
            "error: cannot access `step-00000001`\n  caused by: no storage space\n",
            false,
        );
    }

    #[test]
    fn a_hint_is_the_last_line() {
        check(
            Usage::with_hint("nothing to do", "give a recipe").into(),
            "error: nothing to do\nhint: give a recipe\n",
            true,
        );
    }

    #[test]
    fn a_cause_that_the_message_already_tells_is_not_repeated() {
        let inner = io::Error::other("disk on fire");
        check(
            anyhow::Error::new(inner).context("cannot write: disk on fire"),
            "error: cannot write: disk on fire\n",
            false,
        );
    }
}
