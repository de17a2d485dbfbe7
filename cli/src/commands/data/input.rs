//! `neo data run --input`: other files for the sources of a recipe.

use neo_data::{
    pipeline::Recipe,
    read::{Format, Source},
    toml_file,
};

use crate::error::Usage;

/// Lays `--input` over the recipe: plain paths over its only source, `NAME=PATH` over the source of that name. The
/// first path for a source takes the place of the recipe's, further ones are added.
///
/// # Errors
/// A path for no source of the recipe, or one that by its name holds something else than the source reads.
pub(super) fn override_input(recipe: &mut Recipe, inputs: &[String]) -> Result<(), Usage> {
    let names: Vec<&str> = recipe.source.iter().map(|source| source.name.as_str()).collect();
    let mut given: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for input in inputs {
        let (index, path) = source_of(input, &names)?;
        check_format(&recipe.source[index], index, path)?;
        given[index].push(path.to_owned());
    }
    for (source, given) in recipe.source.iter_mut().zip(given).filter(|(_, g)| !g.is_empty()) {
        source.input = given;
    }
    Ok(())
}

/// The place of the source that an input is for, and the path.
fn source_of<'a>(input: &'a str, names: &[&str]) -> Result<(usize, &'a str), Usage> {
    let named = input.split_once('=');
    let known = named.and_then(|(name, path)| {
        names.iter().position(|known| *known == name).map(|index| (index, path))
    });
    match (known, named) {
        (Some(known), _) => Ok(known),
        (None, _) if names.len() == 1 => Ok((0, input)),
        (None, Some((name, _))) if !name.contains(['/', '*']) => {
            let problem = format!("`--input {input}`: the recipe has no source `{name}`");
            let names = nearest_first(name, names);
            Err(Usage::with_hint(problem, format!("its sources are `{}`", names.join("`, `"))))
        }
        (None, _) => {
            let problem = format!("`--input {input}` does not say which source it is for");
            let hint = format!("write `NAME={input}` with one of `{}`", names.join("`, `"));
            Err(Usage::with_hint(problem, hint))
        }
    }
}

/// The names in their order, but the one that was probably meant first.
fn nearest_first<'a>(name: &str, names: &[&'a str]) -> Vec<&'a str> {
    let nearest = toml_file::nearest(name, names.iter().copied());
    let others = names.iter().copied().filter(|name| Some(*name) != nearest);
    nearest.into_iter().chain(others).collect()
}

/// Refuses a file that its name says to hold something else than the source reads.
fn check_format(source: &Source, index: usize, path: &str) -> Result<(), Usage> {
    let by_name = Format::of_name(path).filter(|_| source.extensions.is_none());
    match by_name {
        Some(found) if found != source.format => {
            let (found, reads) = (found.name(), source.format.name());
            let problem = format!(
                "`{path}` is `{found}` by its name, source `{}` of the recipe reads `{reads}`",
                source.name
            );
            let hint = format!("add `--set source.{index}.format={found}`");
            Err(Usage::with_hint(problem, hint))
        }
        _ => Ok(()),
    }
}
