//! The layers that are compared, and what each of their two forms costs.

use std::time::{Duration, Instant};

use sepconv::reference::{self, Reference};
use sepconv::timing::{Clock, measure};
use sepconv::{Activation, Bound, Context, Conv2d, Operands, SeparableConv2d, SeparableOperands, Tensor, verify};

use crate::device::Device;
use crate::failure::Outcome;

/// A layer in both forms: 3 × 3, padding 1, with biases.
pub struct Layer {
    pub name: &'static str,
    pub in_channels: u32,
    pub out_channels: u32,
    pub size: u32,
    pub stride: u32,
}

/// From the starting example through the 3 × 3 layers of MobileNet (Howard et al. 2017, table 1).
pub const LAYERS: [Layer; 7] = [
    Layer { name: "starting example", in_channels: 3, out_channels: 4, size: 64, stride: 1 },
    Layer { name: "MobileNet 32-64", in_channels: 32, out_channels: 64, size: 112, stride: 1 },
    Layer { name: "MobileNet 64-128 /2", in_channels: 64, out_channels: 128, size: 112, stride: 2 },
    Layer { name: "MobileNet 128-128", in_channels: 128, out_channels: 128, size: 56, stride: 1 },
    Layer { name: "MobileNet 256-256", in_channels: 256, out_channels: 256, size: 28, stride: 1 },
    Layer { name: "MobileNet 512-512", in_channels: 512, out_channels: 512, size: 14, stride: 1 },
    Layer { name: "MobileNet 1024-1024", in_channels: 1024, out_channels: 1024, size: 7, stride: 1 },
];

/// What one form of a layer costs, measured.
pub struct Cost {
    pub parameters: u64,
    pub multiply_adds: u64,
    pub bytes: u64,
    pub kernel: String,
    pub clock: Clock,
    pub milliseconds: f64,
    /// The largest error as a multiple of the bound: at most 1 is right. None where the reference itself computed.
    pub error: Option<f64>,
}

/// How long each form is measured.
const BUDGET: Duration = Duration::from_millis(300);

/// A fixed seed, so that two runs compute the same.
const SEED: u64 = 1;

/// The values of a layer: input, then weight and bias of each part.
struct Data(Vec<Vec<f32>>);

impl Data {
    fn new(shapes: &[[u32; 4]]) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let count = |shape: &[u32; 4]| shape.iter().map(|&size| size as usize).product();
        let mut fill = |shape| std::iter::repeat_with(|| 2.0 * random.f32() - 1.0).take(count(shape)).collect();
        Self(shapes.iter().map(&mut fill).collect())
    }

    fn upload(&self, context: &Context, shapes: &[[u32; 4]]) -> Outcome<Vec<Tensor>> {
        let tensors = self.0.iter().zip(shapes).map(|(data, &shape)| Tensor::from_slice(context, shape, data));
        Ok(tensors.collect::<Result<_, _>>()?)
    }
}

/// A tensor in which a value that is never written shows.
fn poisoned(context: &Context, shape: [u32; 4]) -> Outcome<Tensor> {
    let count = shape.iter().map(|&size| size as usize).product();
    Ok(Tensor::from_slice(context, shape, &vec![f32::NAN; count])?)
}

/// Runs a bound layer, compares its output with the reference, and then times it.
fn verify_and_measure(
    context: &Context,
    bound: &Bound,
    output: &Tensor,
    reference: &Reference,
    terms: u64,
) -> Outcome<(Option<f64>, f64, Clock)> {
    bound.run()?;
    let actual = output.read_blocking(context)?;
    let error = verify::largest_error(reference, Activation::None, terms, &actual);
    let (time, clock) = measure(context, bound, BUDGET)?.best();
    Ok((Some(error), time.median, clock))
}

impl Layer {
    /// `[1, in_channels, size, size]`
    pub fn input_shape(&self) -> [u32; 4] {
        [1, self.in_channels, self.size, self.size]
    }

    /// The normal form.
    pub fn normal(&self, device: &Device) -> Outcome<Cost> {
        let layer = Conv2d::new(self.in_channels, self.out_channels, 3).padding(1).stride(self.stride);
        let geometry = layer.geometry(self.input_shape())?;
        let shapes = [geometry.input_shape(), geometry.weight_shape(), geometry.bias_shape()];
        let data = Data::new(&shapes);
        let start = Instant::now();
        let reference = reference::conv2d(&geometry, &data.0[0], &data.0[1], Some(&data.0[2]), None);
        let reference_time = start.elapsed();
        let (kernel, (error, milliseconds, clock)) = match device {
            Device::Reference => ("reference".to_owned(), (None, reference_time.as_secs_f64() * 1e3, Clock::Wall)),
            Device::Adapter(context) => {
                let plan = layer.plan(context, self.input_shape())?;
                let tensors = data.upload(context, &shapes)?;
                let output = poisoned(context, plan.output_shape())?;
                let bound = plan.bind(Operands::new(&tensors[0], &tensors[1], &output).bias(&tensors[2]))?;
                let measured = verify_and_measure(context, &bound, &output, &reference, geometry.terms())?;
                (plan.kernel().to_owned(), measured)
            }
        };
        Ok(Cost {
            parameters: geometry.parameters(),
            multiply_adds: geometry.multiply_adds(),
            bytes: geometry.bytes(),
            kernel,
            clock,
            milliseconds,
            error,
        })
    }

    /// The separable form.
    pub fn separable(&self, device: &Device) -> Outcome<Cost> {
        let layer = SeparableConv2d::new(self.in_channels, self.out_channels, 3).padding(1).stride(self.stride);
        let (depthwise, pointwise) = layer.geometry(self.input_shape())?;
        let shapes = [
            depthwise.input_shape(),
            depthwise.weight_shape(),
            depthwise.bias_shape(),
            pointwise.weight_shape(),
            pointwise.bias_shape(),
        ];
        let data = Data::new(&shapes);
        let [input, depthwise_weight, depthwise_bias, pointwise_weight, pointwise_bias] =
            [0, 1, 2, 3, 4].map(|index| data.0[index].as_slice());
        let (kernel, (error, milliseconds, clock)) = match device {
            Device::Reference => {
                let start = Instant::now();
                let between = reference::conv2d(&depthwise, input, depthwise_weight, Some(depthwise_bias), None);
                let _ = reference::conv2d(&pointwise, &between.values, pointwise_weight, Some(pointwise_bias), None);
                ("reference".to_owned(), (None, start.elapsed().as_secs_f64() * 1e3, Clock::Wall))
            }
            Device::Adapter(context) => {
                let reference = verify::separable_reference(
                    (&depthwise, &pointwise),
                    input,
                    (depthwise_weight, Some(depthwise_bias)),
                    (pointwise_weight, Some(pointwise_bias)),
                );
                let plan = layer.plan(context, self.input_shape())?;
                let tensors = data.upload(context, &shapes)?;
                let output = poisoned(context, plan.output_shape())?;
                let bound = plan.bind(SeparableOperands {
                    input: &tensors[0],
                    depthwise_weight: &tensors[1],
                    depthwise_bias: Some(&tensors[2]),
                    pointwise_weight: &tensors[3],
                    pointwise_bias: Some(&tensors[4]),
                    residual: None,
                    output: &output,
                })?;
                let terms = depthwise.terms() + pointwise.terms();
                let measured = verify_and_measure(context, &bound, &output, &reference, terms)?;
                (format!("{} + {}", plan.depthwise().kernel(), plan.pointwise().kernel()), measured)
            }
        };
        Ok(Cost {
            parameters: depthwise.parameters() + pointwise.parameters(),
            multiply_adds: depthwise.multiply_adds() + pointwise.multiply_adds(),
            bytes: depthwise.bytes() + pointwise.bytes(),
            kernel,
            clock,
            milliseconds,
            error,
        })
    }
}
