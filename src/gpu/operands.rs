//! `Parameters` and `Operands`: the tensors of a layer, first those that stay, then those of one run.

use super::tensor::Tensor;
use super::workspace::Workspace;
use crate::program::Name;

/// The weights and biases of a layer.
#[derive(Debug, Clone, Default)]
pub struct Parameters<'a> {
    pub(crate) tensors: Vec<(Name, &'a Tensor)>,
}

impl<'a> Parameters<'a> {
    /// The weight of a convolution, `[out_channels, in_channels / groups, height, width]`.
    #[must_use]
    pub fn new(weight: &'a Tensor) -> Self {
        Self::default().with(None, "weight", weight)
    }

    /// The two weights of a separable layer, `[in_channels · depth_multiplier, 1, height, width]` and `[out_channels,
    /// in_channels · depth_multiplier, 1, 1]`.
    #[must_use]
    pub fn separable(depthwise_weight: &'a Tensor, pointwise_weight: &'a Tensor) -> Self {
        let depthwise = Self::default().with(Some("depthwise"), "weight", depthwise_weight);
        depthwise.with(Some("pointwise"), "weight", pointwise_weight)
    }

    /// One value per output channel of a convolution, `[1, out_channels, 1, 1]`; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn bias(self, bias: impl Into<Option<&'a Tensor>>) -> Self {
        self.with(None, "bias", bias)
    }

    /// What a [`Normalise`](crate::Normalise) layer multiplies its rows by; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn scale(self, scale: impl Into<Option<&'a Tensor>>) -> Self {
        self.with(None, "scale", scale)
    }

    /// One value per channel between the parts of a separable layer; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn depthwise_bias(self, bias: impl Into<Option<&'a Tensor>>) -> Self {
        self.with(Some("depthwise"), "bias", bias)
    }

    /// One value per output channel of a separable layer; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn pointwise_bias(self, bias: impl Into<Option<&'a Tensor>>) -> Self {
        self.with(Some("pointwise"), "bias", bias)
    }

    /// The weight of a [`Perceptron`](crate::Perceptron)'s hidden layer, `[hidden_features, in_features, 1, 1]`; takes a tensor or
    /// an `Option` of one.
    #[must_use]
    pub fn hidden_weight(self, weight: impl Into<Option<&'a Tensor>>) -> Self {
        self.with(Some("hidden"), "weight", weight)
    }

    /// One value per hidden feature of a [`Perceptron`](crate::Perceptron); takes a tensor or an `Option` of one.
    #[must_use]
    pub fn hidden_bias(self, bias: impl Into<Option<&'a Tensor>>) -> Self {
        self.with(Some("hidden"), "bias", bias)
    }

    /// Adds a tensor, in place of an earlier one of that name.
    fn with(mut self, part: Option<&'static str>, name: &'static str, tensor: impl Into<Option<&'a Tensor>>) -> Self {
        let name = Name { part, name };
        self.tensors.retain(|(other, _)| *other != name);
        self.tensors.extend(tensor.into().map(|tensor| (name, tensor)));
        self
    }
}

/// The tensors of one run of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    pub(crate) input: &'a Tensor,
    pub(crate) residual: Option<&'a Tensor>,
    pub(crate) input_scale: Option<&'a Tensor>,
    pub(crate) other: Option<&'a Tensor>,
    pub(crate) output: &'a Tensor,
    pub(crate) workspace: Option<&'a Workspace>,
}

impl<'a> Operands<'a> {
    /// The two tensors that every layer has. The output needs a buffer that no other tensor of the layer lies in.
    #[must_use]
    pub fn new(input: &'a Tensor, output: &'a Tensor) -> Self {
        Self { input, residual: None, input_scale: None, other: None, output, workspace: None }
    }

    /// A tensor of the output's shape; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn residual(mut self, residual: impl Into<Option<&'a Tensor>>) -> Self {
        self.residual = residual.into();
        self
    }

    /// What each input channel of each image is multiplied by, `[batch, in_channels, 1, 1]`; takes a tensor or an `Option` of
    /// one.
    #[must_use]
    pub fn input_scale(mut self, input_scale: impl Into<Option<&'a Tensor>>) -> Self {
        self.input_scale = input_scale.into();
        self
    }

    /// The second tensor of a [`Binary`](crate::Binary) layer or a [`MatMul`](crate::MatMul); takes a tensor or an
    /// `Option` of one.
    #[must_use]
    pub fn other(mut self, other: impl Into<Option<&'a Tensor>>) -> Self {
        self.other = other.into();
        self
    }

    /// Memory that other layers use as well. Default: memory of its own.
    #[must_use]
    pub fn workspace(mut self, workspace: &'a Workspace) -> Self {
        self.workspace = Some(workspace);
        self
    }
}
