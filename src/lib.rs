#![doc = include_str!("../README.md")]

mod activation;
mod constants;
mod context;
mod conv;
mod crop;
#[cfg(feature = "decouple")]
pub mod decouple;
mod describe;
mod dtype;
mod error;
mod extent;
mod geometry;
mod gpu;
pub mod kernels;
mod layer;
mod layer_tensors;
#[cfg(feature = "unstable")]
mod layer_text;
mod layers;
mod loops;
mod memory;
mod model;
pub mod network;
// These two block, as no browser may.
#[cfg(all(feature = "unstable", not(target_arch = "wasm32")))]
mod on_device;
mod planner;
mod pool;
#[cfg(all(feature = "unstable", not(target_arch = "wasm32")))]
mod profile;
mod program;
pub mod reference;
mod residual;
pub mod roofline;
mod rounding;
mod sample;
mod separable;
#[cfg(all(feature = "unstable", feature = "onnx", feature = "decouple", not(target_arch = "wasm32")))]
mod separation;
mod shader;
mod size;
pub mod summary;
mod target;
#[cfg(feature = "unstable")]
mod text;
pub mod timing;
pub mod tune;
mod tuning;
pub mod verify;

pub use activation::Activation;
pub use context::{Context, adapters};
pub use conv::Conv2d;
pub use dtype::DType;
pub use error::{Error, Result};
pub use geometry::Geometry;
pub use gpu::{Bound, Device, Operands, Parameters, Plan, Shape, Tensor, Weights, Workspace};
pub use layer::Layer;
pub use layers::binary::{Binary, BinaryOperation};
pub use layers::matmul::MatMul;
pub use layers::normalise::Normalise;
pub use layers::perceptron::Perceptron;
pub use layers::rearrange::{Axis, Rearrange};
pub use layers::reduce::{Reduce, Reduction};
pub use layers::resize::{Coordinates, Interpolation, Nearest, Resize2d};
pub use layers::softmax::Softmax;
pub use layers::transposed::ConvTranspose2d;
pub use layers::unary::Unary;
pub use network::{Network, NetworkPlan, Operation};
pub use pool::{AveragePool2d, MaxPool2d, PoolGeometry, Pooling};
pub use residual::Residual;
pub use rounding::Rounding;
pub use separable::SeparableConv2d;
pub use size::{Padding, PaddingMode, Sides, Size};
pub use summary::Summary;
pub use target::Target;
pub use tuning::{Choice, Tuning};
pub use wgpu;

/// The inside, for the `sepconv` command, its tests and its browser package: programs, the planner, shaders as text,
/// arguments as text. It is behind the feature `unstable` and promises nothing: it may change in every release.
#[cfg(feature = "unstable")]
pub mod unstable {
    pub use crate::describe::{Describe, Given};
    pub use crate::layer_tensors::LayerTensors;
    pub use crate::memory::Memory;
    pub use crate::model::{GPUS, Gpu, Prediction, Work, predict, seconds};
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::on_device::{Array, OnDevice, Progress, inputs, layer_on, shapes, timed};
    pub use crate::planner::Planner;
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::profile::{LayerProfile, Profile, StepProfile};
    pub use crate::program::{Binding, Buffer, Kind, Name, Program, Slice, Step};
    pub use crate::sample::Sample;
    pub use crate::shader::{Elements, Shader, specialise};

    /// What `wgpu` lacks in a browser.
    #[cfg(target_arch = "wasm32")]
    pub use crate::gpu::browser::instead;

    /// The normal layers of an ONNX file, and separable ones in their place.
    #[cfg(feature = "onnx")]
    pub use crate::network::onnx::separate;

    /// A network with separable layers in the place of normal ones.
    #[cfg(all(feature = "onnx", feature = "decouple", not(target_arch = "wasm32")))]
    pub mod separation {
        pub use crate::separation::*;
    }

    /// Layers' arguments as text.
    pub mod text {
        pub use crate::text::*;
    }

    /// Layers of any kind as text.
    pub mod layer_text {
        pub use crate::layer_text::*;
    }
}
