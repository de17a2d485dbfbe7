//! Which model was measured, whatever its folder is called.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Result;
use crate::task::source::hex;

/// Endings of the files that a model's answers depend on.
const ENDINGS: [&str; 3] = ["json", "model", "safetensors"];

/// Files of a checkpoint that say nothing about the model.
const OTHERS: [&str; 4] =
    ["optimizer.safetensors", "state.json", "MANIFEST.json", "generation_config.json"];

/// SHA-256 over names and bytes of a model folder's files.
///
/// # Errors
/// A folder or a file that cannot be read.
pub fn folder_sha256(dir: &Path) -> Result<String> {
    let entries = fs_err::read_dir(dir).map_err(neo_data::Error::io(dir))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut hash = Sha256::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let counts = ENDINGS.iter().any(|ending| path.extension().is_some_and(|e| e == *ending));
        if !counts || OTHERS.contains(&name.as_str()) || !path.is_file() {
            continue;
        }
        hash.update(&name);
        hash.update([0]);
        let mut file = fs_err::File::open(&path).map_err(neo_data::Error::io(&path))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = file.read(&mut buffer).map_err(neo_data::Error::io(&path))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
        }
    }
    Ok(hex(&hash.finalize()))
}
