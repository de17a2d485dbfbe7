//! Every setting of every stage, as TOML, once for all sources that share it.

use neo_data::pipeline::Account;
use serde::Serialize;
use serde_json::Value;

/// Settings of a stage.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    stage: String,
    sources: String,
    text: String,
}

/// The settings in the order of sources and stages; the words about rules stand beside the rules.
pub(super) fn of(account: &Account) -> Vec<Settings> {
    let mut found: Vec<(&str, Value, Vec<&str>)> = Vec::new();
    for source in &account.sources {
        for stage in &source.stages {
            let settings = without_words(&stage.settings);
            let known =
                found.iter_mut().find(|known| known.0 == stage.stage && known.1 == settings);
            match known {
                Some((_, _, sources)) => sources.push(&source.name),
                None => found.push((&stage.stage, settings, vec![&source.name])),
            }
        }
    }
    let shown = found.into_iter().filter(|(_, settings, _)| !is_empty(settings));
    shown
        .map(|(stage, settings, sources)| Settings {
            stage: stage.to_owned(),
            sources: sources.join(", "),
            text: as_toml(&settings),
        })
        .collect()
}

fn without_words(settings: &Value) -> Value {
    let mut settings = settings.clone();
    if let Some(settings) = settings.as_object_mut() {
        settings.shift_remove("about");
    }
    settings
}

fn is_empty(settings: &Value) -> bool {
    settings.is_null() || settings.as_object().is_some_and(serde_json::Map::is_empty)
}

/// TOML, in which settings are written; JSON for what has no form in it.
fn as_toml(settings: &Value) -> String {
    let text = toml::to_string(settings);
    let text = text.or_else(|_| serde_json::to_string_pretty(settings));
    text.expect("JSON values have a JSON form").trim().to_owned()
}
