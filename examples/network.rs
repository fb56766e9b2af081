//! A network from an ONNX file, recorded into a pass of your own: the mask of a person in a photograph.
//!
//! `cargo run --release --example network`

use sepconv::{Context, Network, Tensor};

const SIDE: u32 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let context = Context::new_blocking()?;
    let network = Network::from_onnx(include_bytes!("../assets/selfie_segmentation.onnx"))?;

    // Compiles every layer. A size that the file leaves open is given here, and a size given here wins over the file's.
    let plan = network.plan(&context, &[("input", &[1, 3, SIDE, SIDE])])?;
    println!("{} steps, {} bytes between layers", plan.steps(), plan.workspace_bytes());

    // Red, green and blue from 0 to 1, one plane after the other.
    let photograph = image::load_from_memory(include_bytes!("../assets/astronaut.jpg"))?;
    let picture = photograph.thumbnail_exact(SIDE, SIDE).to_rgb32f();
    let values: Vec<f32> = (0..3).flat_map(|channel| picture.pixels().map(move |pixel| pixel.0[channel])).collect();

    let [port] = plan.outputs() else { return Err("the network has one output".into()) };
    let input = Tensor::from_slice(&context, [1, 3, SIDE, SIDE], &values)?;
    let mask = Tensor::zeros(&context, port.tensor_shape())?;
    let bound = plan.bind(&plan.weights()?, &[("input", &input)], &[(&port.name, &mask)])?;

    // One submission. Your own passes may be in the same encoder, before it and after it.
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        bound.record(&mut pass);
    }
    context.queue().submit([encoder.finish()]);

    let mask = mask.read_blocking()?;
    for row in mask.chunks((SIDE * SIDE / 16) as usize) {
        let line: String = row[..SIDE as usize].iter().step_by(8).map(|&p| if p > 0.5 { '#' } else { '.' }).collect();
        println!("{line}");
    }
    Ok(())
}
