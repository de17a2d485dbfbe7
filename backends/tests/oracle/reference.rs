//! Every kernel as plain f64 loops, with textbook gradients, sharing no code with the kernels.
//!
//! Attention holds its whole matrix of probabilities here, the loss a whole row of logits. That the
//! gradients belong to the forwards is itself tested, by finite differences, in `parity.rs`.

/// Row-major `a [n, k] * b [k, m]`.
pub(crate) fn matmul(a: &[f64], b: &[f64], [n, k, m]: [usize; 3]) -> Vec<f64> {
    let mut product = vec![0.0; n * m];
    for i in 0..n {
        for l in 0..k {
            for j in 0..m {
                product[i * m + j] += a[i * k + l] * b[l * m + j];
            }
        }
    }
    product
}

pub(crate) fn transpose(a: &[f64], [rows, cols]: [usize; 2]) -> Vec<f64> {
    (0..rows * cols).map(|i| a[(i % rows) * cols + i / rows]).collect()
}

/// `y`, and the reciprocal root of each row.
pub(crate) fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let d = weight.len();
    let mut y = Vec::new();
    let mut roots = Vec::new();
    for row in x.chunks_exact(d) {
        let mean_square = row.iter().map(|v| v * v).sum::<f64>() / d as f64;
        let root = 1.0 / (mean_square + eps).sqrt();
        y.extend(row.iter().zip(weight).map(|(v, w)| v * root * w));
        roots.push(root);
    }
    (y, roots)
}

/// `(dx, dw)`: `dx_j = r w_j dy_j - x_j r³ / d sum_i dy_i w_i x_i`.
pub(crate) fn rms_norm_gradient(x: &[f64], weight: &[f64], eps: f64, dy: &[f64]) -> [Vec<f64>; 2] {
    let d = weight.len();
    let (_, roots) = rms_norm(x, weight, eps);
    let mut dx = Vec::new();
    let mut dw = vec![0.0; d];
    for ((x, dy), r) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(roots) {
        let along: f64 = (0..d).map(|i| dy[i] * weight[i] * x[i]).sum();
        for j in 0..d {
            dx.push(r * weight[j] * dy[j] - x[j] * r.powi(3) * along / d as f64);
            dw[j] += dy[j] * x[j] * r;
        }
    }
    [dx, dw]
}

/// Rotates each pair `(i, i + head_dim / 2)` by `sign * position * base^(-2i / head_dim)`.
///
/// `x` is `[batch, seq, heads, head_dim]`, `positions` one row for all or one for each.
pub(crate) fn rope(
    x: &[f64],
    [seq, heads, head_dim]: [usize; 3],
    positions: &[Vec<u32>],
    base: f64,
    sign: f64,
) -> Vec<f64> {
    let half = head_dim / 2;
    let mut rotated = vec![0.0; x.len()];
    for (row, head) in x.chunks_exact(head_dim).enumerate() {
        let (batch, at) = (row / heads / seq, row / heads % seq);
        let position = f64::from(positions[batch % positions.len()][at]);
        for i in 0..half {
            let angle = sign * position / base.powf(2.0 * i as f64 / head_dim as f64);
            let (sin, cos) = angle.sin_cos();
            rotated[row * head_dim + i] = head[i] * cos - head[i + half] * sin;
            rotated[row * head_dim + i + half] = head[i + half] * cos + head[i] * sin;
        }
    }
    rotated
}

pub(crate) fn swiglu(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

/// `(d_gate, d_up)`.
pub(crate) fn swiglu_gradient(gate: &[f64], up: &[f64], dy: &[f64]) -> [Vec<f64>; 2] {
    let sigmoid = |g: f64| 1.0 / (1.0 + (-g).exp());
    let at = |i: usize| {
        let (g, s) = (gate[i], sigmoid(gate[i]));
        (dy[i] * up[i] * (s + g * s * (1.0 - s)), dy[i] * g * s)
    };
    let (d_gate, d_up) = (0..dy.len()).map(at).unzip();
    [d_gate, d_up]
}

/// Sizes of one attention call and the first key that each query may see.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) batch: usize,
    pub(crate) q_seq: usize,
    pub(crate) k_seq: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// `[batch, q_seq]`.
    pub(crate) first: Vec<usize>,
}

/// Output, log-sum-exp `[batch, heads, q_seq]`, and the gradients of q, k, v for `d_output`.
pub(crate) struct AttentionResult {
    pub(crate) output: Vec<f64>,
    pub(crate) log_sum_exp: Vec<f64>,
    pub(crate) dq: Vec<f64>,
    pub(crate) dk: Vec<f64>,
    pub(crate) dv: Vec<f64>,
}

impl Attention {
    fn query(&self, batch: usize, at: usize, head: usize) -> usize {
        ((batch * self.q_seq + at) * self.heads + head) * self.head_dim
    }

    fn key(&self, batch: usize, at: usize, head: usize) -> usize {
        let kv_head = head / (self.heads / self.kv_heads);
        ((batch * self.k_seq + at) * self.kv_heads + kv_head) * self.head_dim
    }

    pub(crate) fn run(&self, q: &[f64], k: &[f64], v: &[f64], d_output: &[f64]) -> AttentionResult {
        let mut result = AttentionResult {
            output: vec![0.0; q.len()],
            log_sum_exp: Vec::new(),
            dq: vec![0.0; q.len()],
            dk: vec![0.0; k.len()],
            dv: vec![0.0; v.len()],
        };
        for batch in 0..self.batch {
            for head in 0..self.heads {
                for at in 0..self.q_seq {
                    self.run_query([batch, head, at], [q, k, v, d_output], &mut result);
                }
            }
        }
        result
    }

    fn run_query(
        &self,
        [batch, head, at]: [usize; 3],
        [q, k, v, d_output]: [&[f64]; 4],
        result: &mut AttentionResult,
    ) {
        let d = self.head_dim;
        let scale = 1.0 / (d as f64).sqrt();
        let mine = self.query(batch, at, head);
        let seen = self.first[batch * self.q_seq + at]..self.k_seq - self.q_seq + at + 1;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let row = |values: &[f64], from: usize| values[from..from + d].to_vec();
        let (query, d_out) = (row(q, mine), row(d_output, mine));
        let keys: Vec<usize> = seen.map(|j| self.key(batch, j, head)).collect();
        let scores: Vec<f64> = keys.iter().map(|&j| dot(&query, &k[j..j + d]) * scale).collect();
        let log_sum = log_sum_exp(&scores);
        let weights: Vec<f64> = scores.iter().map(|s| (s - log_sum).exp()).collect();
        result.log_sum_exp.push(log_sum);
        let d_weights: Vec<f64> = keys.iter().map(|&j| dot(&d_out, &v[j..j + d])).collect();
        let mean = dot(&weights, &d_weights);
        for (n, &j) in keys.iter().enumerate() {
            let d_score = weights[n] * (d_weights[n] - mean) * scale;
            for c in 0..d {
                result.output[mine + c] += weights[n] * v[j + c];
                result.dq[mine + c] += d_score * k[j + c];
                result.dk[j + c] += d_score * query[c];
                result.dv[j + c] += weights[n] * d_out[c];
            }
        }
    }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

/// Log-probabilities and log-sum-exp of each token, the first of the most probable ids, and the
/// gradients of
/// `sum_t weight_t (-log_prob_t + z_loss log_sum_exp_t²)`.
pub(crate) struct CrossEntropy {
    pub(crate) log_probs: Vec<f64>,
    pub(crate) log_sum_exp: Vec<f64>,
    pub(crate) best: Vec<usize>,
    pub(crate) dx: Vec<f64>,
    pub(crate) dw: Vec<f64>,
}

pub(crate) fn cross_entropy(
    x: &[f64],
    weight: &[f64],
    d: usize,
    targets: &[usize],
    weights: &[f64],
    z_loss: f64,
) -> CrossEntropy {
    let vocab = weight.len() / d;
    let mut result = CrossEntropy {
        log_probs: Vec::new(),
        log_sum_exp: Vec::new(),
        best: Vec::new(),
        dx: vec![0.0; x.len()],
        dw: vec![0.0; weight.len()],
    };
    for (t, (x, &target)) in x.chunks_exact(d).zip(targets).enumerate() {
        let logits: Vec<f64> = weight
            .chunks_exact(d)
            .map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>())
            .collect();
        let log_sum = log_sum_exp(&logits);
        result.log_probs.push(logits[target] - log_sum);
        result.log_sum_exp.push(log_sum);
        result
            .best
            .push((0..vocab).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap());
        for id in 0..vocab {
            let probability = (logits[id] - log_sum).exp();
            let d_log_prob = f64::from(u8::from(id == target)) - probability;
            let d_logit = weights[t] * (2.0 * z_loss * log_sum * probability - d_log_prob);
            for c in 0..d {
                result.dx[t * d + c] += d_logit * weight[id * d + c];
                result.dw[id * d + c] += d_logit * x[c];
            }
        }
    }
    result
}
