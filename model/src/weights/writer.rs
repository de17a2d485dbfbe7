//! Writes safetensors a tensor at a time, hashing what goes out: one file, or shards with an index.
//!
//! Tensors must come in the order that was announced, because the header with their places is written
//! first. Files are fsynced; putting a finished folder in place is `staged.rs`'s work.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::reader::WeightReader;
use super::{Dtype, HostTensor, TensorSpec, convert, header};
use crate::{Error, Result};

/// transformers refuses a file that does not say which framework's layout it has.
const METADATA: [(&str, &str); 1] = [("format", "pt")];

/// Size and checksum of a written file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 in lowercase hexadecimal.
    pub sha256: String,
}

impl FileSummary {
    /// Hashes a file as it lies on disk.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let mut buffer = vec![0; 1 << 20];
        let (mut hasher, mut bytes) = (Sha256::new(), 0);
        loop {
            let n_bytes = file.read(&mut buffer).map_err(Error::io(path))?;
            if n_bytes == 0 {
                return Ok(Self { bytes, sha256: hex(hasher) });
            }
            hasher.update(&buffer[..n_bytes]);
            bytes += n_bytes as u64;
        }
    }
}

/// A file that is hashed while it is written.
pub(crate) struct HashingFile {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl HashingFile {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned(), file, hasher: Sha256::new(), bytes: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the file is on disk.
    pub(crate) fn finish(self) -> Result<FileSummary> {
        self.file.sync_all().map_err(Error::io(&self.path))?;
        Ok(FileSummary { bytes: self.bytes, sha256: hex(self.hasher) })
    }
}

/// Streams tensors into one safetensors file.
pub struct WeightWriter {
    file: HashingFile,
    specs: Vec<TensorSpec>,
    next: usize,
}

impl WeightWriter {
    /// Creates the file and writes its header; `specs` is the order in which tensors will come.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, specs: &[TensorSpec], metadata: &[(&str, &str)]) -> Result<Self> {
        let mut file = HashingFile::create(path)?;
        file.write(&header::encode(specs, metadata))?;
        Ok(Self { file, specs: specs.to_vec(), next: 0 })
    }

    /// Writes the next tensor.
    ///
    /// # Errors
    /// When it is not the announced one, or the file cannot be written.
    pub fn write(&mut self, tensor: &HostTensor) -> Result<()> {
        self.check_next(&tensor.spec())?;
        self.file.write(&tensor.bytes)?;
        self.next += 1;
        Ok(())
    }

    /// Copies the next tensor from `reader` in pieces, casting it to the announced type.
    ///
    /// # Errors
    /// When it is not the announced one, or a file cannot be read or written.
    pub fn copy(&mut self, reader: &WeightReader, name: &str) -> Result<()> {
        let source = reader.spec(name)?;
        let to = self.specs.get(self.next).map_or(source.dtype, |expected| expected.dtype);
        self.check_next(&TensorSpec { dtype: to, ..source.clone() })?;
        let from = source.dtype;
        reader.read_pieces(name, |piece| self.put(piece, from, to))?;
        self.next += 1;
        Ok(())
    }

    /// Ends the file and waits until it is on disk.
    ///
    /// # Errors
    /// When announced tensors have not come, or the file cannot be written.
    pub fn finish(self) -> Result<FileSummary> {
        if let Some(missing) = self.specs.get(self.next) {
            return Err(self.malformed(format!("tensor `{}` was not written", missing.name)));
        }
        self.file.finish()
    }

    fn is_complete(&self) -> bool {
        self.next == self.specs.len()
    }

    fn put(&mut self, piece: &[u8], from: Dtype, to: Dtype) -> Result<()> {
        if from == to { self.file.write(piece) } else { self.file.write(&convert(piece, from, to)) }
    }

    fn check_next(&self, given: &TensorSpec) -> Result<()> {
        match self.specs.get(self.next) {
            Some(expected) if expected == given => Ok(()),
            Some(expected) => {
                Err(self.malformed(format!("given tensor {given:?}, expected {expected:?}")))
            }
            None => Err(self.malformed(format!("given tensor {given:?}, expected no more"))),
        }
    }

    fn malformed(&self, problem: String) -> Error {
        Error::Malformed { path: self.file.path.clone(), problem }
    }
}

/// Streams tensors into `STEM.safetensors`, or into shards with an index when they are too large.
pub struct ShardedWeightWriter {
    dir: PathBuf,
    stem: String,
    shards: Vec<Vec<TensorSpec>>,
    current: WeightWriter,
    done: Vec<(String, FileSummary)>,
}

impl ShardedWeightWriter {
    /// Plans shards of at most `max_shard_bytes` (a larger tensor gets its own) and starts the first.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(
        dir: &Path,
        stem: &str,
        specs: &[TensorSpec],
        max_shard_bytes: u64,
    ) -> Result<Self> {
        let shards = plan_shards(specs, max_shard_bytes);
        let first = dir.join(shard_name(stem, 0, shards.len()));
        let current = WeightWriter::create(&first, &shards[0], &METADATA)?;
        Ok(Self { dir: dir.to_owned(), stem: stem.to_owned(), shards, current, done: Vec::new() })
    }

    /// Writes the next tensor.
    ///
    /// # Errors
    /// As `WeightWriter::write`.
    pub fn write(&mut self, tensor: &HostTensor) -> Result<()> {
        self.advance()?;
        self.current.write(tensor)
    }

    /// Copies the next tensor from `reader` in pieces, casting it to the announced type.
    ///
    /// # Errors
    /// As `WeightWriter::copy`.
    pub fn copy(&mut self, reader: &WeightReader, name: &str) -> Result<()> {
        self.advance()?;
        self.current.copy(reader, name)
    }

    /// Ends the last shard, writes the index when there is more than one, and names every file.
    ///
    /// # Errors
    /// When announced tensors have not come, or a file cannot be written.
    pub fn finish(mut self) -> Result<Vec<(String, FileSummary)>> {
        let name = self.shard_name(self.done.len());
        self.done.push((name, self.current.finish()?));
        if let Some(missing) = self.shards.get(self.done.len()) {
            let problem = format!("tensor `{}` was not written", missing[0].name);
            return Err(Error::Malformed { path: self.dir, problem });
        }
        if self.shards.len() > 1 {
            let name = format!("{}.safetensors.index.json", self.stem);
            let mut file = HashingFile::create(&self.dir.join(&name))?;
            file.write(index_json(&self.stem, &self.shards).as_bytes())?;
            self.done.push((name, file.finish()?));
        }
        Ok(self.done)
    }

    /// Goes on to the next shard when this one is full.
    fn advance(&mut self) -> Result<()> {
        let next_idx = self.done.len() + 1;
        if !self.current.is_complete() || next_idx == self.shards.len() {
            return Ok(());
        }
        let path = self.dir.join(self.shard_name(next_idx));
        let next = WeightWriter::create(&path, &self.shards[next_idx], &METADATA)?;
        let full = std::mem::replace(&mut self.current, next);
        self.done.push((self.shard_name(next_idx - 1), full.finish()?));
        Ok(())
    }

    fn shard_name(&self, idx: usize) -> String {
        shard_name(&self.stem, idx, self.shards.len())
    }
}

/// Consecutive tensors go together as long as they fit; there is always a first shard.
fn plan_shards(specs: &[TensorSpec], max_shard_bytes: u64) -> Vec<Vec<TensorSpec>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for spec in specs {
        if filled > 0 && spec.n_bytes() > max_shard_bytes.saturating_sub(filled) {
            shards.push(Vec::new());
            filled = 0;
        }
        shards.last_mut().expect("there is always a first shard").push(spec.clone());
        filled += spec.n_bytes();
    }
    shards
}

fn shard_name(stem: &str, idx: usize, n_shards: usize) -> String {
    match n_shards {
        1 => format!("{stem}.safetensors"),
        _ => format!("{stem}-{:05}-of-{n_shards:05}.safetensors", idx + 1),
    }
}

fn index_json(stem: &str, shards: &[Vec<TensorSpec>]) -> String {
    let specs = || shards.iter().flatten();
    let total_size: u64 = specs().map(TensorSpec::n_bytes).sum();
    let total_parameters: u64 = specs().map(TensorSpec::n_elements).sum();
    let mut weight_map = serde_json::Map::new();
    for (idx, shard) in shards.iter().enumerate() {
        let file = shard_name(stem, idx, shards.len());
        weight_map.extend(shard.iter().map(|spec| (spec.name.clone(), file.clone().into())));
    }
    let metadata =
        serde_json::json!({ "total_parameters": total_parameters, "total_size": total_size });
    let index = serde_json::json!({ "metadata": metadata, "weight_map": weight_map });
    format!("{index:#}\n")
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tensors() -> Vec<HostTensor> {
        (0..5u8)
            .map(|idx| {
                let values = [f32::from(idx), 0.1, -2.5];
                HostTensor::from_f32(format!("t{idx}"), [3], &values)
            })
            .collect()
    }

    fn write_sharded(dir: &Path, max_shard_bytes: u64) -> Vec<(String, FileSummary)> {
        let specs: Vec<_> = tensors().iter().map(HostTensor::spec).collect();
        let mut writer =
            ShardedWeightWriter::create(dir, "model", &specs, max_shard_bytes).unwrap();
        tensors().iter().for_each(|tensor| writer.write(tensor).unwrap());
        writer.finish().unwrap()
    }

    fn check(max_shard_bytes: u64, expected_files: usize) {
        let dir = tempfile::tempdir().unwrap();
        let files = write_sharded(dir.path(), max_shard_bytes);
        assert_eq!(files.len(), expected_files, "{files:?}");
        for (name, summary) in &files {
            assert_eq!(&FileSummary::of(&dir.path().join(name)).unwrap(), summary, "{name}");
        }
        let reader = WeightReader::open(dir.path()).unwrap();
        assert_eq!(reader.names().count(), 5);
        for tensor in tensors() {
            assert_eq!(reader.read(&tensor.name).unwrap(), tensor);
        }
    }

    #[test]
    fn shards_hold_what_fits_and_read_back() {
        check(1000, 1);
        check(24, 3 + 1);
        check(13, 5 + 1);
        check(0, 5 + 1);
    }

    #[test]
    fn a_known_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(FileSummary::of(&path).unwrap(), FileSummary { bytes: 3, sha256 });
    }

    #[test]
    fn tensors_out_of_turn_and_missing_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let specs: Vec<_> = tensors().iter().map(HostTensor::spec).collect();
        let path = dir.path().join("x.safetensors");
        let mut writer = WeightWriter::create(&path, &specs, &[]).unwrap();
        assert!(writer.write(&tensors()[1]).is_err());
        assert!(writer.write(&tensors()[0].cast(Dtype::BF16)).is_err());
        writer.write(&tensors()[0]).unwrap();
        let message = writer.finish().unwrap_err().to_string();
        assert!(message.contains("`t1` was not written"), "{message}");
        for n_written in [0, 2, 3] {
            let mut writer = ShardedWeightWriter::create(dir.path(), "m", &specs, 24).unwrap();
            tensors()[..n_written].iter().for_each(|tensor| writer.write(tensor).unwrap());
            let message = writer.finish().err().map(|error| error.to_string());
            let expected = format!("`t{n_written}` was not written");
            assert!(message.as_ref().is_some_and(|m| m.contains(&expected)), "{message:?}");
        }
    }

    #[test]
    fn a_copy_casts_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        write_sharded(dir.path(), 1000);
        let reader = WeightReader::open(dir.path()).unwrap();
        let specs = [TensorSpec::new("t3", Dtype::BF16, [3])];
        let path = dir.path().join("copy.safetensors");
        let mut writer = WeightWriter::create(&path, &specs, &[]).unwrap();
        assert!(writer.copy(&reader, "t2").is_err());
        writer.copy(&reader, "t3").unwrap();
        writer.finish().unwrap();
        let copied = WeightReader::open(&path).unwrap().read("t3").unwrap();
        assert_eq!(copied, tensors()[3].cast(Dtype::BF16));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_with_a_hint() {
        let error = WeightWriter::create(Path::new("/dev/full"), &[], &[]).err().unwrap();
        assert!(error.to_string().contains("/dev/full"));
        assert!(error.hint().unwrap().contains("free"), "{error:?}");
        assert!(!error.is_input());
    }

    proptest! {
        #[test]
        fn written_is_read(shapes in proptest::collection::vec(
            proptest::collection::vec(0usize..4, 0..3), 0..6), max_shard_bytes in 0u64..100) {
            let dir = tempfile::tempdir().unwrap();
            let tensors: Vec<HostTensor> = shapes.iter().enumerate().map(|(idx, shape)| {
                let values: Vec<f32> = (0..shape.iter().product()).map(|n: usize| n as f32).collect();
                HostTensor::from_f32(format!("n\"{idx}\u{4e2d}"), shape.clone(), &values)
            }).collect();
            let specs: Vec<_> = tensors.iter().map(HostTensor::spec).collect();
            let mut writer =
                ShardedWeightWriter::create(dir.path(), "model", &specs, max_shard_bytes).unwrap();
            for tensor in &tensors {
                writer.write(tensor).unwrap();
            }
            writer.finish().unwrap();
            let reader = WeightReader::open(dir.path()).unwrap();
            prop_assert_eq!(reader.names().count(), tensors.len());
            for tensor in &tensors {
                prop_assert_eq!(&reader.read(&tensor.name).unwrap(), tensor);
            }
        }
    }
}
