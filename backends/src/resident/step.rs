//! The step on a card: one micro-batch forward and backward, queued without a wait.

use std::time::Instant;

use super::{
    Card, Error, MemoryPlan, ParameterTable, Settings,
    attention::Attention,
    card::{Address, Arg, Geometry, Kernel, Matrix, Product, Recording, bytes_of},
    library::Library,
    memory::Buffers,
};
use crate::{Precision, profile};

/// Threads of a block in kernels that take one row of an array a block.
pub(crate) const ROW_THREADS: u32 = 256;

/// One micro-batch on the host, row-major `[rows, seq]`.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<'a> {
    /// Input ids, each below the vocabulary's size.
    pub ids: &'a [u32],
    /// Ids to be predicted.
    pub targets: &'a [u32],
    /// Weight of each target's negative log-probability in the loss; 0 where masked.
    pub weights: &'a [f32],
    /// Index in the row at which each position's document starts, where attention ends there.
    pub document_start: Option<&'a [u32]>,
}

/// A network on a card, with everything that a training step needs.
pub struct Step {
    pub(crate) card: Box<dyn Card>,
    pub(crate) settings: Settings,
    pub(crate) table: ParameterTable,
    pub(crate) buffers: Buffers,
    pub(crate) library: Library,
    pub(crate) attention: Attention,
    plan: MemoryPlan,
    memory: Address,
    passes: [Pass; 2],
}

/// A micro-batch's work: the first of a step overwrites the gradients, others add to them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    /// Never done: kernels may be compiled and libraries loaded by doing it.
    New,
    /// Done once, kernel by kernel; cards that can record it do so the next time.
    Done,
    /// Queued by one call.
    Recorded(Recording),
    /// The card does not record.
    ByKernel,
}

impl Step {
    /// Plans, compiles and allocates; weights, gradients and moments begin as zeros.
    ///
    /// # Errors
    /// A shape that the kernels do not take, too little memory, or a card that refuses.
    pub fn open(card: Box<dyn Card>, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let has_hopper = card.capability().0 == 9;
        let plan = MemoryPlan::new(&settings, has_hopper);
        let (needed, free) = (plan.total(), card.free_bytes()?);
        if needed + card.beside_the_plan() > free {
            return Err(Error::Memory { needed, free, plan: Box::new(plan) });
        }
        let memory = card.allocate(needed)?;
        let (buffers, _) = Buffers::place(&settings, has_hopper, memory);
        card.zero(memory, needed as usize)?;
        let library = Library::compile(&*card, &settings)?;
        let attention = Attention::new(&*card, &settings, &buffers)?;
        let table = ParameterTable::new(&settings.decoder);
        let passes = [Pass::New; 2];
        let step =
            Self { card, settings, table, buffers, library, attention, plan, memory, passes };
        step.write_rope_tables()?;
        Ok(step)
    }

    /// What of the card's memory is taken for what.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Where parameters lie.
    pub fn table(&self) -> &ParameterTable {
        &self.table
    }

    /// What the step was planned for.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The card.
    pub fn card(&self) -> &dyn Card {
        &*self.card
    }

    /// Queues forward and backward of a micro-batch: gradients of
    /// `sum_t weight_t (-ln p(target_t) + z_loss logsumexp_t²)` replace the sums if `is_first`, and
    /// are added to them otherwise; so are the totals that [`Step::totals`] reads.
    ///
    /// # Errors
    /// A card that fails.
    ///
    /// # Panics
    /// When a slice is not `rows * seq` long.
    pub fn micro_batch(&mut self, batch: &MicroBatch<'_>, is_first: bool) -> Result<(), Error> {
        self.write_inputs(batch)?;
        let which = usize::from(is_first);
        if profile::is_measuring() {
            return self.pass(is_first);
        }
        self.passes[which] = match self.passes[which] {
            Pass::New => {
                self.pass(is_first)?;
                Pass::Done
            }
            Pass::Done => match self.card.record(&mut || self.pass(is_first))? {
                Some(recording) => {
                    self.card.replay(recording)?;
                    Pass::Recorded(recording)
                }
                None => {
                    self.pass(is_first)?;
                    Pass::ByKernel
                }
            },
            Pass::Recorded(recording) => {
                self.card.replay(recording)?;
                Pass::Recorded(recording)
            }
            Pass::ByKernel => {
                self.pass(is_first)?;
                Pass::ByKernel
            }
        };
        Ok(())
    }

    /// The whole network, forward and back.
    fn pass(&self, is_first: bool) -> Result<(), Error> {
        self.embed()?;
        for layer in 0..self.settings.decoder.n_layers {
            self.forward_block(layer)?;
        }
        self.head(is_first)?;
        for layer in (0..self.settings.decoder.n_layers).rev() {
            self.backward_block(layer, is_first)?;
        }
        self.embed_backward(is_first)
    }

    /// Sums since the last first micro-batch: `weight * -ln p(target)` and `weight * logsumexp²`.
    ///
    /// # Errors
    /// A card that fails.
    pub fn totals(&self) -> Result<[f64; 2], Error> {
        let totals = self.read_words(self.buffers.totals, 2, f32::from_le_bytes)?;
        Ok([f64::from(totals[0]), f64::from(totals[1])])
    }

    pub(crate) fn read_words<T>(
        &self,
        at: Address,
        n: usize,
        from: fn([u8; 4]) -> T,
    ) -> Result<Vec<T>, Error> {
        let mut bytes = vec![0; 4 * n];
        self.card.read(at, &mut bytes)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|&word| from(word)).collect())
    }

    fn write_rope_tables(&self) -> Result<(), Error> {
        let d = &self.settings.decoder;
        let half = d.head_dim / 2;
        let angle = |position: usize, i: usize| {
            position as f64 * d.rope_base.powf(-2.0 * i as f64 / d.head_dim as f64)
        };
        let table = |f: fn(f64) -> f64| -> Vec<u8> {
            let angles = (0..self.settings.seq).flat_map(|p| (0..half).map(move |i| angle(p, i)));
            angles.flat_map(|angle| (f(angle) as f32).to_le_bytes()).collect()
        };
        self.card.write(self.buffers.cos, &table(f64::cos))?;
        self.card.write(self.buffers.sin, &table(f64::sin))
    }

    fn write_inputs(&self, batch: &MicroBatch<'_>) -> Result<(), Error> {
        let tokens = self.settings.tokens();
        let lengths = [batch.ids.len(), batch.targets.len(), batch.weights.len()];
        assert_eq!(lengths, [tokens; 3], "a micro-batch is [rows, seq]");
        let at = &self.buffers.inputs;
        self.write_words(at.ids, batch.ids.iter().map(|id| id.to_le_bytes()))?;
        self.write_words(at.targets, batch.targets.iter().map(|id| id.to_le_bytes()))?;
        self.write_words(at.loss_weights, batch.weights.iter().map(|w| w.to_le_bytes()))?;
        let by_id = TokensById::new(batch.ids);
        self.write_words(at.id_rows, by_id.rows.iter().map(|id| id.to_le_bytes()))?;
        self.write_words(at.id_first, by_id.first.iter().map(|i| i.to_le_bytes()))?;
        self.write_words(at.id_order, by_id.order.iter().map(|i| i.to_le_bytes()))?;
        if self.settings.documents {
            let starts = batch.document_start.expect("the step was planned for documents");
            assert_eq!(starts.len(), tokens, "document starts are [rows, seq]");
            let ends = document_ends(starts, self.settings.seq);
            self.write_words(at.starts, starts.iter().map(|i| i.to_le_bytes()))?;
            self.write_words(at.ends, ends.iter().map(|i| i.to_le_bytes()))?;
        }
        Ok(())
    }

    pub(crate) fn write_words(
        &self,
        at: Address,
        words: impl Iterator<Item = [u8; 4]>,
    ) -> Result<(), Error> {
        let bytes: Vec<u8> = words.flatten().collect();
        self.card.write(at, &bytes)
    }

    /// The multiplied weight that begins at this number.
    pub(crate) fn weight(&self, number: usize) -> Address {
        self.buffers.copy.offset(number * bytes_of(self.settings.element))
    }

    /// The gradient sum that begins at this number.
    pub(crate) fn gradient(&self, number: usize) -> Address {
        self.buffers.gradients.offset(4 * number)
    }

    /// Queues a kernel as part of `operation`.
    pub(crate) fn run(
        &self,
        operation: &'static str,
        kernel: Kernel,
        geometry: Geometry,
        args: &[Arg],
    ) -> Result<(), Error> {
        self.timed(operation, || self.card.launch(kernel, geometry, args))
    }

    /// Queues a product as part of `operation`.
    pub(crate) fn multiply(&self, operation: &'static str, product: &Product) -> Result<(), Error> {
        self.timed(operation, || self.card.multiply(product))
    }

    /// Runs `work`; while somebody measures, waits for the card around it.
    fn timed(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !profile::is_measuring() {
            return work();
        }
        self.card.finish()?;
        let started = Instant::now();
        work()?;
        self.card.finish()?;
        profile::record(operation, started);
        Ok(())
    }

    /// `out = x wᵀ (+ add)` over `rows` rows, all in the step's number format.
    pub(crate) fn linear(
        &self,
        [rows, d_in, d_out]: [usize; 3],
        x: Address,
        weight: Address,
        out: Address,
        add: Option<Address>,
    ) -> Result<(), Error> {
        let (a, b) = (Matrix::new(x, d_in), Matrix::new(weight, d_in).t());
        self.product([rows, d_out, d_in], a, b, Matrix::new(out, d_out), add, self.settings.element)
    }

    /// `dx = dy w` over `rows` rows.
    pub(crate) fn linear_input(
        &self,
        [rows, d_in, d_out]: [usize; 3],
        dy: Address,
        weight: Address,
        dx: Address,
    ) -> Result<(), Error> {
        let (a, b) = (Matrix::new(dy, d_out), Matrix::new(weight, d_in));
        self.product([rows, d_in, d_out], a, b, Matrix::new(dx, d_in), None, self.settings.element)
    }

    /// `dw = dyᵀ x (+ dw)` in f32.
    pub(crate) fn linear_weight(
        &self,
        [rows, d_in, d_out]: [usize; 3],
        dy: Address,
        x: Address,
        dw: Address,
        is_first: bool,
    ) -> Result<(), Error> {
        let (a, b) = (Matrix::new(dy, d_out).t(), Matrix::new(x, d_in));
        let add = (!is_first).then_some(dw);
        self.product([d_out, d_in, rows], a, b, Matrix::new(dw, d_in), add, Precision::F32)
    }

    fn product(
        &self,
        size: [usize; 3],
        a: Matrix,
        b: Matrix,
        out: Matrix,
        add: Option<Address>,
        out_element: Precision,
    ) -> Result<(), Error> {
        let element = self.settings.element;
        let product = Product { size, a, b, out, add, element, out_element, batch: 1 };
        self.multiply("linear", &product)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.card.release(self.memory);
    }
}

/// Tokens grouped by their id, so that a row of the embedding's gradient is summed in one place.
struct TokensById {
    /// Distinct ids, padded with -1 to the number of tokens.
    rows: Vec<i32>,
    /// Where each id's tokens begin in `order`, and one past the last.
    first: Vec<i32>,
    /// Tokens by id, ascending within each.
    order: Vec<i32>,
}

impl TokensById {
    fn new(ids: &[u32]) -> Self {
        let mut order: Vec<i32> = (0..ids.len() as i32).collect();
        order.sort_by_key(|&token| ids[token as usize]);
        let (mut rows, mut first) = (Vec::new(), Vec::new());
        for (place, &token) in order.iter().enumerate() {
            let id = ids[token as usize] as i32;
            if rows.last() != Some(&id) {
                rows.push(id);
                first.push(place as i32);
            }
        }
        rows.resize(ids.len(), -1);
        first.resize(ids.len() + 1, ids.len() as i32);
        Self { rows, first, order }
    }
}

/// One past the last position of each position's document.
fn document_ends(starts: &[u32], seq: usize) -> Vec<u32> {
    let mut ends = vec![seq as u32; starts.len()];
    for (row, ends) in starts.chunks_exact(seq).zip(ends.chunks_exact_mut(seq)) {
        for position in (0..seq - 1).rev() {
            let continues = row[position + 1] == row[position];
            ends[position] = if continues { ends[position + 1] } else { position as u32 + 1 };
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_grouped_in_order() {
        let by_id = TokensById::new(&[7, 2, 7, 0, 2]);
        assert_eq!(by_id.rows, [0, 2, 7, -1, -1]);
        assert_eq!(by_id.first, [0, 1, 3, 5, 5, 5]);
        assert_eq!(by_id.order, [3, 1, 4, 0, 2]);
    }

    #[cfg(feature = "emulated")]
    #[test]
    fn what_is_kept_changes_no_bit() {
        use crate::resident::{
            Decoder, Keep, State,
            emulated::{Behaviour, Emulated},
        };
        let decoder = Decoder {
            vocab: 24,
            d_model: 16,
            n_layers: 3,
            n_heads: 2,
            n_kv_heads: 1,
            head_dim: 8,
            d_ff: 24,
            norm_eps: 1e-5,
            rope_base: 1e4,
        };
        let gradients = |keep| -> Vec<u8> {
            let settings = Settings {
                decoder,
                rows: 2,
                seq: 5,
                element: Precision::F32,
                moments: Precision::F32,
                keep,
                documents: false,
                z_loss: 0.0,
            };
            let card = Box::new(Emulated::new(Behaviour::AMPERE));
            let mut step = Step::open(card, settings).unwrap();
            for index in 0..step.table().len() {
                let number = |i: usize| ((i * 37 + index * 11) % 23) as f32 / 23.0 - 0.4;
                let values = (0..step.table().range(index).len()).map(number);
                let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
                step.write(State::Weight, index, &bytes).unwrap();
            }
            let ids: Vec<u32> = (0..10).map(|i| i * 7 % 24).collect();
            let weights = [0.1; 10];
            let batch =
                MicroBatch { ids: &ids, targets: &ids, weights: &weights, document_start: None };
            for is_first in [true, false] {
                step.micro_batch(&batch, is_first).unwrap();
            }
            let read = |index| step.read(State::Gradient, index).unwrap();
            (0..step.table().len()).flat_map(read).collect()
        };
        let all = gradients(Keep::All);
        assert!(all.iter().any(|byte| *byte != 0));
        assert!(all == gradients(Keep::Attention) && all == gradients(Keep::Input));
    }

    #[test]
    fn documents_end_where_the_next_begins() {
        assert_eq!(document_ends(&[0, 0, 2, 3, 0, 0, 0, 0], 4), [2, 2, 3, 4, 4, 4, 4, 4]);
    }
}
