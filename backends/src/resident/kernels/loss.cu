// The loss of a micro-batch from what the cross-entropy has left of each token.
#include "reduce.cuh"

// Weighted sums of the negative log-probabilities and of the squared log-sum-exp.
// - log_probs, log_sums, weights: [n]; totals: [2], the sums are added to it if `add`
// - grid: 1
KERNEL void loss_totals(const float *log_probs, const float *log_sums, const float *weights, float *totals, int n,
                        int add) {
    double loss = 0, squares = 0;
    UNROLL4 for (int i = threadIdx.x; i < n; i += blockDim.x) {
        double weight = weights[i], log_sum = log_sums[i];
        loss -= weight * log_probs[i];
        squares += weight * log_sum * log_sum;
    }
    loss = block_sum(loss);
    squares = block_sum(squares);
    if (threadIdx.x > 0) return;
    totals[0] = float(add ? totals[0] + loss : loss);
    totals[1] = float(add ? totals[1] + squares : squares);
}
EXPORT(loss_totals)
