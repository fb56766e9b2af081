//! What runs programs: devices, pipelines, tensors. It knows programs, and no convolution.

mod bound;
#[cfg(target_arch = "wasm32")]
pub(crate) mod browser;
mod compile;
mod device;
mod operands;
mod pipelines;
mod plan;
mod tensor;
mod weights;
mod workspace;

pub use bound::Bound;
pub use device::Device;
pub(crate) use device::Wait;
pub use operands::{Operands, Parameters};
pub use plan::Plan;
pub use tensor::{Shape, Tensor};
pub use weights::Weights;
pub use workspace::Workspace;
