//! Two fully connected layers, one after the other.

use crate::activation::Activation;
use crate::conv::Conv2d;
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::size::{check_count, extent, values};
use crate::verify;

/// A perceptron with one hidden layer: of each image's features it makes hidden ones, and of those the output's. So squeeze and
/// excitation makes its factors (Hu et al., *Squeeze-and-Excitation Networks*, 2018).
///
/// Its weights are `[hidden_features, in_features]` and `[out_features, hidden_features]`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Perceptron {
    /// Images.
    pub batch: u32,
    /// What each image has.
    pub in_features: u32,
    /// What is between the two layers.
    pub hidden_features: u32,
    /// What is made of each image.
    pub out_features: u32,
    /// Whether a number is added to each hidden feature.
    pub hidden_bias: bool,
    /// A function applied to each hidden feature.
    pub hidden_activation: Activation,
    /// Whether a number is added to each output feature.
    pub bias: bool,
    /// A function applied to each output feature.
    pub activation: Activation,
}

impl Perceptron {
    /// Two layers with biases and without functions.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new(batch: u32, [in_features, hidden_features, out_features]: [u32; 3]) -> Result<Self> {
        let perceptron = Self {
            batch,
            in_features,
            hidden_features,
            out_features,
            hidden_bias: true,
            hidden_activation: Activation::None,
            bias: true,
            activation: Activation::None,
        };
        perceptron.check()?;
        Ok(perceptron)
    }

    /// The two 1 × 1 convolutions of one pixel that compute the same.
    fn convolutions(&self) -> [Geometry; 2] {
        let part = |[input, output]: [u32; 2], bias, activation| {
            let layer = Conv2d::new(input, output, 1).bias(bias).activation(activation);
            layer.geometry([self.batch, input, 1, 1]).expect("sizes that were checked")
        };
        [
            part([self.in_features, self.hidden_features], self.hidden_bias, self.hidden_activation),
            part([self.hidden_features, self.out_features], self.bias, self.activation),
        ]
    }

    fn hidden_weight_shape(&self) -> [u32; 4] {
        [self.hidden_features, self.in_features, 1, 1]
    }

    fn weight_shape(&self) -> [u32; 4] {
        [self.out_features, self.hidden_features, 1, 1]
    }
}

impl Describe for Perceptron {
    fn check(&self) -> Result<()> {
        self.hidden_activation.check()?;
        self.activation.check()?;
        for (argument, size) in [
            ("batch", self.batch),
            ("in_features", self.in_features),
            ("hidden_features", self.hidden_features),
            ("out_features", self.out_features),
        ] {
            extent(argument, size.into())?;
        }
        check_count("input", [self.batch, self.in_features, 1, 1])?;
        check_count("hidden weight", self.hidden_weight_shape())?;
        check_count("weight", self.weight_shape())?;
        check_count("output", self.output_shape())?;
        let weights = values(self.hidden_weight_shape()) + values(self.weight_shape());
        let work = weights.checked_mul(self.batch.into());
        work.filter(|&count| count < 1 << 62).map(|_| ()).ok_or(Error::TooMuchWork)
    }

    fn given(&self) -> Vec<Given> {
        let hidden = |name, shape| Given { part: Some("hidden"), ..Given::parameter(name, shape) };
        let mut given = vec![Given::input("input", [self.batch, self.in_features, 1, 1])];
        given.push(hidden("weight", self.hidden_weight_shape()));
        given.extend(self.hidden_bias.then(|| hidden("bias", [1, self.hidden_features, 1, 1])));
        given.push(Given::parameter("weight", self.weight_shape()));
        given.extend(self.bias.then(|| Given::parameter("bias", [1, self.out_features, 1, 1])));
        given
    }

    fn output_shape(&self) -> [u32; 4] {
        [self.batch, self.out_features, 1, 1]
    }

    fn text(&self) -> String {
        let Self { batch, in_features, hidden_features, out_features, .. } = self;
        format!("perceptron {batch}x{in_features} {hidden_features} {out_features}")
    }

    fn terms(&self) -> u64 {
        u64::from(self.in_features) + u64::from(self.hidden_features)
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        (values(self.hidden_weight_shape()) + values(self.weight_shape())) * u64::from(self.batch)
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let mut given = given.iter().copied();
        let mut next = || given.next().expect("all that is given");
        let [first, second] = self.convolutions();
        let input = next();
        let [hidden, own] = [self.hidden_bias, self.bias].map(|bias| (next(), bias.then(&mut next)));
        let reference = verify::separable_reference((&first, &second), input, hidden, own, None);
        // What is between them is stored nowhere.
        Reference { between: Vec::new(), ..reference }
    }
}
