//! The kernels of the step, compiled for the card and the number formats.

use super::{
    Card, Error, Settings, Source,
    card::{Element, Kernel},
    sources,
};

/// One field a kernel, named as in `kernels/*.cu`.
pub(crate) struct Library {
    pub(crate) adamw: Kernel,
    pub(crate) cast: Kernel,
    pub(crate) cross_entropy: Kernel,
    pub(crate) embedding_forward: Kernel,
    pub(crate) embedding_backward: Kernel,
    pub(crate) embedding_backward_frequent: Kernel,
    pub(crate) grad_norm: Kernel,
    pub(crate) sum_of_squares: Kernel,
    pub(crate) loss_totals: Kernel,
    pub(crate) rms_norm_forward: Kernel,
    pub(crate) rms_norm_replay: Kernel,
    pub(crate) rms_norm_backward: Kernel,
    pub(crate) rms_norm_weight: Kernel,
    pub(crate) rope: Kernel,
    pub(crate) swiglu_forward: Kernel,
    pub(crate) swiglu_backward: Kernel,
}

impl Library {
    pub(crate) fn compile(card: &dyn Card, settings: &Settings) -> Result<Self, Error> {
        let element = element_macro(settings.element);
        let moment = ("MOMENT", element_macro(settings.moments).1);
        let find = |source: &Source, names: &[&str]| -> Result<Vec<Kernel>, Error> {
            let macros = if source.name == sources::ADAMW.name {
                vec![element.clone(), moment.clone()]
            } else {
                vec![element.clone()]
            };
            card.kernels(source, &macros, names)
        };
        let one = |source, name| Ok::<_, Error>(find(source, &[name])?[0]);
        let embedding = ["embedding_forward", "embedding_backward", "embedding_backward_frequent"];
        let embedding = find(&sources::EMBEDDING, &embedding)?;
        let grad_norm = find(&sources::GRAD_NORM, &["grad_norm", "sum_of_squares"])?;
        let rms_norm =
            ["rms_norm_forward", "rms_norm_replay", "rms_norm_backward", "rms_norm_weight"];
        let rms_norm = find(&sources::RMS_NORM, &rms_norm)?;
        let swiglu = find(&sources::SWIGLU, &["swiglu_forward", "swiglu_backward"])?;
        Ok(Self {
            adamw: one(&sources::ADAMW, "adamw")?,
            cast: one(&sources::CAST, "cast")?,
            cross_entropy: one(&sources::CROSS_ENTROPY, "cross_entropy")?,
            embedding_forward: embedding[0],
            embedding_backward: embedding[1],
            embedding_backward_frequent: embedding[2],
            grad_norm: grad_norm[0],
            sum_of_squares: grad_norm[1],
            loss_totals: one(&sources::LOSS, "loss_totals")?,
            rms_norm_forward: rms_norm[0],
            rms_norm_replay: rms_norm[1],
            rms_norm_backward: rms_norm[2],
            rms_norm_weight: rms_norm[3],
            rope: one(&sources::ROPE, "rope")?,
            swiglu_forward: swiglu[0],
            swiglu_backward: swiglu[1],
        })
    }
}

/// The macro that names the element type in the kernels.
pub(crate) fn element_macro(element: Element) -> (&'static str, String) {
    let name = match element {
        Element::F32 => "float",
        Element::Bf16 => "bf16",
    };
    ("ELEMENT", name.to_owned())
}
