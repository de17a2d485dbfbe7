//! ATen's fused forward; the backward in few passes, its row and column sums as products.

use burn::tensor::Tensor;

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
    let product = &dy * &x;
    let _ = dw.view([d]).addmv_(&product.tr(), &rstd.reshape([-1]));
    // dx = rstd (dy w) - x rstd³ mean(dy w x)
    let mut along = product.mm(&weight.reshape([d, 1]));
    along *= rstd.pow_tensor_scalar(3) * (-1.0 / d as f64);
    dy *= &weight;
    let mut dx = match around {
        Some(around) => take_wide(around).addcmul_(&dy, &rstd),
        None => dy.g_mul_(&rstd),
    };
    let dx = dx.addcmul_(&x, &along);
    (give(dx.to_kind(kind)), give(dw))
}
