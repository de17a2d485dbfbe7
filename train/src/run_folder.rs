//! A run's folder: who may write into it, and which checkpoint the run goes on from.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    checkpoint::{self, Checkpoint},
    recipe::Recipe,
};

const RECIPE: &str = "recipe.toml";
const ENVIRONMENT: &str = "environment.json";
const LOCK: &str = ".lock";

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// After the newest sound checkpoint of the run folder, or from the start.
    Auto,
    /// From the start, in a folder that holds no run.
    Never,
    /// After this checkpoint.
    From(PathBuf),
}

/// What a run goes on from.
pub(crate) struct Found {
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Checkpoints that were passed over, and why.
    pub(crate) warnings: Vec<String>,
}

/// An open run folder; no other program trains in it while this lives.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Recipe of the run that was here before, if any.
    previous: Option<Recipe>,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder or enters the one of the same run.
    pub(crate) fn open(path: &Path, recipe: &Recipe) -> Result<Self> {
        fs_err::create_dir_all(path).map_err(Error::io(path))?;
        let previous = previous_recipe(path)?;
        if let Some(previous) = &previous {
            let keys = recipe.changed_keys(previous)?;
            if !keys.is_empty() {
                return Err(Error::RecipeChanged { run: path.to_owned(), keys });
            }
        }
        Ok(Self { path: path.to_owned(), previous, _lock: lock(path)? })
    }

    /// Writes what the run is and where it runs, once it is certain that it will.
    pub(crate) fn describe(&self, recipe: &Recipe, environment: &serde_json::Value) -> Result<()> {
        write(&self.path.join(RECIPE), &recipe.resolved_toml()?)?;
        write(&self.path.join(ENVIRONMENT), &format!("{environment:#}\n"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint to go on from; it must be of this recipe and this corpus.
    pub(crate) fn checkpoint(
        &self,
        resume: &Resume,
        recipe: &Recipe,
        corpus_hash: &str,
    ) -> Result<Found> {
        let found = match resume {
            Resume::Never if self.previous.is_some() => {
                return Err(Error::Occupied { run: self.path.clone() });
            }
            Resume::Never => Found { checkpoint: None, warnings: Vec::new() },
            Resume::Auto => {
                let (checkpoint, unsound) = checkpoint::latest_verified(&self.path)?;
                if checkpoint.is_none() && !unsound.is_empty() {
                    return Err(Error::NoSoundCheckpoint { run: self.path.clone(), unsound });
                }
                let warnings = unsound.iter().map(ToString::to_string).collect();
                Found { checkpoint, warnings }
            }
            Resume::From(dir) => {
                Found { checkpoint: Some(Checkpoint::open(dir)?), warnings: Vec::new() }
            }
        };
        if let Some(checkpoint) = &found.checkpoint {
            check_fits(checkpoint, recipe, corpus_hash)?;
        }
        Ok(found)
    }
}

/// The recipe of the run that is in `path`; a folder with other things is refused.
pub(crate) fn previous_recipe(path: &Path) -> Result<Option<Recipe>> {
    let recipe = path.join(RECIPE);
    if !path.exists() {
        return Ok(None);
    }
    if recipe.exists() {
        return Ok(Some(Recipe::read(&recipe, &[])?));
    }
    let mut entries = fs_err::read_dir(path).map_err(Error::io(path))?;
    match entries.find(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != LOCK)) {
        Some(_) => Err(Error::Occupied { run: path.to_owned() }),
        None => Ok(None),
    }
}

fn lock(path: &Path) -> Result<File> {
    let lock_path = path.join(LOCK);
    let file = File::create(&lock_path).map_err(Error::io(&lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse { run: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(Error::Io { path: lock_path, source }),
    }
}

/// Writes a small file whole: under another name, then renamed.
fn write(path: &Path, text: &str) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fs_err::write(&temporary, text).map_err(Error::io(&temporary))?;
    fs_err::rename(&temporary, path).map_err(Error::io(path))
}

fn check_fits(checkpoint: &Checkpoint, recipe: &Recipe, corpus_hash: &str) -> Result<()> {
    let dir = checkpoint.dir().display();
    let state = checkpoint.state();
    if checkpoint.config() != &recipe.model {
        return Err(Error::Setting(format!("checkpoint `{dir}` is of a model of another shape")));
    }
    if state.seed != recipe.seed {
        let (found, expected) = (state.seed, recipe.seed);
        return Err(Error::Setting(format!(
            "checkpoint `{dir}` is of a run with seed {found}, the recipe's is {expected}"
        )));
    }
    if state.corpus_hash != corpus_hash {
        let corpus = recipe.data.corpus.display();
        return Err(Error::Setting(format!(
            "corpus `{corpus}` is not the one that checkpoint `{dir}` was trained on: \
             manifest {corpus_hash}, expected {}",
            state.corpus_hash
        )));
    }
    if state.step > recipe.total_steps() {
        let (step, total) = (state.step, recipe.total_steps());
        return Err(Error::Setting(format!(
            "checkpoint `{dir}` is after step {step}, the recipe has only {total}"
        )));
    }
    Ok(())
}
