//! Which files a source names: files, folders and `*` patterns, expanded in an order that is the same everywhere.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Format, Source, file::InputFile};
use crate::{
    Error, Result,
    store::{self, Store},
};

/// All files of a source, in reading order.
pub(super) fn find(source: &Source) -> Result<Vec<InputFile>> {
    let asked_by = |key: &str| format!("`{key}` of source `{}`", source.name);
    let mut files = Vec::new();
    for input in &source.input {
        let found = files_of(input, source, &mut files);
        found.map_err(|error| error.asked_by(|| asked_by("input")))?;
    }
    if let Some(lock) = &source.lock_file {
        let pinned = pinned_folders(lock);
        let pinned = pinned.map_err(|error| error.asked_by(|| asked_by("lock_file")))?;
        files.retain(|file| {
            file.name.split('/').next().is_some_and(|folder| pinned.contains(folder))
        });
    }
    if files.is_empty() {
        let wanted = extensions(source).join("`, `");
        let input = source.input.join("`, `");
        return Err(Error::Setting(format!(
            "source `{}`: no file ending in `{wanted}` under `{input}`",
            source.name
        )));
    }
    files.iter().try_for_each(|file| check_name(file, source))?;
    if source.format == Format::Tree {
        files.sort_by_cached_key(|file| {
            (Sha256::digest(file.name.as_bytes()).to_vec(), file.path.clone())
        });
    }
    Ok(files)
}

/// Refuses a file that its name says to hold something else than the source reads.
fn check_name(file: &InputFile, source: &Source) -> Result<()> {
    let is_chosen = source.format == Format::Tree || source.extensions.is_some();
    match Format::of_name(&file.name).filter(|found| !is_chosen && *found != source.format) {
        None => Ok(()),
        Some(found) => Err(Error::Setting(format!(
            "`{}` is `{}` by its name, source `{}` reads `{}`: give files of one format",
            file.path.display(),
            found.name(),
            source.name,
            source.format.name()
        ))),
    }
}

/// Adds the files that one input names.
fn files_of(input: &str, source: &Source, files: &mut Vec<InputFile>) -> Result<()> {
    if store::is_address(input) {
        files.extend(remote(input, source)?);
        return Ok(());
    }
    let plain_part = before_pattern(input);
    let mut paths = expand(input)?.into_iter();
    paths.try_for_each(|path| find_under(&path, plain_part.as_deref(), source, files))
}

/// What holds the kept documents in a folder of results: beside them lie an account and what was left out.
fn kept_in(folder: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 5] =
        ["documents", "kept.parquet", "kept.jsonl", "documents.parquet", "documents.jsonl"];
    let is_results = folder.join("account.json").is_file();
    NAMES.iter().map(|name| folder.join(name)).find(|path| is_results && path.exists())
}

/// Refuses results in another form than the source reads.
fn check_results(kept: &Path, source: &Source) -> Result<()> {
    match Format::of_name(&kept.to_string_lossy()) {
        Some(found) if found != source.format => Err(Error::Setting(format!(
            "source `{}` reads `{}`, its input holds results as `{}`",
            source.name,
            source.format.name(),
            kept.display()
        ))),
        _ => Ok(()),
    }
}

/// The one format that the objects under an address have, as their names tell; `None` where none tells.
pub(super) fn format_under(address: &str, store: &Store) -> Result<Option<Format>> {
    let objects = store.find(address, &matches, &|name| Format::of_name(name).is_some())?;
    let mut found: Vec<(Format, &str)> = Vec::new();
    for object in &objects {
        let Some(format) = Format::of_name(object.name()) else { continue };
        if found.iter().all(|(known, _)| *known != format) {
            found.push((format, object.name()));
        }
    }
    match &found[..] {
        [(_, one), (_, other), ..] => Err(several(address, one, other)),
        found => Ok(found.first().map(|(format, _)| *format)),
    }
}

fn several(folder: &str, one: &str, other: &str) -> Error {
    Error::Setting(format!(
        "`{folder}` holds files of several formats, such as `{one}` and `{other}`; name those of one"
    ))
}

/// The one format that the files below a folder have.
pub(super) fn format_in(folder: &str) -> Result<Format> {
    if let Some(kept) = kept_in(Path::new(folder)) {
        return Format::of_local(&kept.to_string_lossy());
    }
    const FORMATS: [Format; 4] = [Format::Jsonl, Format::Parquet, Format::Warc, Format::Text];
    let mut found = Vec::new();
    for format in FORMATS {
        let wanted: Vec<String> =
            format.usual_extensions().iter().map(|&extension| extension.to_owned()).collect();
        let mut files = Vec::new();
        walk(Path::new(folder), "", &wanted, &mut files)?;
        found.extend(files.into_iter().next().map(|file| (format, file.name)));
    }
    match &found[..] {
        [(format, _)] => Ok(*format),
        [] => Err(Error::Setting(format!(
            "`{folder}` holds no JSONL, Parquet, WARC or text file by its name; state what its files are"
        ))),
        [(_, one), (_, other), ..] => Err(several(folder, one, other)),
    }
}

/// The extension of a name in lower case, that of a compression left aside.
pub(super) fn extension(name: &str) -> Option<String> {
    let (_, extension) = without_compression(name).rsplit_once('.')?;
    Some(extension.to_lowercase())
}

pub(super) fn without_compression(name: &str) -> &str {
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}

fn extensions(source: &Source) -> Vec<String> {
    match &source.extensions {
        Some(extensions) => {
            extensions.iter().map(|e| e.trim_start_matches('.').to_lowercase()).collect()
        }
        None => source.format.usual_extensions().iter().map(|&e| e.to_owned()).collect(),
    }
}

/// Adds a file, or the files of a folder. A file found by a pattern is named from where the pattern begins, so that
/// `*/part.jsonl` gives no two files one name.
fn find_under(
    path: &Path,
    plain_part: Option<&Path>,
    source: &Source,
    files: &mut Vec<InputFile>,
) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_dir() {
        return match kept_in(path) {
            Some(kept) => {
                check_results(&kept, source)?;
                find_under(&kept, None, source, files)
            }
            None => walk(path, "", &extensions(source), files),
        };
    }
    let file = InputFile::local(path)?;
    files.push(match plain_part.and_then(|plain| path.strip_prefix(plain).ok()) {
        None => file,
        Some(name) => {
            let parts = name.iter().map(|part| part.to_string_lossy());
            let name = parts.collect::<Vec<_>>().join("/");
            file.named(without_compression(&name).to_owned())
        }
    });
    Ok(())
}

/// The folders before the first `*` of a pattern; `None` for a path without one.
fn before_pattern(pattern: &str) -> Option<PathBuf> {
    let parts = Path::new(pattern).components();
    let plain = parts.take_while(|part| !part.as_os_str().to_string_lossy().contains('*'));
    let plain: PathBuf = plain.collect();
    let is_here = plain.as_os_str().is_empty();
    pattern.contains('*').then(|| if is_here { PathBuf::from(".") } else { plain })
}

/// The objects that an address names: one, those that fit its pattern, or those under it as under a folder.
fn remote(address: &str, source: &Source) -> Result<Vec<InputFile>> {
    let wanted = extensions(source);
    let is_wanted = |name: &str| extension(name).is_some_and(|e| wanted.contains(&e));
    let objects = source.store.find(address, &matches, &is_wanted)?;
    let file = |object: store::Object| {
        let name = without_compression(object.name()).to_owned();
        InputFile::remote(object, name)
    };
    Ok(objects.into_iter().map(file).collect())
}

/// Adds the files below `folder`, names in byte order. Symbolic links to folders are not followed: they may circle.
fn walk(folder: &Path, prefix: &str, wanted: &[String], files: &mut Vec<InputFile>) -> Result<()> {
    for (name, path) in sorted_entries(folder)? {
        let kind = std::fs::symlink_metadata(&path).map_err(Error::io(&path))?;
        if kind.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), wanted, files)?;
        } else if extension(&name).is_some_and(|e| wanted.contains(&e)) {
            let metadata = std::fs::metadata(&path).map_err(Error::io(&path))?;
            if metadata.is_file() {
                let name = format!("{prefix}{}", without_compression(&name));
                files.push(InputFile::local(&path)?.named(name));
            }
        }
    }
    Ok(())
}

fn sorted_entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    entries.sort();
    Ok(entries)
}

/// The paths a pattern names, sorted; a path without `*` names itself, whether it exists or not.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::new()];
    for component in Path::new(pattern).components() {
        let component = component.as_os_str();
        let wanted = component.to_string_lossy();
        if !wanted.contains('*') {
            paths.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut matching = Vec::new();
        for folder in &paths {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let entries = sorted_entries(folder)?;
            matching.extend(
                entries
                    .into_iter()
                    .filter(|(name, _)| matches(&wanted, name))
                    .map(|(_, path)| path),
            );
        }
        paths = matching;
    }
    if paths.is_empty() {
        return Err(Error::Setting(format!("nothing matches `{pattern}`")));
    }
    Ok(paths)
}

/// Whether `name` fits a pattern in which each `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = name.find(piece) else { return false };
        name = &name[at + piece.len()..];
    }
    name.ends_with(last)
}

/// `name-version` of every package that a `Cargo.lock` pins: the folder names of Cargo's source cache.
fn pinned_folders(lock: &Path) -> Result<HashSet<String>> {
    let text = std::fs::read_to_string(lock).map_err(Error::io(lock))?;
    let malformed = |problem: String| Error::Malformed { path: lock.to_owned(), problem };
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| malformed(error.message().to_owned()))?;
    let packages = table.get("package").and_then(toml::Value::as_array);
    let packages = packages
        .ok_or_else(|| malformed("no `[[package]]`, expected a `Cargo.lock`".to_owned()))?;
    let folder = |package: &toml::Value| {
        Some(format!("{}-{}", package.get("name")?.as_str()?, package.get("version")?.as_str()?))
    };
    Ok(packages.iter().filter_map(folder).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Language;

    #[test]
    fn stars_match_within_a_name() {
        let check = |pattern, name, expected| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}")
        };
        check("a*c", "abc", true);
        check("a*c", "ac", true);
        check("a*c", "ab", false);
        check("*.jsonl*", "x.jsonl.gz", true);
        check("a*b*b", "ab", false);
        check("*", "", true);
        check("plain", "plain", true);
    }

    #[test]
    fn folders_are_read_recursively_in_a_fixed_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/two.txt.gz", "a.txt", "b/one.txt", "skip.bin"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let input = vec![dir.path().to_string_lossy().into_owned()];
        let source = Source::new("s", Language::En, input, Format::Text);
        let names: Vec<String> = find(&source).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["a.txt", "b/one.txt", "b/two.txt"]);
    }

    #[test]
    fn files_of_one_name_in_several_folders_stay_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/x.txt", "b/x.txt.gz"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let check = |pattern: &str, expected: &[&str]| {
            let input = vec![dir.path().join(pattern).to_string_lossy().into_owned()];
            let source = Source::new("s", Language::En, input, Format::Text);
            let files = find(&source).unwrap();
            assert_eq!(files.iter().map(|file| &file.name).collect::<Vec<_>>(), expected);
        };
        check("*/x.txt*", &["a/x.txt", "b/x.txt"]);
        check("a/*.txt", &["x.txt"]);
        check("a/x.txt", &["x.txt"]);
    }

    #[test]
    fn a_folder_of_results_gives_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["account.json", "kept.parquet", "dropped.parquet"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let input = dir.path().to_string_lossy().into_owned();
        let find = |format| find(&Source::new("s", Language::En, vec![input.clone()], format));
        let names = find(Format::Parquet).unwrap().into_iter().map(|file| file.name);
        assert_eq!(names.collect::<Vec<_>>(), ["kept.parquet"]);
        assert_eq!(format_in(&input).unwrap(), Format::Parquet);
        let error = find(Format::Jsonl).unwrap_err().to_string();
        assert!(error.contains("source `s` reads `jsonl`, its input holds results as"), "{error}");
    }

    #[test]
    fn a_lock_file_limits_a_tree_to_its_packages() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one-1.0.0/src/lib.rs", "two-2.0.0/src/lib.rs"] {
            let path = dir.path().join("src").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let lock = dir.path().join("Cargo.lock");
        std::fs::write(&lock, "[[package]]\nname = \"two\"\nversion = \"2.0.0\"\n").unwrap();
        let input = vec![dir.path().join("src").to_string_lossy().into_owned()];
        let mut source = Source::new("s", Language::Code, input, Format::Tree);
        source.extensions = Some(vec!["rs".to_owned()]);
        source.lock_file = Some(lock);
        let names: Vec<String> = find(&source).unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["two-2.0.0/src/lib.rs"]);
    }

    #[test]
    fn files_of_other_formats_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.jsonl.gz", "b.txt", "c.warc.gz", "d"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let of = |names: &[&str], format| {
            Source::new("s", Language::En, names.iter().map(|name| path(name)).collect(), format)
        };
        let refused = |source: &Source| find(source).unwrap_err().to_string();
        let problem = refused(&of(&["b.txt", "a.jsonl.gz"], Format::Text));
        assert!(problem.contains("a.jsonl.gz` is `jsonl` by its name"), "{problem}");
        let problem = refused(&of(&["a.jsonl.gz", "c.warc.gz"], Format::Jsonl));
        assert!(problem.contains("c.warc.gz` is `warc`") && problem.contains("reads `jsonl`"));
        assert_eq!(find(&of(&["a.jsonl.gz", "d"], Format::Jsonl)).unwrap().len(), 2);
        let mut chosen = of(&["a.jsonl.gz"], Format::Text);
        chosen.extensions = Some(vec!["jsonl".to_owned()]);
        assert_eq!(find(&chosen).unwrap().len(), 1);
    }
}
