//! Documents of earlier runs, as if they had been read before all others; and the new ones that are kept, for the
//! runs to come.

use std::path::{Path, PathBuf};

use super::{Comparison, Verdicts};
use crate::{
    Error, Result,
    dedup::{Compares, IndexReader, IndexWriter, Key, Method, Order},
    engine::Fingerprint,
    shuffle::table::{DOCUMENT_KEYS, IDS, TableReader, TableWriter},
};

/// The documents of an index as tables.
pub(super) struct Known {
    /// How many there are.
    pub(super) documents: u64,
    pub(super) ids: PathBuf,
    pub(super) keys: PathBuf,
    /// Identity of the index.
    pub(super) content: Fingerprint,
}

/// What an index says its keys are of.
fn name_with_settings(method: &dyn Method) -> String {
    format!("{} {}", method.name(), method.settings())
}

impl Known {
    /// Reads an index into tables in a folder.
    pub(super) fn read(index: &Path, method: &dyn Method, dir: &Path) -> Result<Self> {
        let mut reader = IndexReader::open(index, &name_with_settings(method))?;
        let (ids, keys) = (dir.join("known.ids.arrow"), dir.join("known.keys.arrow"));
        let mut id_table = TableWriter::create(&ids, IDS)?;
        let mut key_table = TableWriter::create(&keys, DOCUMENT_KEYS)?;
        let mut documents = 0;
        while let Some((id, keys)) = reader.next_document()? {
            id_table.push_with_id([documents], &id)?;
            keys.iter().try_for_each(|Key(hi, lo)| key_table.push([*hi, *lo, documents]))?;
            documents += 1;
        }
        id_table.finish()?;
        key_table.finish()?;
        Ok(Self { documents, ids, keys, content: Fingerprint::of_file(index)? })
    }
}

impl Comparison<'_, '_> {
    /// Writes an index of all documents that stay: those known before, then the new ones.
    ///
    /// # Errors
    /// A table cannot be read, or writing failed.
    pub(in crate::pipeline) fn write_index(
        &self,
        index: &Path,
        verdicts: &Verdicts<'_>,
    ) -> Result<()> {
        let mut writer = IndexWriter::create(index, &name_with_settings(self.method))?;
        if let Some(known) = &self.known {
            copy(&known.ids, &known.keys, &mut writer, |_| Ok(true))?;
        }
        for (number, unit) in verdicts.ids.iter().enumerate() {
            let slice = verdicts.unit.path(&super::verdicts::file_name(number));
            let mut copies = TableReader::open(&slice, IDS)?;
            let start = self.starts[number];
            let (ids, keys) = (unit.path(super::keys::TABLE), unit.path(super::keys::KEYS));
            copy(&ids, &keys, &mut writer, |document| {
                let row = document - start;
                Ok(copies.next_if(|[copy], _| (copy == row).then_some(()))?.is_none())
            })?;
        }
        writer.finish()
    }
}

/// Adds the documents of tables that are to stay.
fn copy(
    ids: &Path,
    keys: &Path,
    writer: &mut IndexWriter,
    mut stays: impl FnMut(u64) -> Result<bool>,
) -> Result<()> {
    let mut ids = TableReader::open(ids, IDS)?;
    let mut keys = TableReader::open(keys, DOCUMENT_KEYS)?;
    while let Some((document, id)) = ids.next_if(|[number], id| Some((number, id.to_owned())))? {
        let mut of_document = Vec::new();
        while let Some(key) =
            keys.next_if(|[hi, lo, number], _| (number == document).then_some(Key(hi, lo)))?
        {
            of_document.push(key);
        }
        if stays(document)? {
            writer.push(&id, &of_document)?;
        }
    }
    Ok(())
}

/// An index makes sense where whole documents are compared by id.
///
/// # Errors
/// The method has no index.
pub(super) fn check(method: &dyn Method) -> Result<()> {
    match method.compares() {
        Compares::Documents(Order::Id) => Ok(()),
        _ => Err(Error::Setting(format!("`{}` has no index of kept documents", method.name()))),
    }
}
