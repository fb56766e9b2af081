//! Weights that are packed once and shared, packed again when they change, and workspaces that layers share.

mod common;

use common::{Data, assert_close, context, first_of, foreign_device, noop_context, poisoned};
use sepconv::{Activation, Bound, Context, Conv2d, Error, Operands, Parameters, Plan, Tensor, Weights, Workspace};

/// How often the queue has been submitted to, with this call.
fn submissions(context: &Context) -> u64 {
    let index = format!("{:?}", context.queue().submit([]));
    index.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Weights are packed once, and binding submits nothing.
#[test]
fn weights_are_shared_by_bindings_and_by_plans_of_any_batch() {
    if common::skipped() {
        return;
    }
    // Nobody else submits to it.
    let context = Context::new_blocking().unwrap();
    for (kernel, layer, height) in [
        ("direct", Conv2d::new(3, 4, 3), 9),
        ("depthwise", Conv2d::new(2, 2, 1).groups(2), 9),
        ("winograd", Conv2d::new(16, 17, 3).padding(1), 9),
        ("tiled_gemm", Conv2d::new(6, 10, 3).groups(2), 9),
        // Of more taps than one invocation sums: it packs some and then the others.
        ("direct", Conv2d::new(1, 2, 130), 131),
    ] {
        let geometry = |batch| layer.geometry([batch, layer.in_channels, height, height + 1]).unwrap();
        // On a GPU the product of another batch may be planned with another kernel, whose weights lie otherwise.
        let large = if kernel == "winograd" && !context.target().software { 1 } else { 3 };
        let data = [1, 1, large].map(|batch| Data::random(&geometry(batch), 3 + u64::from(batch)));
        let [small, _, large] = data.each_ref().map(|data| context.plan_with(data.geometry, first_of(kernel)).unwrap());
        let before = submissions(&context);
        let weights = data[0].weights(&context, &small);
        let packs = u64::from(small.packed_weight_bytes() > 0);
        assert_eq!(submissions(&context), before + packs + 1, "{kernel} packs in one submission, if it packs");
        assert_eq!(weights.packed_bytes(), small.packed_weight_bytes());

        let before = submissions(&context);
        let bound = [&small, &small, &large].into_iter().zip(&data).map(|(plan, data)| {
            let output = poisoned(&context, plan.output_shape());
            let input = Tensor::from_slice(&context, plan.input_shape(), &data.input).unwrap();
            (plan.bind(&weights.clone(), Operands::new(&input, &output)).unwrap(), output)
        });
        let bound: Vec<_> = bound.collect();
        assert_eq!(submissions(&context), before + 1, "binding {kernel} submits nothing");
        for (bound, _) in bound.iter().rev() {
            bound.run().unwrap();
        }
        for (own, (_, output)) in data.iter().zip(&bound) {
            let (weight, bias) = (data[0].weight.clone(), data[0].bias.clone());
            let own = Data {
                geometry: own.geometry,
                input: own.input.clone(),
                weight,
                bias,
                residual: None,
                input_scale: None,
            };
            let (g, actual) = (&own.geometry, output.read_blocking().unwrap());
            assert_close(&own.reference(), g.activation, g.terms(), &actual, kernel);
        }
    }
}

/// A layer whose kernel packs its weights, with two sets of them.
struct Packing {
    plan: Plan,
    data: [Data; 2],
    weight: Tensor,
    bias: Tensor,
    input: Tensor,
    output: Tensor,
}

impl Packing {
    fn new(context: &Context) -> Self {
        let (layer, shape) = (Conv2d::new(16, 17, 3), [1, 16, 9, 8]);
        let geometry = layer.geometry(shape).unwrap();
        let plan = layer.plan_with_kernel(context, shape, "winograd").unwrap();
        assert!(plan.packed_weight_bytes() > 0);
        let [first, mut second] = [1, 2].map(|seed| Data::random(&geometry, seed));
        (second.input, second.bias) = (first.input.clone(), first.bias.clone());
        Self {
            weight: poisoned(context, geometry.weight_shape()),
            bias: Tensor::from_slice(context, geometry.bias_shape(), first.bias.as_ref().unwrap()).unwrap(),
            input: Tensor::from_slice(context, shape, &first.input).unwrap(),
            output: poisoned(context, geometry.output_shape()),
            plan,
            data: [first, second],
        }
    }

    fn parameters(&self) -> Parameters<'_> {
        Parameters::new(&self.weight).bias(&self.bias)
    }

    fn bind(&self, weights: &Weights) -> Bound {
        self.plan.bind(weights, Operands::new(&self.input, &self.output)).unwrap()
    }

    /// Asserts that the output is that of one set of weights.
    fn check(&self, set: usize, what: &str) {
        let (data, actual) = (&self.data[set], self.output.read_blocking().unwrap());
        assert_close(&data.reference(), data.geometry.activation, data.geometry.terms(), &actual, what);
    }
}

fn encoder(context: &Context) -> wgpu::CommandEncoder {
    context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

#[test]
fn weights_that_commands_write_are_packed_behind_those_commands() {
    let Some(context) = context() else { return };
    let packing = Packing::new(context);
    let values = Tensor::from_slice(context, packing.weight.shape(), &packing.data[0].weight).unwrap();
    let mut encoder = encoder(context);
    encoder.copy_buffer_to_buffer(values.buffer(), 0, packing.weight.buffer(), 0, None);
    let weights = packing.plan.weights_in(&packing.parameters(), &mut encoder).unwrap();
    packing.bind(&weights).encode(&mut encoder);
    context.queue().submit([encoder.finish()]);
    packing.check(0, "written, packed and bound in one submission");
}

#[test]
fn weights_stay_as_they_were_packed_until_they_are_packed_again() {
    let Some(context) = context() else { return };
    let packing = Packing::new(context);
    packing.weight.write(&packing.data[0].weight).unwrap();
    let weights = packing.plan.weights(&packing.parameters()).unwrap();
    let bound = packing.bind(&weights);
    bound.run().unwrap();
    packing.check(0, "packed once");
    packing.weight.write(&packing.data[1].weight).unwrap();
    bound.run().unwrap();
    packing.check(0, "written, but not packed again");
    let mut encoder = encoder(context);
    weights.pack(&mut encoder);
    bound.encode(&mut encoder);
    context.queue().submit([encoder.finish()]);
    packing.check(1, "packed again");
    packing.weight.write(&packing.data[0].weight).unwrap();
    weights.pack_now().unwrap();
    bound.run().unwrap();
    packing.check(0, "packed for the third time");

    // A kernel that does not pack reads what is there.
    let plan = context.plan_with(packing.data[0].geometry, first_of("direct")).unwrap();
    let weights = plan.weights(&packing.parameters()).unwrap();
    let bound = plan.bind(&weights, Operands::new(&packing.input, &packing.output)).unwrap();
    for set in [0, 1] {
        packing.weight.write(&packing.data[set].weight).unwrap();
        bound.run().unwrap();
        packing.check(set, "not packed at all");
    }
}

#[test]
fn weights_of_another_layout_are_refused() {
    let Some(context) = context() else { return };
    let packing = Packing::new(context);
    let geometry = packing.data[0].geometry;
    let direct = context.plan_with(geometry, first_of("direct")).unwrap();
    let refused = |plan: &Plan, weights: &Weights, kernel: &str| {
        let refused = plan.bind(weights, Operands::new(&packing.input, &packing.output)).unwrap_err();
        assert_eq!(refused, Error::OtherLayout { kernel: kernel.to_owned() });
        assert!(refused.is_request() && refused.to_string().contains(kernel), "{refused}");
    };
    refused(&packing.plan, &direct.weights(&packing.parameters()).unwrap(), "winograd");
    refused(&direct, &packing.plan.weights(&packing.parameters()).unwrap(), "direct");
    // Of another size, and without a bias.
    let other = Conv2d::new(16, 17, 3).bias(false).plan_with_kernel(context, [1, 16, 9, 8], "direct").unwrap();
    refused(&direct, &other.weights(&Parameters::new(&packing.weight)).unwrap(), "direct");
    // None at all are missing.
    let refused = other.bind(None, Operands::new(&packing.input, &packing.output)).unwrap_err();
    assert_eq!(refused, Error::Missing { argument: "weight" });
    // Kernels that take the weights as they are read one layout.
    let gemm = context.plan_with(geometry, first_of("gemm")).unwrap();
    packing.weight.write(&packing.data[0].weight).unwrap();
    let weights = direct.weights(&packing.parameters()).unwrap();
    gemm.bind(&weights, Operands::new(&packing.input, &packing.output)).unwrap().run().unwrap();
    packing.check(0, "gemm with weights made for direct");
}

#[test]
fn layers_share_a_workspace() {
    let Some(context) = context() else { return };
    let winograd = |channels, out_channels, size| {
        let geometry = Conv2d::new(channels, out_channels, 3).padding(1).geometry([2, channels, size, size]).unwrap();
        (context.plan_with(geometry, first_of("winograd")).unwrap(), Data::random(&geometry, size.into()))
    };
    let layers = [winograd(16, 40, 9), winograd(40, 16, 12), winograd(20, 20, 7)];
    let workspace = Workspace::new(context, layers.iter().map(|(plan, _)| plan)).unwrap();
    let all: u64 = layers.iter().map(|(plan, _)| plan.workspace_bytes()).sum();
    assert!(layers.iter().all(|(plan, _)| plan.workspace_bytes() <= workspace.bytes()) && workspace.bytes() < all);
    let bound = layers.each_ref().map(|(plan, data)| {
        let input = Tensor::from_slice(context, plan.input_shape(), &data.input).unwrap();
        let output = poisoned(context, plan.output_shape());
        let operands = Operands::new(&input, &output).workspace(&workspace);
        (plan.bind(&data.weights(context, plan), operands).unwrap(), output)
    });
    // All in one pass, each twice.
    let mut encoder = encoder(context);
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for (bound, _) in bound.iter().chain(bound.iter().rev()) {
        bound.record(&mut pass);
    }
    drop(pass);
    context.queue().submit([encoder.finish()]);
    for ((plan, data), (_, output)) in layers.iter().zip(&bound) {
        let (g, actual) = (&data.geometry, output.read_blocking().unwrap());
        assert_close(&data.reference(), g.activation, g.terms(), &actual, plan.kernel());
    }
}

#[test]
fn a_workspace_that_does_not_fit_is_refused_by_name() {
    let (Some(context), Some((device, queue))) = (context(), foreign_device(|_| ())) else { return };
    let packing = Packing::new(context);
    let weights = packing.plan.weights(&packing.parameters()).unwrap();
    let bind = |workspace: &Workspace| {
        let operands = Operands::new(&packing.input, &packing.output).workspace(workspace);
        packing.plan.bind(&weights, operands).map(drop)
    };
    assert_eq!(bind(&Workspace::new(context, [&packing.plan]).unwrap()), Ok(()));
    let smaller = Conv2d::new(16, 16, 3).plan_with_kernel(context, [1, 16, 5, 5], "winograd").unwrap();
    for plans in [&[][..], &[&smaller]] {
        let refused = bind(&Workspace::new(context, plans.iter().copied()).unwrap());
        let named = matches!(refused, Err(Error::OutsideBuffer { argument: "workspace", end, size }) if end > size);
        assert!(named, "{refused:?}");
    }
    let other = Context::from_wgpu(device, queue).unwrap();
    let theirs = Workspace::new(&other, [&packing.plan]).unwrap();
    assert_eq!(bind(&theirs), Err(Error::OtherContext { argument: "workspace" }));
    // A plan that needs none takes any of its own context.
    let plan = context.plan_with(packing.data[0].geometry, first_of("direct")).unwrap();
    let weights = plan.weights(&packing.parameters()).unwrap();
    let none = Workspace::new(context, []).unwrap();
    assert_eq!(none.bytes(), 0);
    plan.bind(&weights, Operands::new(&packing.input, &packing.output).workspace(&none)).unwrap();
}

/// The 3 x 3 layers of ResNet-50 (He et al. 2015) for 32 images: layers that take turns need no more than one of them.
#[test]
fn a_shared_workspace_is_no_larger_than_one_layers_own() {
    let context = noop_context(wgpu::Limits {
        max_buffer_size: 2 << 30,
        max_storage_buffer_binding_size: 2 << 30,
        ..Default::default()
    });
    let context = context.with_software(false);
    let stages = [(64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3)];
    let layers = stages.into_iter().flat_map(|(channels, size, blocks)| {
        let layer = Conv2d::new(channels, channels, 3).padding(1).activation(Activation::Relu);
        // All stages but the first begin with a stride of 2.
        (0..blocks).map(move |block| match block {
            0 if channels > 64 => (layer.stride(2), [32, channels, 2 * size, 2 * size]),
            _ => (layer, [32, channels, size, size]),
        })
    });
    let plans: Vec<_> = layers.map(|(layer, shape)| layer.plan(&context, shape).unwrap()).collect();
    let own = plans.iter().map(Plan::workspace_bytes);
    let (all, largest): (u64, u64) = (own.clone().sum(), own.max().unwrap());
    let shared = Workspace::new(&context, &plans).unwrap().bytes();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("a workspace for each: {:.1} MiB; one for all: {:.1} MiB", mebibytes(all), mebibytes(shared));
    assert!(plans.iter().filter(|plan| plan.kernel() == "winograd").count() >= 10, "few layers have workspaces");
    assert_eq!(shared, largest);
}
