//! Where a tokenizer's folder keeps chat templates and special tokens, newer places first.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::DEFAULT;
use crate::{Error, Result};

/// File of the one template, or of the default one among several.
pub(super) const TEMPLATE_FILE: &str = "chat_template.jinja";
/// Folder of further templates, one file each.
const TEMPLATES_DIR: &str = "additional_chat_templates";
/// File of the tokenizer's settings, where older folders have their templates.
pub(super) const CONFIG_FILE: &str = "tokenizer_config.json";
/// File of special tokens in older folders.
const SPECIALS_FILE: &str = "special_tokens_map.json";
/// Special tokens that templates see by these names.
const NAMED_SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// The template of this name, and the special tokens that it may name.
///
/// # Errors
/// A folder without that template, or a file that cannot be read.
pub(super) fn read(folder: &Path, name: &str) -> Result<(String, Map<String, Json>)> {
    let config = read_json(&folder.join(CONFIG_FILE))?;
    let mut templates = of_files(folder)?;
    if templates.is_empty() {
        templates = of_config(&config["chat_template"]);
    }
    let Some((_, source)) = templates.iter().find(|(found, _)| found == name) else {
        return Err(missing(folder, name, &templates));
    };
    Ok((source.clone(), specials(&config, &read_json(&folder.join(SPECIALS_FILE))?)))
}

/// A JSON file of the folder; nothing where there is none.
fn read_json(path: &Path) -> Result<Json> {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Json::Null),
        Err(error) => return Err(neo_data::Error::io(path)(error).into()),
    };
    serde_json::from_str(&text).map_err(|error| {
        neo_data::Error::Malformed { path: path.to_owned(), problem: error.to_string() }.into()
    })
}

/// Templates that stand in files of their own, by name.
fn of_files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut paths = vec![(DEFAULT.to_owned(), folder.join(TEMPLATE_FILE))];
    for entry in fs_err::read_dir(folder.join(TEMPLATES_DIR)).into_iter().flatten() {
        let path = entry.map_err(neo_data::Error::io(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "jinja") {
            paths.push((path.file_stem().unwrap_or_default().to_string_lossy().into(), path));
        }
    }
    paths.retain(|(_, path)| path.is_file());
    let read = |(name, path): (String, PathBuf)| {
        Ok((name, fs_err::read_to_string(&path).map_err(neo_data::Error::io(&path))?))
    };
    paths.into_iter().map(read).collect()
}

/// Templates of the settings: one text, or a list of names with texts.
fn of_config(value: &Json) -> Vec<(String, String)> {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    match value {
        Json::String(one) => vec![(DEFAULT.to_owned(), one.clone())],
        Json::Array(several) => several
            .iter()
            .filter_map(|entry| Some((text(&entry["name"])?, text(&entry["template"])?)))
            .collect(),
        _ => Vec::new(),
    }
}

fn missing(folder: &Path, name: &str, templates: &[(String, String)]) -> Error {
    let names: Vec<String> = templates.iter().map(|(name, _)| format!("`{name}`")).collect();
    let (problem, hint) = match names.is_empty() {
        true => (
            "the folder has none".to_owned(),
            format!(
                "put a `{TEMPLATE_FILE}` into the folder, or `chat_template` into its `{CONFIG_FILE}`"
            ),
        ),
        false => (
            format!("it has no template of the name `{name}`"),
            format!("the folder has {}", names.join(", ")),
        ),
    };
    Error::Chat { folder: folder.to_owned(), problem, hint: Some(hint) }
}

/// The named special tokens, which files give as texts or with their settings.
fn specials(config: &Json, map: &Json) -> Map<String, Json> {
    let text = |value: &Json| match value {
        Json::String(_) => Some(value.clone()),
        Json::Object(token) => token.get("content").cloned(),
        _ => None,
    };
    let of_name = |name: &&str| {
        let found = text(&config[*name]).or_else(|| text(&map[*name]))?;
        Some(((*name).to_owned(), found))
    };
    NAMED_SPECIALS.iter().filter_map(of_name).collect()
}
