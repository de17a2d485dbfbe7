//! Which objects an address names: itself, those that fit its `*`, or all under it as under a folder.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path};
use tokio::runtime::Runtime;

use super::{Address, Object, Store, failure};
use crate::{Error, Result};

impl Store {
    /// The objects of an address, in the order of their keys.
    ///
    /// `matches` tells whether one part of a key fits a pattern with `*`, `is_wanted` whether a name found under a
    /// folder is to be read.
    ///
    /// # Errors
    /// The store refuses, or there is nothing.
    pub(crate) fn find(
        &self,
        address: &str,
        matches: &dyn Fn(&str, &str) -> bool,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Object>> {
        let parsed = Address::parse(address)?;
        let search =
            Search { address: parsed, store: self.bucket(&parsed)?, runtime: self.runtime()? };
        if parsed.scheme != "s3" {
            return Ok(vec![search.one()?]);
        }
        let (folder, pattern) = match parsed.key.split('/').position(|part| part.contains('*')) {
            None if parsed.key.is_empty() || parsed.key.ends_with('/') => (parsed.key, None),
            None => match search.one() {
                Err(Error::Store { problem, .. }) if problem.contains("404") => (parsed.key, None),
                found => return Ok(vec![found?]),
            },
            Some(n_parts) => {
                let ends = parsed.key.match_indices('/').map(|(at, _)| at + 1);
                let end = std::iter::once(0).chain(ends).nth(n_parts).unwrap_or(0);
                (&parsed.key[..end], Some(parsed.key))
            }
        };
        let folder = folder.trim_end_matches('/');
        let mut objects = search.under(folder)?;
        objects.retain(|object| match pattern {
            Some(pattern) => fits(pattern, object.key(), matches),
            None => is_wanted(object.name()),
        });
        if objects.is_empty() {
            let what = if pattern.is_some() { "nothing matches" } else { "no file to read under" };
            return Err(Error::Setting(format!("{what} `{address}`")));
        }
        objects.sort_by(|a, b| a.key().cmp(b.key()));
        Ok(objects)
    }
}

/// Whether every part of a key fits its part of a pattern.
fn fits(pattern: &str, key: &str, matches: &dyn Fn(&str, &str) -> bool) -> bool {
    pattern.split('/').count() == key.split('/').count()
        && pattern.split('/').zip(key.split('/')).all(|(pattern, part)| matches(pattern, part))
}

/// A bucket being searched.
struct Search<'a> {
    address: Address<'a>,
    store: Arc<dyn ObjectStore>,
    runtime: Arc<Runtime>,
}

impl Search<'_> {
    fn explain(&self, error: &object_store::Error) -> Error {
        failure::explain(self.address.whole, error)
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(key).map_err(|error| self.explain(&error.into()))
    }

    /// The object that the address itself names.
    fn one(&self) -> Result<Object> {
        let path = self.path(self.address.key)?;
        let meta = self.runtime.block_on(self.store.head(&path));
        let meta = meta.map_err(|error| self.explain(&error))?;
        let name_from = meta.location.as_ref().rfind('/').map_or(0, |at| at + 1);
        Ok(self.object(meta, name_from))
    }

    /// Every object under a folder, named relative to it.
    fn under(&self, folder: &str) -> Result<Vec<Object>> {
        let prefix = self.path(folder)?;
        let listing = self.store.list(Some(&prefix)).try_collect::<Vec<ObjectMeta>>();
        let found = self.runtime.block_on(listing).map_err(|error| self.explain(&error))?;
        let name_from = if folder.is_empty() { 0 } else { prefix.as_ref().len() + 1 };
        Ok(found.into_iter().map(|meta| self.object(meta, name_from)).collect())
    }

    fn object(&self, meta: ObjectMeta, name_from: usize) -> Object {
        let (store, runtime) = (Arc::clone(&self.store), Arc::clone(&self.runtime));
        Object::new(store, runtime, self.address.bucket_address(), meta, name_from)
    }
}
