//! Who looks on while the engine works: is told how far it has come, and may ask it to stop.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{Error, Result};

/// What a stage tells while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// How far a stage has come.
    Progress {
        /// The stage, and the source where it goes through one: `read books`, `filter`, `minhash: keys`.
        stage: &'a str,
        /// Bytes done, of files as they lie on disk.
        done_bytes: u64,
        /// Bytes to do.
        total_bytes: u64,
        /// Documents so far.
        documents: u64,
    },
    /// A stage of a recipe is through.
    Stage {
        /// The stage: `0-read`, `1-filter`.
        stage: &'a str,
        /// Whether everything was there already from an earlier run.
        is_reused: bool,
        /// Documents that came in; of reading, records.
        input: u64,
        /// Documents that went on.
        kept: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// Something that a user should know and that is no error.
    Warning(&'a str),
}

/// Told from any thread what happens; asked whether to stop.
#[derive(Clone, Copy)]
pub struct Observer<'a> {
    on_event: &'a (dyn Fn(Event<'_>) + Sync),
    stop: &'a AtomicBool,
}

impl<'a> Observer<'a> {
    /// Events go to a function; work ends soon after the flag is up, with [`Error::Interrupted`].
    pub fn new(on_event: &'a (dyn Fn(Event<'_>) + Sync), stop: &'a AtomicBool) -> Self {
        Self { on_event, stop }
    }

    /// Hears nothing and never stops.
    pub fn quiet() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { on_event: &|_| (), stop: &NEVER }
    }

    /// Passes an event on.
    pub fn tell(&self, event: Event<'_>) {
        (self.on_event)(event);
    }

    /// Passes a warning on.
    pub fn warn(&self, what: &str) {
        self.tell(Event::Warning(what));
    }

    /// Goes on unless asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the flag is up.
    pub fn check(&self) -> Result<()> {
        match self.stop.load(Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// Measures a stage that has this much to do.
    pub fn meter(&self, stage: &str, total_bytes: u64) -> Meter<'a> {
        let (done_bytes, documents) = Default::default();
        Meter { observer: *self, stage: stage.to_owned(), total_bytes, done_bytes, documents }
    }
}

/// Adds up what threads have done of a stage.
pub struct Meter<'a> {
    observer: Observer<'a>,
    stage: String,
    total_bytes: u64,
    done_bytes: AtomicU64,
    documents: AtomicU64,
}

impl Meter<'_> {
    /// Notes a piece of work done, and goes on unless asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the flag is up.
    pub fn add(&self, bytes: u64, documents: u64) -> Result<()> {
        let done_bytes = self.done_bytes.fetch_add(bytes, Relaxed) + bytes;
        let documents = self.documents.fetch_add(documents, Relaxed) + documents;
        let (stage, total_bytes) = (self.stage.as_str(), self.total_bytes);
        self.observer.tell(Event::Progress { stage, done_bytes, total_bytes, documents });
        self.observer.check()
    }
}
