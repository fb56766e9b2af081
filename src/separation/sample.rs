//! `Sample`: what a network is run on to see what it loses.

use crate::on_device::Array;

/// All inputs of one run, and what should come of them if that is known.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The inputs.
    pub given: Vec<Array>,
    /// The picture that an upscaler should make, in the order and range of its output.
    pub truth: Option<Vec<f32>>,
}
