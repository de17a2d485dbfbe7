//! Keys and values of the positions already decoded.

use burn::tensor::{Int, Tensor, TensorData};

/// Cache of all layers; grows by doubling, up to the model's context.
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    pub(crate) len: usize,
}

/// Keys and values of one layer in buffers `[batch, capacity, n_kv_heads, head_dim]`.
#[derive(Default)]
pub(crate) struct LayerCache {
    key: Option<Tensor<4>>,
    value: Option<Tensor<4>>,
    len: usize,
}

impl KvCache {
    /// An empty cache for a model of `n_layers` blocks.
    pub fn new(n_layers: usize) -> Self {
        Self { layers: (0..n_layers).map(|_| LayerCache::default()).collect(), len: 0 }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A cache that goes on apart from this one.
    pub(crate) fn fork(&self) -> Self {
        Self { layers: self.layers.iter().map(LayerCache::fork).collect(), len: self.len }
    }

    /// A cache of picked rows, which may repeat.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let layers = self.layers.iter().map(|layer| layer.select(rows)).collect();
        Self { layers, len: self.len }
    }

    /// Whether nothing was decoded yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl LayerCache {
    fn fork(&self) -> Self {
        Self { key: self.key.clone(), value: self.value.clone(), len: self.len }
    }

    fn select(&self, rows: &[usize]) -> Self {
        let select = |buffer: &Option<Tensor<4>>| {
            buffer.as_ref().map(|buffer| {
                let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
                let n = rows.len();
                let rows: Tensor<1, Int> =
                    Tensor::from_data(TensorData::new(rows, [n]), &buffer.device());
                buffer.clone().narrow(1, 0, self.len).select(0, rows)
            })
        };
        Self { key: select(&self.key), value: select(&self.value), len: self.len }
    }

    /// Appends the new positions and returns all.
    ///
    /// # Shapes
    /// - `key`, `value`: `[batch, new, n_kv_heads, head_dim]`
    /// - returns: both `[batch, held + new, n_kv_heads, head_dim]`
    pub(crate) fn extend(&mut self, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let start = self.len;
        self.len += key.dims()[1];
        let write = |buffer: Option<Tensor<4>>, new: Tensor<4>| {
            let buffer = grown(buffer, &new, self.len);
            let [batch, n, heads, head_dim] = new.dims();
            buffer.slice_assign([0..batch, start..start + n, 0..heads, 0..head_dim], new)
        };
        let key = write(self.key.take(), key);
        let value = write(self.value.take(), value);
        let held = |buffer: &Tensor<4>| buffer.clone().narrow(1, 0, self.len);
        let all = (held(&key), held(&value));
        (self.key, self.value) = (Some(key), Some(value));
        all
    }
}

/// The buffer with room for `len` positions.
fn grown(buffer: Option<Tensor<4>>, new: &Tensor<4>, len: usize) -> Tensor<4> {
    let [batch, _, heads, head_dim] = new.dims();
    let room = |n: usize| Tensor::zeros([batch, n, heads, head_dim], (&new.device(), new.dtype()));
    match buffer {
        None => room(len.next_power_of_two()),
        Some(buffer) if buffer.dims()[1] >= len => buffer,
        Some(buffer) => {
            let held = buffer.dims()[1];
            Tensor::cat(vec![buffer, room(len.next_power_of_two() - held)], 1)
        }
    }
}
