//! From a kernel's source to a library that the host runs, kept for as long as the sources stay.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    super::{Error, Source, sources::HEADERS},
    Behaviour,
};

/// What a source needs instead of the CUDA language.
const EMULATOR: &[(&str, &str)] = &[
    ("emulator.h", include_str!("../emulator/emulator.h")),
    ("stack.h", include_str!("../emulator/stack.h")),
    ("hopper.h", include_str!("../emulator/hopper.h")),
];

/// Compiles a source with macros, unless that was done before, and returns the library's path.
pub(super) fn library(
    source: &Source,
    macros: &[(&str, String)],
    behaviour: Behaviour,
) -> Result<PathBuf, Error> {
    let mut flags: Vec<String> =
        macros.iter().map(|(name, value)| format!("-D{name}={value}")).collect();
    flags.extend(behaviour.reversed.then(|| "-DEMULATE_REVERSED".to_owned()));
    flags.extend(behaviour.late.then(|| "-DEMULATE_LATE".to_owned()));
    let name = source.name.trim_end_matches(".cu");
    let folder = std::env::temp_dir().join("neo-emulated-card");
    let path = folder.join(format!("{name}-{:016x}.so", key(source, &flags)));
    if path.exists() {
        return Ok(path);
    }
    build(source, &flags, &folder, &path)?;
    Ok(path)
}

/// Changes with everything that the library is made of.
fn key(source: &Source, flags: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    source.text.hash(&mut hasher);
    for header in HEADERS {
        header.text.hash(&mut hasher);
    }
    EMULATOR.hash(&mut hasher);
    flags.hash(&mut hasher);
    hasher.finish()
}

/// Writes the sources into a folder of their own, compiles them there, and moves the result.
fn build(source: &Source, flags: &[String], folder: &Path, path: &Path) -> Result<(), Error> {
    let failed = |problem: std::io::Error| Error::call("writing sources", problem);
    let unique = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let work = folder.join(unique.replace(['(', ')'], ""));
    fs::create_dir_all(&work).map_err(failed)?;
    for header in HEADERS {
        fs::write(work.join(header.name), header.text).map_err(failed)?;
    }
    for (name, text) in EMULATOR {
        fs::write(work.join(name), text).map_err(failed)?;
    }
    fs::write(work.join(source.name), source.text).map_err(failed)?;
    let mut compiler = Command::new("c++");
    compiler
        .current_dir(&work)
        .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-fno-gnu-unique", "-x", "c++", "-I", "."])
        .args(flags)
        .args([source.name, "-o", "library.so"]);
    let output = compiler.output().map_err(|problem| Error::call("running `c++`", problem))?;
    if !output.status.success() {
        return Err(Error::Compile {
            source_name: source.name.to_owned(),
            target: "the host".to_owned(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    fs::rename(work.join("library.so"), path).map_err(failed)?;
    fs::remove_dir_all(&work).map_err(failed)
}
