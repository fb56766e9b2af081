#![doc = include_str!("../README.md")]

mod bound;
mod context;
mod conv;
mod error;
mod fused;
mod geometry;
pub mod kernels;
mod pipeline;
mod plan;
pub mod reference;
pub mod roofline;
mod schedule;
mod separable;
mod separable_choice;
pub mod summary;
mod tensor;
pub mod text;
pub mod timing;
#[cfg(not(target_arch = "wasm32"))]
pub mod tune;
mod tuning;
pub mod verify;

pub use bound::Bound;
pub use context::{Context, adapters};
pub use conv::Conv2d;
pub use error::{Error, Result};
pub use geometry::{Activation, Geometry, Padding, PaddingMode, Sides, Size};
pub use pipeline::specialise;
pub use plan::{Operands, Plan};
pub use schedule::{Choice, Dispatch, Part, Role, Schedule, Stretch};
pub use separable::{SeparableConv2d, SeparableOperands, SeparablePlan};
pub use separable_choice::{CHAINED, SeparableChoice};
pub use summary::Summary;
pub use tensor::{Shape, Tensor};
pub use tuning::{Tunable, Tuning};
pub use wgpu;
