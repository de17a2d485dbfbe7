//! The update: one norm over all gradients, one pass of AdamW over everything, nothing on the host
//! but the norm.

use super::{
    Error, Step,
    card::{Address, Element, Geometry, bytes_of},
    memory::SQUARE_BLOCKS,
    step::ROW_THREADS,
};

/// Blocks of the update for each multiprocessor, which go through the array together.
const UPDATE_BLOCKS: usize = 12;
/// Blocks of a change of format for each multiprocessor.
const CAST_BLOCKS: usize = 8;

/// AdamW with decoupled weight decay on matrices, after clipping by the global norm.
#[derive(Clone, Copy, Debug)]
pub struct UpdateSettings {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay of matrices.
    pub weight_decay: f64,
    /// Largest global norm.
    pub clip_norm: f64,
    /// Number of this update, counted from 1.
    pub update: u64,
}

/// An array over all parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Master weights, f32.
    Weight,
    /// Gradient sums, f32.
    Gradient,
    /// Running mean of the gradient.
    ExpAvg,
    /// Running mean of its square.
    ExpAvgSq,
}

impl Step {
    /// Updates every weight from the summed gradients and returns their norm before clipping; a
    /// norm that is not finite changes nothing.
    ///
    /// # Errors
    /// A card that fails.
    pub fn update(&mut self, settings: &UpdateSettings) -> Result<f64, Error> {
        self.queue_norm(settings.clip_norm)?;
        let words = settings.words().into_iter().map(f32::to_le_bytes);
        self.write_words(self.buffers.update_settings, words)?;
        let at = &self.buffers;
        let copy = if at.copy == at.weights { Address::NULL } else { at.copy };
        let n = self.table.total as u64;
        let args = [
            at.weights.into(),
            at.exp_avg.into(),
            at.exp_avg_sq.into(),
            at.gradients.into(),
            copy.into(),
            n.into(),
            (self.table.decayed as u64).into(),
            at.update_settings.into(),
            at.norm_and_scale.into(),
        ];
        let geometry = Geometry::line(self.card.n_processors() * UPDATE_BLOCKS, ROW_THREADS);
        self.run("adamw", self.library.adamw, geometry, &args)?;
        let norm = self.read_words(at.norm_and_scale, 1, f32::from_le_bytes)?[0];
        Ok(f64::from(norm))
    }

    /// The norm and the factor of the clip, on the card.
    fn queue_norm(&self, clip_norm: f64) -> Result<(), Error> {
        let at = &self.buffers;
        let n = self.table.total as u64;
        let args = [at.gradients.into(), n.into(), at.square_partial.into()];
        let geometry = Geometry::line(SQUARE_BLOCKS, ROW_THREADS);
        self.run("grad_norm", self.library.sum_of_squares, geometry, &args)?;
        let args = [
            at.square_partial.into(),
            SQUARE_BLOCKS.into(),
            (clip_norm as f32).into(),
            at.norm_and_scale.into(),
        ];
        self.run("grad_norm", self.library.grad_norm, Geometry::line(1, 1024), &args)
    }

    /// Writes one parameter of an array, and the copy that is multiplied with it.
    ///
    /// # Errors
    /// A card that fails.
    ///
    /// # Panics
    /// When the values are not as many as the parameter's.
    pub fn write(&mut self, state: State, index: usize, bytes: &[u8]) -> Result<(), Error> {
        let (at, size) = self.place(state, index);
        assert_eq!(bytes.len(), size, "the bytes of parameter {index}");
        self.card.write(at, bytes)?;
        if state == State::Weight { self.refresh_copy(index) } else { Ok(()) }
    }

    /// Reads one parameter of an array, in the array's number format.
    ///
    /// # Errors
    /// A card that fails.
    pub fn read(&self, state: State, index: usize) -> Result<Vec<u8>, Error> {
        let (at, size) = self.place(state, index);
        let mut bytes = vec![0; size];
        self.card.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Sets both moments of every parameter to zero.
    ///
    /// # Errors
    /// A card that fails.
    pub fn restart(&mut self) -> Result<(), Error> {
        let bytes = self.table.total * bytes_of(self.settings.moments);
        self.card.zero(self.buffers.exp_avg, bytes)?;
        self.card.zero(self.buffers.exp_avg_sq, bytes)
    }

    /// First byte and size of a parameter in an array.
    fn place(&self, state: State, index: usize) -> (Address, usize) {
        let (first, element) = match state {
            State::Weight => (self.buffers.weights, Element::F32),
            State::Gradient => (self.buffers.gradients, Element::F32),
            State::ExpAvg => (self.buffers.exp_avg, self.settings.moments),
            State::ExpAvgSq => (self.buffers.exp_avg_sq, self.settings.moments),
        };
        let (range, bytes) = (self.table.range(index), bytes_of(element));
        (first.offset(range.start * bytes), range.len() * bytes)
    }

    fn refresh_copy(&self, index: usize) -> Result<(), Error> {
        if self.buffers.copy == self.buffers.weights {
            return Ok(());
        }
        let range = self.table.range(index);
        let args = [
            self.buffers.weights.offset(4 * range.start).into(),
            self.weight(range.start).into(),
            (range.len() as u64).into(),
        ];
        let geometry = Geometry::line(self.card.n_processors() * CAST_BLOCKS, ROW_THREADS);
        self.run("cast", self.library.cast, geometry, &args)
    }
}

impl UpdateSettings {
    /// The numbers as the kernel multiplies by them, made in f64: see `kernels/adamw.cu`.
    fn words(&self) -> [f32; super::memory::UPDATE_SETTINGS] {
        let power = |beta: f64| 1.0 - beta.powf(self.update as f64);
        let numbers = [
            1.0 - self.lr * self.weight_decay,
            self.lr / power(self.beta1),
            self.beta1,
            1.0 - self.beta1,
            self.beta2,
            1.0 - self.beta2,
            power(self.beta2).sqrt().recip(),
            self.eps,
        ];
        numbers.map(|number| number as f32)
    }
}
