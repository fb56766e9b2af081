//! The row of `shaders/winograd_4x4.wgsl`: Winograd's method, as `winograd` has it, with tiles of 4 × 4 outputs. They take 36
//! multiply-adds for 16 outputs, where tiles of 2 × 2 take 64. But their errors are many times as large, so nothing chooses it:
//! who wants it asks for it.

use super::row::{Kernel, Rank};
use super::winograd::{Method, PARTS, Tiles, Transform, rules};
use crate::shader::Shader;

pub(super) static KERNEL: Kernel = Kernel {
    name: "winograd_4x4",
    summary: "a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(4 x 4, 3 x 3)",
    chosen: "only where it is asked for by name, since its errors are many times as large as winograd's",
    bound_by: "its product for many channels, memory for few",
    rank: Rank::Asked,
    shader: Some(Shader { name: "winograd_4x4", own: include_str!("../../shaders/winograd_4x4.wgsl"), parts: PARTS }),
    rules: &rules::<FourByFour>(|_, _| false),
};

struct FourByFour;

impl Tiles for FourByFour {
    const METHOD: Method = Method {
        kernel: &KERNEL,
        outputs: 4,
        of_inputs: Transform { operations: 19, multiply_adds: 6, others: 488.0 },
        of_sums: Transform { operations: 13, multiply_adds: 3, others: 486.0 },
    };
}
