//! The layers of a network besides convolutions and pools: their sizes, and their definitions in `f64`.
//!
//! They see a tensor as a stretch of values with an axis or several, whatever its rank is in a network.

pub(crate) mod binary;
pub(crate) mod matmul;
pub(crate) mod normalise;
pub(crate) mod perceptron;
pub(crate) mod rearrange;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod softmax;
pub(crate) mod transposed;
pub(crate) mod unary;
