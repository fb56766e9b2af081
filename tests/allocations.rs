//! Recording a layer allocates nothing of its own: only what `wgpu` allocates for the same calls. Binding it takes a
//! uniform for each dispatch.

mod common;

use common::{first_of, foreign_device, noop_context};
use sepconv::{Context, Conv2d, Operands, Parameters, Tensor};

/// How many dispatches are recorded.
const DISPATCHES: usize = 1000;

/// The allocations of recording into one pass, once for each dispatch.
fn allocations(context: &Context, record: impl Fn(&mut wgpu::ComputePass, usize)) -> u64 {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    allocation_counter::measure(|| (0..DISPATCHES).for_each(|index| record(&mut pass, index))).count_total
}

#[test]
fn recording_allocates_nothing_of_its_own() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total, 1);
    let context = noop_context(wgpu::Limits::default());
    // Two layers of different kernels in turn, because wgpu does not record what is set already.
    let layers = [("pointwise", 1), ("direct", 3)].map(|(kernel, kernel_size)| {
        let layer = Conv2d::new(2, 2, kernel_size).bias(false);
        let shape = [1, 2, 8, 8];
        let plan = layer.plan_with_kernel(&context, shape, kernel).unwrap();
        let tensor = |shape: [u32; 4]| Tensor::zeros(&context, shape).unwrap();
        let (input, weight) = (tensor(shape), tensor(layer.geometry(shape).unwrap().weight_shape()));
        let weights = plan.weights(&Parameters::new(&weight)).unwrap();
        plan.bind(&weights, Operands::new(&input, &tensor(plan.output_shape()))).unwrap()
    });
    let recorded = allocations(&context, |pass, index| layers[index % 2].record(pass));

    let device = context.device();
    let pipelines = ["1", "2"].map(|size| {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(format!("@compute @workgroup_size({size}) fn main() {{}}").into()),
        });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    });
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &[] });
    let bind_groups = pipelines
        .each_ref()
        .map(|_| device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &[] }));
    let by_hand = allocations(&context, |pass, index| {
        pass.set_pipeline(&pipelines[index % 2]);
        pass.set_bind_group(0, &bind_groups[index % 2], &[]);
        pass.dispatch_workgroups(1, 1, 1);
    });
    assert_eq!(recorded, by_hand, "allocations of {DISPATCHES} dispatches, against the same calls by hand");
}

/// What the README says of a binding's memory, asked of the driver.
#[test]
fn a_binding_takes_at_most_256_bytes_for_each_dispatch() {
    // The worst that WebGPU allows, and what the adapter needs.
    for alignment in [Some(256), None] {
        let change = |limits: &mut wgpu::Limits| {
            limits.min_uniform_buffer_offset_alignment =
                alignment.unwrap_or(limits.min_uniform_buffer_offset_alignment);
        };
        let Some((device, queue)) = foreign_device(change) else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        let uniforms = || {
            let report = context.device().generate_allocator_report()?;
            let uniforms = report.allocations.iter().filter(|allocation| allocation.name == "sepconv uniforms");
            Some(uniforms.map(|allocation| allocation.size).sum::<u64>())
        };
        if uniforms().is_none() {
            eprintln!("not run: this driver does not tell what is allocated");
            return;
        }
        let geometry = Conv2d::new(16, 16, 3).bias(false).geometry([1, 16, 6, 6]).unwrap();
        for (kernel, dispatches) in [("direct", 1), ("winograd", 3)] {
            let plan = context.plan_with(geometry, first_of(kernel)).unwrap();
            let steps = &plan.program().steps;
            assert!(steps.len() == dispatches && steps.iter().all(|step| 4 * step.uniform.len() <= 144));
            let tensor = |shape: [u32; 4]| Tensor::zeros(&context, shape).unwrap();
            let weights = plan.weights(&Parameters::new(&tensor(geometry.weight_shape()))).unwrap();
            let before = uniforms().unwrap();
            let operands = (tensor(plan.input_shape()), tensor(plan.output_shape()));
            let _bound = plan.bind(&weights, Operands::new(&operands.0, &operands.1)).unwrap();
            let bytes = uniforms().unwrap() - before;
            eprintln!("{kernel}: {bytes} bytes for {dispatches} dispatches, aligned to {alignment:?}");
            assert!((1..=256 * dispatches as u64).contains(&bytes), "{kernel}: {bytes} bytes");
        }
    }
}
