//! `LayerTensors`: everything that a layer is given, on a device.

use crate::context::Context;
use crate::describe::Given;
use crate::error::Result;
use crate::gpu::{Bound, Operands, Parameters, Plan, Tensor};
use crate::layer::Layer;
use crate::program::Name;

/// All that a layer is given, uploaded, but for its output.
#[derive(Debug)]
pub struct LayerTensors {
    tensors: Vec<(Given, Tensor)>,
}

impl LayerTensors {
    /// Uploads the values of all that a layer is given, in the layer's order.
    ///
    /// # Errors
    /// Those of [`Tensor::from_slice`].
    pub fn new<V: AsRef<[f32]>>(context: &Context, layer: &Layer, values: &[V]) -> Result<Self> {
        let upload = |(given, values): (Given, &V)| {
            let tensor = Tensor::from_slice(context, given.shape, values.as_ref())?;
            Ok((given, tensor))
        };
        let tensors = layer.describe().given().into_iter().zip(values).map(upload);
        Ok(Self::of(tensors.collect::<Result<_>>()?))
    }

    /// Tensors that are there already, each with what it is to the layer.
    #[must_use]
    pub fn of(tensors: Vec<(Given, Tensor)>) -> Self {
        Self { tensors }
    }

    /// Binds a plan of the layer to them, and to an output.
    ///
    /// # Errors
    /// Those of [`Plan::weights`] and [`Plan::bind`].
    ///
    /// # Panics
    /// If no input was given.
    pub fn bind(&self, plan: &Plan, output: &Tensor) -> Result<Bound> {
        let input = |name: &str| {
            let mut inputs = self.tensors.iter().filter(|(given, _)| !given.is_parameter);
            inputs.find(|(given, _)| given.name == name).map(|(_, tensor)| tensor)
        };
        let operands = Operands::new(input("input").expect("every layer has an input"), output);
        let operands = operands.residual(input("residual")).input_scale(input("input_scale")).other(input("other"));
        let parameters = self.tensors.iter().filter(|(given, _)| given.is_parameter);
        let named = parameters.map(|(Given { part, name, .. }, tensor)| (Name { part: *part, name }, tensor));
        let weights = plan.weights(&Parameters { tensors: named.collect() })?;
        plan.bind(&weights, operands)
    }
}
