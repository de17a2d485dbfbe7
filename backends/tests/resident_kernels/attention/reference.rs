//! Attention and its gradient in plain f64 loops.

use super::{Problem, Shape};

/// What the kernels compute, in their layouts.
pub(super) struct Attention {
    /// `[tokens, query_width]`.
    pub(super) out: Vec<f64>,
    /// `[batch, heads, seq]`: logarithm of the sum of exponentials of scores.
    pub(super) lse: Vec<f64>,
    /// `[batch, heads, seq]`: output times its gradient.
    pub(super) delta: Vec<f64>,
    /// `[tokens, row]`.
    pub(super) d_qkv: Vec<f64>,
}

/// One query, and the places of what it meets.
struct Query<'a> {
    problem: &'a Problem,
    batch: usize,
    head: usize,
    position: usize,
}

impl Attention {
    pub(super) fn of(problem: &Problem) -> Self {
        let shape = problem.shape;
        let statistics = shape.tokens() * shape.heads;
        let mut attention = Self {
            out: vec![0.0; problem.d_out.len()],
            lse: vec![0.0; statistics],
            delta: vec![0.0; statistics],
            d_qkv: vec![0.0; problem.qkv.len()],
        };
        for i in 0..statistics {
            let (position, head) = (i % shape.seq, i / shape.seq % shape.heads);
            let batch = i / shape.seq / shape.heads;
            attention.add_query(i, &Query { problem, batch, head, position });
        }
        attention
    }

    fn add_query(&mut self, statistic: usize, query: &Query<'_>) {
        let Problem { shape, qkv, d_out, .. } = query.problem;
        let (scale, dims) = (f64::from(shape.scale()), 0..shape.head_dim);
        let first = query.problem.starts[query.token(query.position)] as usize;
        let keys = first..query.position + 1;
        let (at, out) = (query.query(), query.out());
        let dot = |a: usize, b: usize| dims.clone().map(|i| qkv[a + i] * qkv[b + i]).sum::<f64>();
        let scores: Vec<f64> = keys.clone().map(|key| dot(at, query.key(key)) * scale).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + scores.iter().map(|score| (score - top).exp()).sum::<f64>().ln();
        let probabilities: Vec<f64> = scores.iter().map(|score| (score - lse).exp()).collect();
        for (key, p) in keys.clone().zip(&probabilities) {
            let value = query.value(key);
            dims.clone().for_each(|i| self.out[out + i] += p * qkv[value + i]);
        }
        let delta = dims.clone().map(|i| self.out[out + i] * d_out[out + i]).sum::<f64>();
        for (j, p) in keys.zip(&probabilities) {
            let (key, value) = (query.key(j), query.value(j));
            let d_p = dims.clone().map(|i| d_out[out + i] * qkv[value + i]).sum::<f64>();
            let d_score = p * (d_p - delta) * scale;
            for i in dims.clone() {
                self.d_qkv[at + i] += d_score * qkv[key + i];
                self.d_qkv[key + i] += d_score * qkv[at + i];
                self.d_qkv[value + i] += p * d_out[out + i];
            }
        }
        (self.lse[statistic], self.delta[statistic]) = (lse, delta);
    }
}

impl Query<'_> {
    fn shape(&self) -> &Shape {
        &self.problem.shape
    }

    fn token(&self, position: usize) -> usize {
        self.batch * self.shape().seq + position
    }

    fn query(&self) -> usize {
        self.token(self.position) * self.shape().row() + self.head * self.shape().head_dim
    }

    fn out(&self) -> usize {
        self.token(self.position) * self.shape().query_width() + self.head * self.shape().head_dim
    }

    fn key(&self, position: usize) -> usize {
        let shape = self.shape();
        let kv_head = self.head / (shape.heads / shape.kv_heads);
        let first = self.token(position) * shape.row() + shape.query_width();
        first + kv_head * shape.head_dim
    }

    fn value(&self, position: usize) -> usize {
        self.key(position) + self.shape().key_width()
    }
}

/// `[batch, heads, seq]`: the sum over each head of an output times its gradient.
pub(super) fn row_sums(shape: Shape, out: &[f64], d_out: &[f64]) -> Vec<f64> {
    let Shape { seq, heads, head_dim, .. } = shape;
    let sum = |i: usize| -> f64 {
        let (batch, head, position) = (i / seq / heads, i / seq % heads, i % seq);
        let first = ((batch * seq + position) * heads + head) * head_dim;
        (first..first + head_dim).map(|i| out[i] * d_out[i]).sum()
    };
    (0..shape.tokens() * heads).map(sum).collect()
}
