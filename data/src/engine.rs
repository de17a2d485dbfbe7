//! What makes long work resumable: units of output, each under the key of everything it depends on.
//!
//! A [`Work`] folder holds [`Unit`]s. A unit is a folder of files that is there only once its manifest is: the
//! manifest is written last and holds the key and a checksum of every file. The key is a [`Fingerprint`] of the
//! code's version, the settings and the checksums of what was read, so that the same work is found again, work of
//! other settings is not, and work that was killed is done again from its beginning. Units know nothing of documents;
//! which units there are, and in what order, is the business of `pipeline`.

mod fingerprint;
mod observer;
mod publish;
mod unit;
mod work;
mod workers;

pub use self::{
    fingerprint::Fingerprint,
    observer::{Event, Meter, Observer},
    unit::Unit,
    work::Work,
};
pub(crate) use self::{
    publish::{Publication, publish},
    unit::spend,
    workers::for_each,
};
