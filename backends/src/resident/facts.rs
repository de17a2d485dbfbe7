//! What a card gives, through the very calls that a step makes: copies, launches, products, attention.
//!
//! `neo bench card` prints it and `bench/torch_facts.py` sets PyTorch's figures beside. Times are
//! the host's around work that is waited for, of many calls at once, the median of several rounds.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use serde::Serialize;

use super::{
    Card, Decoder, Error, Keep, Settings, Step,
    card::{Address, Arg, Element, Geometry, Kernel, Matrix, Product, bytes_of},
    library::element_macro,
    sources,
};
use crate::{Precision, kernels::linear};

/// Rounds whose median counts.
const ROUNDS: usize = 5;
/// A round lasts about this long, in seconds.
const ROUND_SECONDS: f64 = 0.02;
/// Launches that are timed together.
const LAUNCHES: usize = 1000;

/// What is measured, by size.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Bytes of a copy.
    pub copy_bytes: usize,
    /// Sides of the square products whose fastest is the card's rate.
    pub squares: Vec<usize>,
    /// Rows of the products of layers.
    pub tokens: usize,
    /// Name, inner and outer size of each layer.
    pub layers: Vec<(&'static str, usize, usize)>,
    /// Widths of heads in attention.
    pub head_dims: Vec<usize>,
    /// Lengths of rows in attention.
    pub lengths: Vec<usize>,
    /// Heads times their width in attention.
    pub attention_width: usize,
}

impl Sizes {
    /// Those of MAP-Neo's and Qwen2.5's layers, as in `bench/torch_facts.py`.
    pub fn of_models() -> Self {
        Self {
            copy_bytes: 1 << 31,
            squares: vec![4096, 8192, 16384],
            tokens: 16384,
            layers: vec![
                ("7B query, key, value, out", 3072, 3072),
                ("7B gate, up", 3072, 24576),
                ("7B down", 24576, 3072),
                ("7B head", 3072, 64256),
                ("2B query, out", 2048, 2048),
                ("2B key, value", 2048, 256),
                ("2B gate, up", 2048, 16384),
                ("2B down", 16384, 2048),
                ("2B head", 2048, 64128),
                ("250M query, out", 1024, 1024),
                ("250M gate, up", 1024, 4096),
                ("250M down", 4096, 1024),
                ("250M head", 1024, 64128),
                ("Qwen 1.5B gate, up", 1536, 8960),
                ("Qwen 1.5B head", 1536, 151_936),
                ("Qwen 0.5B gate, up", 896, 4864),
                ("Qwen 0.5B head", 896, 151_936),
            ],
            head_dims: vec![64, 128, 192, 256],
            lengths: vec![1024, 2048, 4096, 8192, 16384],
            attention_width: 2048,
        }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Name of the card.
    pub card: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Seconds to compile or load the kernels of a step, and to open the card.
    pub open_seconds: f64,
    /// Bytes read and written by a copy on the card, in GB/s.
    pub copy_gb_per_sec: f64,
    /// Time of launches.
    pub launch: Launch,
    /// TFLOP/s of the fastest square bf16 product.
    pub rate: f64,
    /// bf16 products of layers.
    pub matrix: Vec<Layer>,
    /// Causal attention in bf16.
    pub attention: Vec<AttentionRate>,
}

/// Time of launches, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Launch {
    /// A kernel that does nothing much, one after another.
    pub eager_us: f64,
    /// The same as part of recorded work; absent where the card does not record.
    pub graph_us: Option<f64>,
    /// From a tensor of burn's to our stream and back, waited for on each side; absent without one.
    pub crossing_us: Option<f64>,
}

/// A layer's products, in TFLOP/s.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Which layer.
    pub name: &'static str,
    /// Rows.
    pub tokens: usize,
    /// Width on the way in.
    pub inner: usize,
    /// Width on the way out.
    pub outer: usize,
    /// Forward, input gradient, weight gradient in f32.
    pub tflops: [f64; 3],
    /// The same three through burn's products, the gradient of the weight in bf16.
    pub burn_tflops: Option<[f64; 3]>,
}

/// Attention of a shape, in TFLOP/s by the usual count: backward 2.5 times the forward.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AttentionRate {
    /// Width of a head.
    pub head_dim: usize,
    /// Length of a row.
    pub seq_len: usize,
    /// Heads, each with its own keys.
    pub n_heads: usize,
    /// Rows.
    pub batch: usize,
    /// Forward.
    pub forward_tflops: f64,
    /// Backward.
    pub backward_tflops: f64,
    /// Forward and backward.
    pub both_tflops: f64,
}

impl Facts {
    /// Measures on cards that `open` opens, one after another; `device` is burn's view of the same
    /// card.
    ///
    /// # Errors
    /// A card that refuses or is too small.
    pub fn measure(
        open: &dyn Fn() -> Result<Box<dyn Card>, Error>,
        device: Option<&Device>,
        sizes: &Sizes,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let opened = Step::open(open()?, attention_settings(sizes.head_dims[0], 64, 64, 1))?;
        let open_seconds = started.elapsed().as_secs_f64();
        drop(opened);
        let card = open()?;
        let bench = Bench::new(&*card)?;
        let copy_gb_per_sec = bench.copy(sizes.copy_bytes)?;
        let launch = bench.launch(device)?;
        let square = |&size: &usize| square_tflops(&*card, size, Element::Bf16);
        let rates: Result<Vec<f64>, Error> = sizes.squares.iter().map(square).collect();
        let layer = |&(name, inner, outer): &(&'static str, usize, usize)| {
            bench.layer(name, sizes.tokens, inner, outer, device)
        };
        let matrix: Result<_, Error> = sizes.layers.iter().map(layer).collect();
        let (name, capability) = (card.name().to_owned(), card.capability());
        let (rate, matrix) = (rates?.into_iter().fold(0.0, f64::max), matrix?);
        drop(card);
        let mut attention = Vec::new();
        for &head_dim in &sizes.head_dims {
            for &seq_len in &sizes.lengths {
                let batch = (sizes.tokens / seq_len).max(1);
                let settings = attention_settings(head_dim, sizes.attention_width, seq_len, batch);
                attention.push(attention_rate(Step::open(open()?, settings)?)?);
            }
        }
        Ok(Self {
            card: name,
            capability,
            open_seconds,
            copy_gb_per_sec,
            launch,
            rate,
            matrix,
            attention,
        })
    }
}

/// TFLOP/s of a square product.
///
/// # Errors
/// A card that refuses or is too small.
pub fn square_tflops(card: &dyn Card, size: usize, element: Element) -> Result<f64, Error> {
    let bytes = size * size * bytes_of(element);
    let memory = Taken::new(card, 3 * bytes)?;
    fill(card, memory.at, 2 * size * size, element)?;
    let matrix = |i: usize| Matrix::new(memory.at.offset(i * bytes), size);
    let product = Product {
        size: [size; 3],
        a: matrix(0),
        b: matrix(1).t(),
        out: matrix(2),
        add: None,
        element,
        out_element: element,
        batch: 1,
    };
    let seconds = seconds(card, || card.multiply(&product))?;
    Ok(2.0 * (size as f64).powi(3) / seconds / 1e12)
}

/// A card with a kernel that copies.
struct Bench<'a> {
    card: &'a dyn Card,
    copy: Kernel,
}

impl<'a> Bench<'a> {
    fn new(card: &'a dyn Card) -> Result<Self, Error> {
        // From f32 to f32, a change of format is a copy.
        let macros = [element_macro(Precision::F32)];
        let copy = card.kernels(&sources::CAST, &macros, &["cast"])?[0];
        Ok(Self { card, copy })
    }

    fn copy(&self, bytes: usize) -> Result<f64, Error> {
        let memory = Taken::new(self.card, 2 * bytes)?;
        self.fill(memory.at, bytes / 4, Element::F32)?;
        let (from, to) = (memory.at, memory.at.offset(bytes));
        let geometry = Geometry::line(self.card.n_processors() * 8, 256);
        let args: [Arg; 3] = [from.into(), to.into(), (bytes as u64 / 4).into()];
        let seconds = seconds(self.card, || self.card.launch(self.copy, geometry, &args))?;
        Ok(2.0 * bytes as f64 / seconds / 1e9)
    }

    fn launch(&self, device: Option<&Device>) -> Result<Launch, Error> {
        let memory = Taken::new(self.card, 64)?;
        self.card.zero(memory.at, 64)?;
        let args: [Arg; 3] = [memory.at.into(), memory.at.offset(32).into(), 8_u64.into()];
        let one = || self.card.launch(self.copy, Geometry::line(1, 32), &args);
        let mut many = || (0..LAUNCHES).try_for_each(|_| one());
        let eager = seconds(self.card, &mut many)?;
        let graph = match self.card.record(&mut many)? {
            Some(graph) => Some(seconds(self.card, || self.card.replay(graph))?),
            None => None,
        };
        let crossing = match device {
            Some(device) => Some(self.crossing(device, one)?),
            None => None,
        };
        let us = |seconds: f64| 1e6 * seconds / LAUNCHES as f64;
        let (eager_us, graph_us) = (us(eager), graph.map(us));
        Ok(Launch { eager_us, graph_us, crossing_us: crossing.map(|seconds| 1e6 * seconds) })
    }

    /// Seconds of a small operation in burn that is waited for, and one of ours that is too.
    fn crossing(&self, device: &Device, one: impl Fn() -> Result<(), Error>) -> Result<f64, Error> {
        let mut tensor = Tensor::<1>::zeros([8], device);
        seconds(self.card, || {
            tensor.inplace(|tensor| tensor.add_scalar(1.0));
            wait(device)?;
            one()?;
            self.card.finish()
        })
    }

    /// Products of a layer over `tokens` rows.
    fn layer(
        &self,
        name: &'static str,
        tokens: usize,
        inner: usize,
        outer: usize,
        device: Option<&Device>,
    ) -> Result<Layer, Error> {
        let bf16 = bytes_of(Element::Bf16);
        let sizes = [tokens * inner, outer * inner, tokens * outer];
        let bytes = sizes.iter().sum::<usize>() * bf16 + 4 * outer * inner;
        let memory = Taken::new(self.card, bytes)?;
        self.fill(memory.at, sizes.iter().sum(), Element::Bf16)?;
        let x = memory.at;
        let w = x.offset(sizes[0] * bf16);
        let y = w.offset(sizes[1] * bf16);
        let dw = y.offset(sizes[2] * bf16);
        let matrix = Matrix::new;
        let products = [
            ([tokens, outer, inner], matrix(x, inner), matrix(w, inner).t(), matrix(y, outer)),
            ([tokens, inner, outer], matrix(y, outer), matrix(w, inner), matrix(x, inner)),
            ([outer, inner, tokens], matrix(y, outer).t(), matrix(x, inner), matrix(dw, inner)),
        ];
        let flops = 2.0 * tokens as f64 * inner as f64 * outer as f64;
        let mut tflops = [0.0; 3];
        for (tflops, (size, a, b, out)) in tflops.iter_mut().zip(products) {
            let is_weight = out.at == dw;
            let product = Product {
                size,
                a,
                b,
                out,
                add: is_weight.then_some(dw),
                element: Element::Bf16,
                out_element: if is_weight { Element::F32 } else { Element::Bf16 },
                batch: 1,
            };
            *tflops = flops / seconds(self.card, || self.card.multiply(&product))? / 1e12;
        }
        drop(memory);
        let burn_tflops = match device {
            Some(device) => Some(self.burn_layer(tokens, inner, outer, device)?),
            None => None,
        };
        Ok(Layer { name, tokens, inner, outer, tflops, burn_tflops })
    }

    /// The same through burn's products on the same card.
    fn burn_layer(
        &self,
        tokens: usize,
        inner: usize,
        outer: usize,
        device: &Device,
    ) -> Result<[f64; 3], Error> {
        let uniform = Distribution::Uniform(-1.0, 1.0);
        let random =
            |shape: [usize; 2]| Tensor::<2>::random(shape, uniform, device).cast(DType::BF16);
        let (x, w, dy) = (random([tokens, inner]), random([outer, inner]), random([tokens, outer]));
        let flops = 2.0 * tokens as f64 * inner as f64 * outer as f64;
        let rate = |work: &dyn Fn() -> Tensor<2>| -> Result<f64, Error> {
            let one = || {
                let _product = work();
                wait(device)
            };
            Ok(flops / seconds(self.card, one)? / 1e12)
        };
        Ok([
            rate(&|| linear::forward(&x, &w))?,
            rate(&|| linear::backward_input(&w, &dy))?,
            rate(&|| dy.clone().transpose().matmul(x.clone()))?,
        ])
    }

    /// Uniform numbers: zeros run faster than anything that is ever multiplied.
    fn fill(&self, at: Address, n: usize, element: Element) -> Result<(), Error> {
        fill(self.card, at, n, element)
    }
}

fn fill(card: &dyn Card, at: Address, n: usize, element: Element) -> Result<(), Error> {
    const PIECE: usize = 1 << 20;
    let bytes = bytes_of(element);
    let mut state = 1_u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from((state >> 16) as u16) / 32768.0 - 1.0).to_le_bytes()
    };
    // The upper half of an f32 is a bf16.
    let piece: Vec<u8> = (0..PIECE.min(n)).flat_map(|_| draw()[4 - bytes..].to_vec()).collect();
    for start in (0..n).step_by(PIECE) {
        let len = PIECE.min(n - start);
        card.write(at.offset(start * bytes), &piece[..len * bytes])?;
    }
    Ok(())
}

/// A step of one narrow block whose attention is of this shape.
fn attention_settings(head_dim: usize, width: usize, seq: usize, rows: usize) -> Settings {
    let n_heads = (width / head_dim).max(1);
    let decoder = Decoder {
        vocab: 64,
        d_model: 64,
        n_layers: 1,
        n_heads,
        n_kv_heads: n_heads,
        head_dim,
        d_ff: 64,
        norm_eps: 1e-5,
        rope_base: 1e4,
    };
    let (element, moments) = (Element::Bf16, Element::F32);
    Settings {
        decoder,
        rows,
        seq,
        element,
        moments,
        keep: Keep::All,
        documents: false,
        z_loss: 0.0,
    }
}

fn attention_rate(step: Step) -> Result<AttentionRate, Error> {
    let Settings { decoder, rows, seq, element, .. } = *step.settings();
    let (qkv, d_out) = (step.buffers.blocks[0].qkv, step.buffers.wide);
    fill(step.card(), qkv, rows * seq * decoder.qkv_width(), element)?;
    fill(step.card(), d_out, rows * seq * decoder.query_width(), element)?;
    let forward = seconds(step.card(), || step.attention_forward(0))?;
    let backward = seconds(step.card(), || step.attention_backward(0))?;
    let heads = (rows * decoder.n_heads) as f64;
    let tflop = 2.0 * heads * (seq as f64).powi(2) * decoder.head_dim as f64 / 1e12;
    Ok(AttentionRate {
        head_dim: decoder.head_dim,
        seq_len: seq,
        n_heads: decoder.n_heads,
        batch: rows,
        forward_tflops: tflop / forward,
        backward_tflops: 2.5 * tflop / backward,
        both_tflops: 3.5 * tflop / (forward + backward),
    })
}

/// Median seconds of `work`, many at once, after one that does not count.
fn seconds(card: &dyn Card, mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut round = |n: usize| -> Result<f64, Error> {
        card.finish()?;
        let started = Instant::now();
        (0..n).try_for_each(|_| work())?;
        card.finish()?;
        Ok(started.elapsed().as_secs_f64() / n as f64)
    };
    round(1)?;
    let n = (ROUND_SECONDS / round(1)?).ceil().clamp(1.0, 1000.0) as usize;
    let mut times = [0.0; ROUNDS];
    for time in &mut times {
        *time = round(n)?;
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

fn wait(device: &Device) -> Result<(), Error> {
    device.sync().map_err(|problem| Error::call("waiting for the device", format!("{problem:?}")))
}

/// Memory of a card, given back where this is dropped.
struct Taken<'a> {
    card: &'a dyn Card,
    at: Address,
}

impl<'a> Taken<'a> {
    fn new(card: &'a dyn Card, bytes: usize) -> Result<Self, Error> {
        Ok(Self { card, at: card.allocate(bytes as u64)? })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.card.release(self.at);
    }
}

#[cfg(all(test, feature = "emulated"))]
mod tests {
    use super::*;
    use crate::resident::emulated::{Behaviour, Emulated};

    #[test]
    fn every_fact_is_a_number_above_zero() {
        let sizes = Sizes {
            copy_bytes: 4096,
            squares: vec![32],
            tokens: 64,
            layers: vec![("a", 16, 32)],
            head_dims: vec![64],
            lengths: vec![32],
            attention_width: 64,
        };
        let open = || Ok(Box::new(Emulated::new(Behaviour::HOPPER)) as Box<dyn Card>);
        let facts = Facts::measure(&open, None, &sizes).unwrap();
        let text = serde_json::to_value(&facts).unwrap();
        let above = |value: &serde_json::Value| value.as_f64().is_some_and(|x| x > 0.0);
        assert!(["copy_gb_per_sec", "rate", "open_seconds"].iter().all(|key| above(&text[key])));
        assert!(text["matrix"][0]["tflops"].as_array().unwrap().iter().all(above));
        let rates = ["forward_tflops", "backward_tflops", "both_tflops"];
        assert!(rates.iter().all(|key| above(&text["attention"][0][key])));
    }
}
