//! Convolution inside a program that owns its device, its encoder and its buffers.
//!
//! `cargo run --release --example embed`

use sepconv::wgpu;
use sepconv::{Activation, Context, Conv2d, Operands, Parameters, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The program's own device, opened as it likes: here with the default limits and no features.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let context = Context::from_wgpu(device.clone(), queue.clone())?;

    // The program's own buffer: the input starts 1024 bytes into it, where the layer leaves it.
    let (offset, values) = (1024, 8 * 32 * 32);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("features"),
        size: offset + 4 * values,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let ones = vec![1.0_f32; usize::try_from(values)?];
    queue.write_buffer(&buffer, offset, bytemuck::cast_slice(&ones));
    let input = Tensor::from_buffer(&context, &buffer, offset, [1, 8, 32, 32])?;

    // Two layers, the second taking the first one's output. All of this is done once, at load.
    let expand = Conv2d::new(8, 16, 1).bias(false).activation(Activation::Relu);
    let depthwise = Conv2d::new(16, 16, 3).groups(16).padding(1).bias(false);
    let expand = expand.plan(&context, input.shape())?;
    let depthwise = depthwise.plan(&context, expand.output_shape())?;
    let expand_weight = Tensor::from_slice(&context, [16, 8, 1, 1], &[0.125; 128])?;
    let depthwise_weight = Tensor::from_slice(&context, [16, 1, 3, 3], &[1.0; 144])?;
    let between = Tensor::zeros(&context, expand.output_shape())?;
    let output = Tensor::zeros(&context, depthwise.output_shape())?;
    let expand_weights = expand.weights(&Parameters::new(&expand_weight))?;
    let depthwise_weights = depthwise.weights(&Parameters::new(&depthwise_weight))?;
    let layers = [
        expand.bind(&expand_weights, Operands::new(&input, &between))?,
        depthwise.bind(&depthwise_weights, Operands::new(&between, &output))?,
    ];

    // Each frame: the layers are recorded between the program's own commands, and the program submits.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for layer in &layers {
            layer.record(&mut pass);
        }
    }
    queue.submit([encoder.finish()]);

    // A corner has 4 neighbours of ones, an edge 6, the inside 9.
    let values = output.read_blocking()?;
    println!("the first row starts {:?}, the second {:?}", &values[..3], &values[32..35]);
    assert_eq!((values[0], values[1], values[33]), (4.0, 6.0, 9.0));
    Ok(())
}
