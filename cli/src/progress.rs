//! What a user sees on stderr while something runs: bars on a terminal, plain lines elsewhere.
//!
//! Nothing appears in the first two seconds, so that short work stays silent. Log events are
//! written above the bars.

use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

/// Work shorter than this shows no progress at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// Distance of plain lines when stderr is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// All bars of the process, so that log lines can step around them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// How far one long piece of work has come. May be shared by threads.
pub(crate) struct Progress {
    label: String,
    total: Option<u64>,
    state: Mutex<State>,
}

/// What changes while the work runs.
struct State {
    started: Instant,
    last_line: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts the clock. `label` names the work, `total` is the number of units when it is known.
    pub(crate) fn new(label: impl Into<String>, total: Option<u64>) -> Self {
        let state = State { started: Instant::now(), last_line: None, bar: None };
        Self { label: label.into(), total, state: Mutex::new(state) }
    }

    /// Tells that `position` units are done; `note` is shown behind the figures.
    pub(crate) fn set(&self, position: u64, note: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.started.elapsed() < PATIENCE {
            return;
        }
        if io::stderr().is_terminal() {
            let bar = state.bar.get_or_insert_with(|| self.bar());
            bar.set_position(position);
            bar.set_message(note.to_owned());
        } else if state.last_line.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            state.last_line = Some(Instant::now());
            write_line(&self.plain_line(position, note));
        }
    }

    fn bar(&self) -> ProgressBar {
        let (bar, template) = match self.total {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix} [{bar:30}] {human_pos}/{human_len} {elapsed} (left {eta}) {msg}",
            ),
            None => (ProgressBar::no_length(), "{prefix} {spinner} {human_pos} {elapsed} {msg}"),
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constant");
        BARS.add(bar.with_style(style.progress_chars("=> ")).with_prefix(self.label.clone()))
    }

    fn plain_line(&self, position: u64, note: &str) -> String {
        let total = self.total.map(|total| format!("/{total}")).unwrap_or_default();
        format!("{}: {position}{total} {note}", self.label).trim_end().to_owned()
    }
}

impl Drop for Progress {
    /// Takes the bar away; what was reached is the caller's to print.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &state.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line to stderr, above the bars if there are any. A reader that is gone is no error.
pub(crate) fn write_line(line: &str) {
    BARS.suspend(|| writeln!(io::stderr(), "{line}").ok());
}

/// Writes a line where stderr is no terminal and so shows no bars.
pub(crate) fn write_where_no_bars(line: &str) {
    if !io::stderr().is_terminal() {
        write_line(line);
    }
}

/// Sends the libraries' events to stderr; `NEO_LOG` chooses which, warnings unless told.
pub(crate) fn install_logging() {
    let filter = EnvFilter::try_from_env("NEO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| AboveBars)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}

/// Stderr, with the bars out of the way.
struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_name_the_work_and_how_far_it_is() {
        let check = |total, note, expected: &str| {
            assert_eq!(Progress::new("filter", total).plain_line(7, note), expected);
        };
        check(Some(10), "2 dropped", "filter: 7/10 2 dropped");
        check(None, "", "filter: 7");
    }
}
