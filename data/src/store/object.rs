//! One object of a store, read by ranges: at any place, or forward with the next range already on its way.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::failure;
use crate::{Error, Result};

/// Bytes asked for at a time when reading forward.
const RANGE_BYTES: u64 = 8 << 20;

/// An object as it was when it was found.
#[derive(Clone)]
pub struct Object {
    store: Arc<dyn ObjectStore>,
    runtime: Arc<Runtime>,
    meta: ObjectMeta,
    address: String,
    name_from: usize,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.address).finish()
    }
}

impl Object {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        runtime: Arc<Runtime>,
        bucket: String,
        meta: ObjectMeta,
        name_from: usize,
    ) -> Self {
        let address = format!("{bucket}/{}", meta.location);
        Self { store, runtime, meta, address, name_from }
    }

    /// Its whole address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its name below the folder that was searched.
    pub fn name(&self) -> &str {
        self.key().get(self.name_from..).unwrap_or_default()
    }

    /// Its name in the bucket.
    pub fn key(&self) -> &str {
        self.meta.location.as_ref()
    }

    /// Its size.
    pub fn n_bytes(&self) -> u64 {
        self.meta.size
    }

    /// What changes when its content does: the tag that the store gives it, else when it was written.
    pub fn version(&self) -> String {
        let written = || self.meta.last_modified.to_rfc3339();
        self.meta.e_tag.clone().unwrap_or_else(written)
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// The store refuses, or the object is not the one that was found.
    pub fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let request = request(Arc::clone(&self.store), self.meta.clone(), range);
        self.checked(self.runtime.block_on(request))
    }

    /// A stream from a place to the end.
    pub fn read_from(&self, start: u64) -> Forward {
        let mut forward =
            Forward { object: self.clone(), next: start, ahead: None, bytes: Bytes::new() };
        forward.ask();
        forward
    }

    fn checked(&self, result: object_store::Result<Bytes>) -> Result<Bytes> {
        result.map_err(|error| failure::explain(&self.address, &error))
    }
}

/// Asks for a range of what the object was when it was found.
async fn request(
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    range: Range<u64>,
) -> object_store::Result<Bytes> {
    let n_wanted = range.end - range.start;
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: meta.e_tag,
        ..GetOptions::default()
    };
    let bytes = store.get_opts(&meta.location, options).await?.bytes().await?;
    if bytes.len() as u64 == n_wanted {
        return Ok(bytes);
    }
    let source = format!("{} bytes came of {n_wanted} asked for", bytes.len()).into();
    Err(object_store::Error::Generic { store: "store", source })
}

/// An object read from front to back.
pub struct Forward {
    object: Object,
    /// Where the next range begins.
    next: u64,
    ahead: Option<JoinHandle<object_store::Result<Bytes>>>,
    bytes: Bytes,
}

impl Forward {
    /// Sends for the next range, unless there is none.
    fn ask(&mut self) {
        let end = (self.next + RANGE_BYTES).min(self.object.n_bytes());
        if self.next >= end {
            return;
        }
        let Object { store, meta, runtime, .. } = &self.object;
        let request = request(Arc::clone(store), meta.clone(), self.next..end);
        self.ahead = Some(runtime.spawn(request));
        self.next = end;
    }

    /// Waits for the range that was sent for; none at the end.
    fn receive(&mut self) -> Result<Bytes> {
        let Some(ahead) = self.ahead.take() else { return Ok(Bytes::new()) };
        let result = self.object.runtime.block_on(ahead);
        let bytes = self.object.checked(result.unwrap_or_else(|error| Err(error.into())))?;
        self.ask();
        Ok(bytes)
    }
}

impl Read for Forward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            self.bytes = self.receive().map_err(|error: Error| io::Error::other(error))?;
        }
        let n = self.bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.bytes.split_to(n));
        Ok(n)
    }
}

impl Drop for Forward {
    /// What was sent for is no longer wanted.
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}
