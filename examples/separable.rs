//! The shortest complete program: a separable layer on the GPU.
//!
//! `cargo run --release --example separable`

use sepconv::{Context, Operands, Parameters, SeparableConv2d, Tensor};

fn main() -> sepconv::Result<()> {
    let context = Context::new_blocking()?;
    println!("on {}", context.adapter_info().name);

    let layer = SeparableConv2d::new(3, 4, 3).padding(1);
    let plan = layer.plan(&context, [1, 3, 64, 64])?;

    // A blur of each channel, and four mixes of the three blurred channels.
    let image: Vec<f32> = (0_u16..3 * 64 * 64).map(|i| f32::from(i % 64) / 63.0).collect();
    let mixes = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.3, 0.6, 0.1];
    let input = Tensor::from_slice(&context, [1, 3, 64, 64], &image)?;
    let depthwise_weight = Tensor::from_slice(&context, [3, 1, 3, 3], &[1.0 / 9.0; 27])?;
    let depthwise_bias = Tensor::from_slice(&context, [3], &[0.0; 3])?;
    let pointwise_weight = Tensor::from_slice(&context, [4, 3, 1, 1], &mixes)?;
    let pointwise_bias = Tensor::from_slice(&context, [4], &[0.0; 4])?;
    let output = Tensor::zeros(&context, plan.output_shape())?;

    let parameters = Parameters::separable(&depthwise_weight, &pointwise_weight);
    let weights = plan.weights(&parameters.depthwise_bias(&depthwise_bias).pointwise_bias(&pointwise_bias))?;
    plan.bind(&weights, Operands::new(&input, &output))?.run()?;

    let values = output.read_blocking()?;
    println!("output {:?}, its middle row starts {:.3?}", output.shape(), &values[32 * 64..32 * 64 + 5]);
    Ok(())
}
