//! ATen's fused forward; the backward in few passes.

use burn::tensor::Tensor;
use tch::Kind;

use crate::torch::{give, read, read_wide, take_wide};

pub(super) fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    let x = read(&x);
    let d = x.size()[1];
    let weight = read(weight).to_kind(x.kind()).reshape([d]);
    let (y, rstd) = x.internal_fused_rms_norm([d], Some(&weight), eps);
    (give(y), give(rstd))
}

pub(super) fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
    let x = read(x);
    // The product is in f32, as `rstd` is.
    let mut y = &x * &read(rstd);
    give(y.g_mul_(&read(weight)).to_kind(x.kind()))
}

pub(super) fn backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    rstd: &Tensor<2>,
    dy: Tensor<2>,
    around: Option<Tensor<2>>,
    dw: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let kind = read(x).kind();
    let (x, weight, rstd) = (read_wide(x), read_wide(weight), read(rstd));
    let (mut dy, dw) = (take_wide(dy), take_wide(dw));
    let d = x.size()[1];
    let mut product = &dy * &x;
    // dx = rstd (dy w) - x rstd³ mean(dy w x)
    let mut along = product.mm(&weight.reshape([d, 1]));
    along *= rstd.pow_tensor_scalar(3) * (-1.0 / d as f64);
    // Not a product with `rstd`: MKL adds in one running sum, over half a million rows wrong by 1e-5.
    let columns = product.g_mul_(&rstd).sum_dim_intlist(0i64, true, Kind::Float);
    let dw = dw.view([1, d]).g_add_(&columns);
    dy *= &weight;
    let mut dx = match around {
        Some(around) => take_wide(around).addcmul_(&dy, &rstd),
        None => dy.g_mul_(&rstd),
    };
    let dx = dx.addcmul_(&x, &along);
    (give(dx.to_kind(kind)), give(dw))
}
