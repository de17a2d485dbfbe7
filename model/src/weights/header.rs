//! The safetensors file format: a length, a JSON header, the values.
//!
//! A file is 8 bytes little-endian header length `n`, `n` bytes of JSON padded with spaces, then the
//! values. The JSON maps a tensor's name to `dtype`, `shape` and `data_offsets` (begin and end within
//! the values); `__metadata__` is a map of strings. Values have no holes and no overlaps, so that a
//! header describes every byte of its file; all this is checked before anything is allocated for it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Dtype, TensorSpec};
use crate::Error;

/// The format's own bound on a header.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const METADATA_KEY: &str = "__metadata__";

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    /// The tensor.
    pub(super) spec: TensorSpec,
    /// First byte of its values, counted from the start of the file.
    pub(super) offset: u64,
}

/// Reads and checks the header of `file`; tensors come in the order of their values.
pub(super) fn read(file: &mut File, path: &Path) -> crate::Result<Vec<Placed>> {
    let malformed = |problem| Error::Malformed { path: path.to_owned(), problem };
    let n_file_bytes = file.metadata().map_err(Error::io(path))?.len();
    if n_file_bytes < 8 {
        return Err(malformed(format!(
            "{n_file_bytes} bytes, expected a safetensors file of at least 8"
        )));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(Error::io(path))?;
    let n_header_bytes =
        check_length(u64::from_le_bytes(length), n_file_bytes - 8).map_err(malformed)?;
    let mut json = vec![0; n_header_bytes];
    file.read_exact(&mut json).map_err(Error::io(path))?;
    let start = 8 + n_header_bytes as u64;
    parse(&json, start, n_file_bytes - start).map_err(malformed)
}

/// Writes a header for tensors stored one after the other in the order of `specs`.
pub(super) fn encode(specs: &[TensorSpec], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        let metadata: BTreeMap<&str, &str> = metadata.iter().copied().collect();
        entries.insert(METADATA_KEY.to_owned(), serde_json::json!(metadata));
    }
    let mut begin = 0;
    for spec in specs {
        let end = begin + spec.n_bytes();
        let entry = serde_json::json!({
            "dtype": spec.dtype.name(), "shape": spec.shape, "data_offsets": [begin, end],
        });
        entries.insert(spec.name.clone(), entry);
        begin = end;
    }
    let mut json = serde_json::Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

fn check_length(n_header_bytes: u64, n_rest_bytes: u64) -> Result<usize, String> {
    if n_header_bytes > n_rest_bytes {
        return Err(format!(
            "not a complete safetensors file: header length {n_header_bytes}, but {n_rest_bytes} \
             bytes follow"
        ));
    }
    if n_header_bytes > MAX_HEADER_BYTES {
        return Err(format!("header length {n_header_bytes}, expected at most {MAX_HEADER_BYTES}"));
    }
    usize::try_from(n_header_bytes).map_err(|_| format!("header length {n_header_bytes}"))
}

fn parse(json: &[u8], start: u64, n_value_bytes: u64) -> Result<Vec<Placed>, String> {
    let Entries(entries) = serde_json::from_slice(json)
        .map_err(|error| format!("the safetensors header does not parse: {error}"))?;
    let mut names = HashSet::new();
    let mut spans = Vec::with_capacity(entries.len());
    for (name, entry) in &entries {
        if !names.insert(name) {
            return Err(format!("tensor `{name}` is listed twice"));
        }
        spans.push((entry.data_offsets, entry.check(name)?));
    }
    spans.sort_by_key(|&(offsets, _)| offsets);
    check_spans(&spans, n_value_bytes)?;
    let place = |((begin, _), spec)| Placed { spec, offset: start + begin };
    Ok(spans.into_iter().map(place).collect())
}

/// Spans in order must follow one another and end with the file.
fn check_spans(spans: &[((u64, u64), TensorSpec)], n_value_bytes: u64) -> Result<(), String> {
    let mut reached = 0;
    for &((begin, end), TensorSpec { ref name, .. }) in spans {
        if begin != reached {
            let fault = if begin < reached { "overlaps the one before" } else { "leaves a hole" };
            return Err(format!(
                "tensor `{name}` begins at byte {begin} and {fault}, expected {reached}"
            ));
        }
        reached = end;
    }
    if reached != n_value_bytes {
        return Err(format!(
            "{n_value_bytes} bytes of values, expected {reached} from the header; the file is cut \
             short or not one file"
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Entry {
    fn check(&self, name: &str) -> Result<TensorSpec, String> {
        let Self { dtype, shape, data_offsets: (begin, end) } = self;
        let Some(known) = Dtype::from_name(dtype) else {
            let known = Dtype::ALL.map(Dtype::name).join(", ");
            return Err(format!("tensor `{name}` has type `{dtype}`, expected one of {known}"));
        };
        let spec = TensorSpec::new(name, known, shape.clone());
        match end.checked_sub(*begin) {
            Some(n_bytes) if n_bytes == spec.n_bytes() => Ok(spec),
            _ => Err(format!(
                "tensor `{name}` of type {dtype} and shape {shape:?} lies at bytes {begin} to {end}, \
                 expected {} bytes",
                spec.n_bytes()
            )),
        }
    }
}

/// The header's tensors in file order. Not a map: a name that comes twice must be seen.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a map from tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA_KEY {
                map.next_value::<Option<BTreeMap<String, String>>>()?;
            } else {
                entries.push((name, map.next_value()?));
            }
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, n_value_bytes: u64, expected: &str) {
        let message = parse(json.as_bytes(), 8, n_value_bytes).unwrap_err();
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn a_header_comes_back_as_written() {
        let specs = [
            TensorSpec::new("b", Dtype::BF16, [3, 2]),
            TensorSpec::new("a", Dtype::F32, []),
            TensorSpec::new("empty", Dtype::F16, [0, 7]),
        ];
        let bytes = encode(&specs, &[("format", "pt")]);
        assert_eq!(bytes.len() % 8, 0);
        let placed = parse(&bytes[8..], bytes.len() as u64, 16).unwrap();
        assert_eq!(placed.iter().map(|p| p.spec.clone()).collect::<Vec<_>>(), specs);
        assert_eq!(placed[1].offset, bytes.len() as u64 + 12);
    }

    #[test]
    fn wrong_headers_are_refused_with_the_reason() {
        check("[1]", 0, "does not parse");
        check(r#"{"a":{"dtype":"F32"}}"#, 0, "does not parse");
        let tensor = |dtype: &str, shape: &str, begin: u64, end: u64| {
            format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
        };
        let one = |entry: String| format!(r#"{{"a":{entry}}}"#);
        let two = |a: String, b: String| format!(r#"{{"a":{a},"b":{b}}}"#);
        check(&one(tensor("F7", "[1]", 0, 4)), 4, "type `F7`");
        check(&one(tensor("F32", "[2]", 0, 4)), 4, "expected 8 bytes");
        check(&one(tensor("F32", "[1]", 4, 0)), 4, "bytes 4 to 0");
        check(
            &one(tensor("F32", "[4611686018427387904,4]", 0, 0)),
            0,
            "expected 18446744073709551615",
        );
        check(&one(tensor("F32", "[1]", 0, 4)), 8, "8 bytes of values, expected 4");
        check(&one(tensor("F32", "[1]", 0, 4)), 3, "3 bytes of values, expected 4");
        check(&one(tensor("F32", "[1]", 4, 8)), 8, "leaves a hole");
        let (first, second) = (tensor("F32", "[1]", 0, 4), tensor("BF16", "[1]", 2, 4));
        check(&two(first.clone(), second), 4, "overlaps");
        check(&format!(r#"{{"a":{first},"a":{first}}}"#), 4, "`a` is listed twice");
    }

    #[test]
    fn lengths_are_checked_before_anything_is_read() {
        assert_eq!(check_length(16, 16), Ok(16));
        assert!(check_length(u64::MAX, 16).unwrap_err().contains("16 bytes follow"));
        assert!(check_length(100_000_001, 1 << 40).unwrap_err().contains("at most 100000000"));
    }
}
