//! Records that are not built as one: why they cannot be used, and where reading goes on behind them.

use super::members::Damage;
use crate::{Error, read::BadReason};

/// Why a record cannot be used, and where reading goes on.
pub(super) struct Broken {
    pub(super) reason: BadReason,
    pub(super) detail: String,
    pub(super) resume: Resume,
}

/// What comes of reading a record.
pub(super) type Attempt<T> = std::result::Result<T, Broken>;

/// Where reading goes on.
pub(super) enum Resume {
    /// At what follows: the record itself ended well.
    Here,
    /// At the next `WARC/` that begins a line.
    NextRecord,
    /// At the next compressed member.
    NextMember,
    /// The file is over.
    Nowhere,
    /// The file itself cannot be read, which is no matter of records.
    Failed(Error),
}

impl Broken {
    /// One that does not begin as a record does.
    pub(super) fn header(detail: String) -> Self {
        Self { reason: BadReason::BrokenRecord, detail, resume: Resume::NextRecord }
    }
}

impl From<Damage> for Broken {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Cut(detail) => {
                Self { reason: BadReason::Truncated, detail, resume: Resume::NextMember }
            }
            Damage::Broken(detail) => {
                Self { reason: BadReason::Damaged, detail, resume: Resume::NextMember }
            }
            Damage::Unreadable(error) => Self {
                reason: BadReason::Damaged,
                detail: String::new(),
                resume: Resume::Failed(error),
            },
        }
    }
}
