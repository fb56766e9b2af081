//! Whole networks against what another engine computed of the same files.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::context;
use safetensors::SafeTensors;
use sepconv::unstable::{Memory, Planner, layer_on};
use sepconv::{Activation, Context, DType, Layer, Network, NetworkPlan, Operation, Rounding, Tensor};

/// Where the networks lie, if they are there.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/networks");
    folder.is_dir().then_some(folder)
}

/// The tensors of a file, by name.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<u32>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let shape = view.shape().iter().map(|&size| u32::try_from(size).unwrap()).collect();
        let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        (name.to_owned(), (shape, values))
    });
    tensors.collect()
}

/// Runs a plan on these inputs, by name, and returns its outputs.
fn run(context: &Context, plan: &NetworkPlan, inputs: &[(&str, &[f32])]) -> Vec<(String, Vec<f32>)> {
    let given: Vec<_> = plan
        .inputs()
        .iter()
        .map(|port| {
            let (_, values) = inputs.iter().find(|(name, _)| *name == port.name).unwrap();
            (port.name.as_str(), Tensor::from_slice(context, port.tensor_shape(), values).unwrap())
        })
        .collect();
    let wanted: Vec<_> = plan
        .outputs()
        .iter()
        .map(|port| (port.name.as_str(), common::poisoned(context, port.tensor_shape())))
        .collect();
    let weights = plan.weights().unwrap();
    let inputs: Vec<_> = given.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let outputs: Vec<_> = wanted.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let bound = plan.bind(&weights, &inputs, &outputs).unwrap();
    let mut results = Vec::new();
    // What is right only the first time is wrong.
    for _ in 0..2 {
        bound.run().unwrap();
        results = wanted.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.read_blocking().unwrap())).collect();
    }
    results
}

/// A network, what it is given, and what another engine made of that.
struct Case {
    name: String,
    network: Network,
    golden: BTreeMap<String, (Vec<u32>, Vec<f32>)>,
    /// How far a right result may be from it, as [`ratio`] says.
    allowed: f64,
}

impl Case {
    fn inputs(&self) -> impl Iterator<Item = (&str, &[u32], &[f32])> {
        self.golden.iter().filter_map(|(name, (shape, values))| {
            Some((name.strip_prefix("input:")?, shape.as_slice(), values.as_slice()))
        })
    }
}

fn cases(folder: &Path) -> Vec<Case> {
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let case = |case: &serde_json::Value| {
        let name = case["model"].as_str().unwrap();
        Case {
            name: name.to_owned(),
            network: Network::from_onnx(&std::fs::read(folder.join(name)).unwrap()).unwrap(),
            golden: tensors(&folder.join(case["golden"].as_str().unwrap())),
            allowed: (20.0 * case["order_of_sums"].as_f64().unwrap()).max(1e-4),
        }
    };
    cases.as_array().unwrap().iter().map(case).collect()
}

/// Those that a driver in software compiles soon: all in a whole sweep.
fn quick_cases(folder: &Path) -> impl Iterator<Item = Case> {
    cases(folder).into_iter().filter(|case| common::sweeps_whole() || case.name.contains("blazeface"))
}

/// The whole against another engine, and each layer within its own bound on the values that get there.
#[test]
fn networks_are_right() {
    let (Some(context), Some(folder)) = (context(), folder()) else { return };
    for case in quick_cases(&folder) {
        let shapes: Vec<_> = case.inputs().map(|(name, shape, _)| (name, shape)).collect();
        let inputs: Vec<_> = case.inputs().map(|(name, _, values)| (name, values)).collect();
        let plan = case.network.plan(context, &shapes).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let (between, weights) = (plan.workspace_bytes(), plan.weight_bytes());
        eprintln!("{}: {} steps, {between} bytes between layers, {weights} of weights", case.name, plan.steps());
        for (name, actual) in run(context, &plan, &inputs) {
            let (_, expected) = &case.golden[&format!("output:{name}")];
            let ratio = ratio(&actual, expected);
            eprintln!("  {name}: {ratio:.2e} of {:.1e}", case.allowed);
            assert!(ratio <= case.allowed, "{} {name}: {ratio} of {}", case.name, case.allowed);
        }
        let inputs: Vec<_> = case.inputs().collect();
        let mut largest = 0.0_f64;
        let checked = case.network.reference(&inputs, |layer| {
            let (plan, _, error) = layer_on(context, layer)?;
            assert!(error <= 1.0, "{}: {error} of the bound of {}, by {}", case.name, layer.name, plan.kernel());
            largest = largest.max(error);
            Ok(())
        });
        checked.unwrap();
        eprintln!("  each layer by itself: at most {largest:.3} of its bound");
    }
}

/// Each layer is within its own bound on the values that get there. How far the whole may be from a result of f32 depends on
/// how much a network makes of a rounding, which is seen of its definition with tensors of f16: that and the device round in the
/// same places, but for values that lie between two numbers of f16. So the device may be twice as far.
#[test]
fn networks_of_f16_are_right() {
    let (Some(half), Some(folder)) = (context().and_then(common::half), folder()) else { return };
    // A driver in software compiles for half a minute even for the smallest of them.
    if !common::sweeps_whole() {
        return;
    }
    for case in cases(&folder) {
        let inputs: Vec<_> = case.inputs().collect();
        let mut worst = (0.0, String::new());
        let outputs = case.network.reference_of(DType::F16, &inputs, |layer| {
            let (plan, _, error) = layer_on(&half, layer)?;
            assert!(error <= 1.0, "{}: {error} of the bound of {}, by {}", case.name, layer.name, plan.kernel());
            if error > worst.0 {
                worst = (error, format!("{} by {}", layer.name, plan.kernel()));
            }
            Ok(())
        });
        let shapes: Vec<_> = inputs.iter().map(|(name, shape, _)| (*name, *shape)).collect();
        let values: Vec<_> = inputs.iter().map(|(name, _, values)| (*name, *values)).collect();
        let plan = case.network.plan(&half, &shapes).unwrap();
        eprintln!("{}: {} layers, at most {:.3} of a bound, {}", case.name, plan.layers().len(), worst.0, worst.1);
        eprintln!("  {} bytes of weights, {} between layers", plan.weight_bytes(), plan.workspace_bytes());
        let by_reference = outputs.unwrap();
        for (name, actual) in run(&half, &plan, &values) {
            let (_, expected) = &case.golden[&format!("output:{name}")];
            let reference = by_reference.iter().find(|output| output.name == name).unwrap();
            let ratios = [&actual, &reference.values].map(|values| ratio(values, expected));
            let [ratio, by_definition] = ratios;
            eprintln!("  {name}: {ratio:.2e}, and by its definition {by_definition:.2e}");
            assert!(ratio <= 2.0 * by_definition + case.allowed, "{} {name}: {ratio}, {by_definition}", case.name);
        }
    }
}

/// The bytes of the tensors that a layer reads and writes at most, of those that are no constants.
fn largest_neighbours(layers: &[(String, Layer)]) -> u64 {
    let bytes = |(_, layer): &(String, Layer)| {
        let read = layer.describe().given().into_iter().filter(|given| !given.is_parameter).map(|given| given.shape);
        4 * read.chain([layer.output_shape()]).map(|shape| common::count(shape) as u64).sum::<u64>()
    };
    layers.iter().map(bytes).max().unwrap()
}

/// What lies between layers takes little more memory than the two largest neighbours; and small nodes become few steps.
#[test]
fn networks_are_planned_small() {
    let Some(folder) = folder() else { return };
    for case in cases(&folder) {
        let shapes: Vec<_> = case.inputs().map(|(name, shape, _)| (name, shape)).collect();
        let layers = case.network.layers(&shapes).unwrap();
        let limits = sepconv::wgpu::Limits::default();
        let (program, planned) = case.network.program(&Planner::new(limits.into()), &shapes).unwrap();
        assert_eq!(layers.len(), planned.len());
        let (between, neighbours) = (Memory::new(&program).bytes(), largest_neighbours(&layers));
        let times = between as f64 / neighbours as f64;
        eprintln!(
            "{}: {} steps, {between} bytes between layers, {times:.2} neighbours",
            case.name,
            program.steps.len()
        );
        // Winograd's method has its transformed tensors besides, of at most 16 MiB at a time.
        let has_winograd = planned.iter().any(|layer| layer.kernel.contains("winograd"));
        let besides = if has_winograd { 16 << 20 } else { 0 };
        assert!(2 * between <= 3 * neighbours + 2 * besides, "{}: {between} of {neighbours}", case.name);
        if case.name.contains("blazeface") {
            assert!(program.steps.len() <= 60);
        }
        // No more than one and a half times its neighbours, for whatever device it is planned.
        if case.name.contains("efficientnet") {
            assert!(!has_winograd, "{}", case.name);
        }
    }
}

/// The largest difference over the largest value.
fn ratio(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error = actual
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0_f32, |error, difference| if difference.is_nan() { f32::INFINITY } else { error.max(difference) });
    f64::from(error / largest)
}

#[test]
fn the_reference_is_right() {
    let Some(folder) = folder() else { return };
    for case in quick_cases(&folder) {
        let inputs: Vec<_> = case.inputs().collect();
        let mut layers = 0;
        let outputs = case.network.reference(&inputs, |_| {
            layers += 1;
            Ok(())
        });
        for output in outputs.unwrap_or_else(|error| panic!("{}: {error}", case.name)) {
            let (shape, expected) = &case.golden[&format!("output:{}", output.name)];
            assert_eq!(output.shape, *shape, "{}", case.name);
            let ratio = ratio(&output.values, expected);
            eprintln!("{}, {layers} layers, {}: {ratio:.2e} of {:.1e}", case.name, output.name, case.allowed);
            assert!(ratio <= case.allowed, "{} {}: {ratio} of {}", case.name, output.name, case.allowed);
        }
    }
}

/// No layer of a network that is to be exact is computed by Winograd's method, and one of another is.
#[test]
fn an_exact_network_has_no_winograd() {
    let mut network = Network::new();
    let x = network.input("x", &[Some(1), Some(512), Some(14), Some(14)]);
    let weight = network.constant("weight", &[512, 512, 3, 3], vec![0.5; 512 * 512 * 9]).unwrap();
    let (stride, dilation) = (1.into(), 1.into());
    let convolution = Operation::Conv2d { stride, padding: 1.into(), dilation, groups: 1 };
    let y = network.node("y", convolution, [x, weight]).unwrap();
    network.output("y", y).unwrap();
    let planner = Planner::new(sepconv::wgpu::Limits::default().into());
    let kernel = |network: &Network| network.program(&planner, &[]).unwrap().1[0].kernel.clone();
    assert!(kernel(&network).contains("winograd"));
    assert!(!kernel(&network.rounding(Rounding::Exact)).contains("winograd"));
}

/// What was packed is on the device in one form alone, and what is not packed as it was.
#[test]
fn weights_are_kept_in_one_form() {
    const CHANNELS: u32 = 512;
    if context().is_none() {
        return;
    }
    // A device of its own, so that nobody else takes memory of it. GPUs' kernels pack their weights.
    let context = Context::new_blocking().unwrap().with_software(false);
    let mut network = Network::new();
    let x = network.input("x", &[Some(1), Some(CHANNELS), Some(4), Some(4)]);
    let weights: Vec<f32> = (0..CHANNELS * CHANNELS).map(|index| ((index * 7 % 13) as f32 - 6.0) / 64.0).collect();
    let dense = network.constant("dense", &[CHANNELS, CHANNELS, 1, 1], weights).unwrap();
    let taps = network.constant("taps", &[CHANNELS, 1, 3, 3], vec![0.25; 9 * CHANNELS as usize]).unwrap();
    let convolution = |groups| Operation::Conv2d { stride: 1.into(), padding: 1.into(), dilation: 1.into(), groups };
    let y = network.node("depthwise", convolution(CHANNELS), [x, taps]).unwrap();
    let y = network.node("exp", Operation::Function(Activation::Exp), [y]).unwrap();
    let pointwise = Operation::Conv2d { stride: 1.into(), padding: 0.into(), dilation: 1.into(), groups: 1 };
    let y = network.node("pointwise", pointwise, [y, dense]).unwrap();
    network.output("y", y).unwrap();

    let plan = network.plan(&context, &[]).unwrap();
    let both = 4 * u64::from(CHANNELS * CHANNELS + CHANNELS * 9);
    assert_eq!(plan.weight_bytes(), both);
    assert_eq!(plan.as_plan().packed_weight_bytes(), 4 * u64::from(CHANNELS * CHANNELS));
    let device = context.device();
    let allocated = || {
        device.poll(sepconv::wgpu::PollType::wait_indefinitely()).unwrap();
        let report = device.generate_allocator_report();
        report.map(|report| report.allocations.iter().map(|allocation| allocation.size).sum::<u64>())
    };
    let before = allocated();
    let weights = plan.weights().unwrap();
    let taken = allocated().zip(before).map(|(after, before)| after - before);
    eprintln!("{taken:?} of {both} bytes");
    assert!(taken.is_none_or(|taken| (both / 2..both * 5 / 4).contains(&taken)), "{taken:?} of {both} bytes");
    // Packing them again changes nothing.
    weights.pack_now().unwrap();
    let values: Vec<f32> = (0..CHANNELS * 16).map(|index| (index % 11) as f32 / 8.0 - 0.5).collect();
    let shape = [1, CHANNELS, 4, 4];
    let (input, output) =
        (Tensor::from_slice(&context, shape, &values).unwrap(), Tensor::zeros(&context, shape).unwrap());
    plan.bind(&weights, &[("x", &input)], &[("y", &output)]).unwrap().run().unwrap();
    let expected = network.reference(&[("x", &shape, &values)], |_| Ok(())).unwrap();
    let ratio = ratio(&output.read_blocking().unwrap(), &expected[0].values);
    assert!(ratio < 1e-5, "{ratio}");
}
