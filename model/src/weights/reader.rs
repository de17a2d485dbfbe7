//! Reads safetensors where they lie: one file, or shards with an index.
//!
//! Opening reads headers only; a tensor's bytes come in when it is asked for, without a memory map,
//! so that resident memory stays at the tensor in hand.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::header::{self, Placed};
use super::{HostTensor, TensorSpec};
use crate::{Error, Result};

/// An index larger than this is not one: a line per tensor, some hundred thousand tensors.
const MAX_INDEX_BYTES: u64 = 100_000_000;
/// A piece of a tensor: a whole number of elements of every type.
const PIECE_BYTES: u64 = if cfg!(test) { 8 } else { 16 << 20 };

/// Tensors of one safetensors file or of all shards of a model.
#[derive(Debug)]
pub struct WeightReader {
    path: PathBuf,
    files: Vec<(PathBuf, File)>,
    names: Vec<String>,
    tensors: HashMap<String, (usize, Placed)>,
}

impl WeightReader {
    /// Opens a safetensors file, an index, or a folder with `model.safetensors` or its index.
    ///
    /// # Errors
    /// When there is no such file, or a header or the index is not well formed.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::open_stem(path, "model");
        }
        if path.to_string_lossy().ends_with(".index.json") {
            return Self::open_index(path);
        }
        let mut reader = Self::empty(path);
        reader.add_file(path)?;
        Ok(reader)
    }

    /// Opens `STEM.safetensors` or `STEM.safetensors.index.json` of a folder.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_stem(dir: &Path, stem: &str) -> Result<Self> {
        let single = dir.join(format!("{stem}.safetensors"));
        let index = dir.join(format!("{stem}.safetensors.index.json"));
        match (single.is_file(), index.is_file()) {
            (true, _) => Self::open(&single),
            (false, true) => Self::open_index(&index),
            (false, false) => Err(Error::NoWeights { dir: dir.to_owned(), stem: stem.to_owned() }),
        }
    }

    /// Where the weights were opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, in the order in which they are stored.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Type and shape of a tensor.
    ///
    /// # Errors
    /// When there is no tensor of this name.
    pub fn spec(&self, name: &str) -> Result<&TensorSpec> {
        self.find(name).map(|(_, placed)| &placed.spec)
    }

    /// Reads one tensor.
    ///
    /// # Errors
    /// When there is no tensor of this name, or its file cannot be read.
    pub fn read(&self, name: &str) -> Result<HostTensor> {
        let (file_idx, Placed { spec, offset }) = self.find(name)?;
        // The header was checked against the file's size, so this is no larger than the file.
        let mut bytes = vec![0; spec.n_bytes() as usize];
        self.read_at(*file_idx, &mut bytes, *offset)?;
        let TensorSpec { name, dtype, shape } = spec.clone();
        Ok(HostTensor { name, dtype, shape, bytes })
    }

    /// Reads one tensor in pieces of whole elements and hands each to `take`, in order.
    ///
    /// # Errors
    /// As `read`, and what `take` returns.
    pub fn read_pieces(&self, name: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (file_idx, Placed { spec, offset }) = self.find(name)?;
        let mut buffer = vec![0; spec.n_bytes().min(PIECE_BYTES) as usize];
        let mut done = 0;
        while done < spec.n_bytes() {
            let n_bytes = (spec.n_bytes() - done).min(buffer.len() as u64) as usize;
            self.read_at(*file_idx, &mut buffer[..n_bytes], offset + done)?;
            take(&buffer[..n_bytes])?;
            done += n_bytes as u64;
        }
        Ok(())
    }

    fn empty(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, files: Vec::new(), names: Vec::new(), tensors: HashMap::new() }
    }

    fn find(&self, name: &str) -> Result<&(usize, Placed)> {
        self.tensors.get(name).ok_or_else(|| self.malformed(format!("no tensor `{name}`")))
    }

    fn malformed(&self, problem: String) -> Error {
        Error::Malformed { path: self.path.clone(), problem }
    }

    fn read_at(&self, file_idx: usize, buffer: &mut [u8], offset: u64) -> Result<()> {
        let (path, file) = &self.files[file_idx];
        file.read_exact_at(buffer, offset).map_err(Error::io(path))
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        for placed in header::read(&mut file, path)? {
            let name = placed.spec.name.clone();
            if self.tensors.insert(name.clone(), (self.files.len(), placed)).is_some() {
                let problem = format!("tensor `{name}` is in another shard too");
                return Err(Error::Malformed { path: path.to_owned(), problem });
            }
            self.names.push(name);
        }
        self.files.push((path.to_owned(), file));
        Ok(())
    }

    fn open_index(path: &Path) -> Result<Self> {
        let weight_map = read_index(path)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let mut reader = Self::empty(path);
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(
                    reader.malformed(format!("shard `{shard}`, expected a plain file name"))
                );
            }
            reader.add_file(&dir.join(shard))?;
        }
        reader.check_index(&weight_map)?;
        Ok(reader)
    }

    fn check_index(&self, weight_map: &BTreeMap<String, String>) -> Result<()> {
        for (name, shard) in weight_map {
            let found = self.tensors.get(name).map(|&(idx, _)| &self.files[idx].0);
            if found.and_then(|path| path.file_name()) != Some(shard.as_ref()) {
                return Err(self.malformed(format!("tensor `{name}` is not in shard `{shard}`")));
            }
        }
        match self.names.iter().find(|&name| !weight_map.contains_key(name)) {
            Some(name) => {
                Err(self.malformed(format!("tensor `{name}` is in a shard but not listed")))
            }
            None => Ok(()),
        }
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let malformed = |problem| Error::Malformed { path: path.to_owned(), problem };
    let n_bytes = fs::metadata(path).map_err(Error::io(path))?.len();
    if n_bytes > MAX_INDEX_BYTES {
        return Err(malformed(format!("{n_bytes} bytes, expected at most {MAX_INDEX_BYTES}")));
    }
    let json = fs::read(path).map_err(Error::io(path))?;
    let index: Index = serde_json::from_slice(&json)
        .map_err(|error| malformed(format!("the index does not parse: {error}")))?;
    Ok(index.weight_map)
}

#[cfg(test)]
mod tests {
    use super::super::{Dtype, WeightWriter};
    use super::*;
    use proptest::prelude::*;

    fn tiny(dir: &Path) -> PathBuf {
        let path = dir.join("model.safetensors");
        let tensors = [
            HostTensor::from_f32("a", [2, 2], &[1.0, 2.0, 3.0, 4.0]),
            HostTensor::from_f32("b", [3], &[5.0, 6.0, 7.0]).cast(Dtype::BF16),
        ];
        let specs: Vec<_> = tensors.iter().map(HostTensor::spec).collect();
        let mut writer = WeightWriter::create(&path, &specs, &[]).unwrap();
        tensors.iter().for_each(|tensor| writer.write(tensor).unwrap());
        writer.finish().unwrap();
        path
    }

    #[test]
    fn tensors_are_read_whole_and_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        tiny(dir.path());
        let reader = WeightReader::open(dir.path()).unwrap();
        assert_eq!(reader.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(reader.read("b").unwrap().to_f32(), [5.0, 6.0, 7.0]);
        let mut pieces = Vec::new();
        let keep = |piece: &[u8]| {
            pieces.push(piece.to_vec());
            Ok(())
        };
        reader.read_pieces("a", keep).unwrap();
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8]);
        assert_eq!(pieces.concat(), reader.read("a").unwrap().bytes);
        let missing = reader.read("c").unwrap_err().to_string();
        assert!(missing.contains("no tensor `c`"), "{missing}");
    }

    fn check_index(index: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        fs::rename(tiny(dir.path()), dir.path().join("s1.safetensors")).unwrap();
        fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        let message = match WeightReader::open(dir.path()) {
            Ok(reader) => format!("{:?}", reader.names().collect::<Vec<_>>()),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn an_index_must_agree_with_its_shards() {
        let s1 = "s1.safetensors";
        check_index(&format!(r#"{{"weight_map":{{"a":"{s1}","b":"{s1}"}}}}"#), r#"["a", "b"]"#);
        check_index(&format!(r#"{{"weight_map":{{"a":"{s1}"}}}}"#), "`b` is in a shard but not");
        let more = format!(r#"{{"weight_map":{{"a":"{s1}","b":"{s1}","c":"{s1}"}}}}"#);
        check_index(&more, "`c` is not in shard");
        check_index(r#"{"weight_map":{"a":"../s1.safetensors"}}"#, "expected a plain file name");
        check_index(r#"{"weight_map":{"a":"s2.safetensors"}}"#, "s2.safetensors");
        check_index("{", "does not parse");
    }

    #[test]
    fn a_folder_without_weights_says_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let message = WeightReader::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("model.safetensors"), "{message}");
    }

    #[test]
    fn a_cut_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = tiny(dir.path());
        let whole = fs::read(&path).unwrap();
        for n_bytes in 0..whole.len() {
            fs::write(&path, &whole[..n_bytes]).unwrap();
            assert!(WeightReader::open(&path).is_err(), "{n_bytes} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            keep in 0usize..220,
            patch_at in 0usize..220,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = tiny(dir.path());
            let mut bytes = fs::read(&path).unwrap();
            for (idx, byte) in noise.iter().take(8).enumerate() {
                if let Some(target) = bytes.get_mut(patch_at + idx) {
                    *target = *byte;
                }
            }
            bytes.truncate(keep.max(9));
            for candidate in [&noise, &bytes] {
                fs::write(&path, candidate).unwrap();
                if let Ok(reader) = WeightReader::open(&path) {
                    for name in reader.names() {
                        prop_assert_eq!(
                            reader.read(name).unwrap().bytes.len() as u64,
                            reader.spec(name).unwrap().n_bytes()
                        );
                    }
                }
            }
        }
    }
}
