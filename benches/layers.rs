//! Normal against separable, over layers of real networks. `cargo bench`
//!
//! Each layer's result is compared with the reference before it is timed. The times are the device's own where it has
//! timestamps that can be true, else the caller's; the name of each group says which device and which clock. Every run
//! uses the same tensors, which a cache may hold; `sepconv bench` uses several sets in turn.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sepconv::timing::{Stopwatch, measure_blocking};
use sepconv::{Activation, Bound, Context, Conv2d, Operands, Parameters, SeparableConv2d, Tensor, reference, verify};

/// A layer's name, input channels, output channels, input size and stride: 3 × 3, padding 1, with biases.
const LAYERS: [(&str, u32, u32, u32, u32); 6] = [
    ("starting example 3-4 64x64", 3, 4, 64, 1),
    ("VGG-16 conv1_2 64-64 112x112", 64, 64, 112, 1),
    ("ResNet-50 conv2 64-64 56x56", 64, 64, 56, 1),
    ("MobileNet conv3 64-128 /2 112x112", 64, 128, 112, 2),
    ("MobileNet conv7 512-512 14x14", 512, 512, 14, 1),
    ("MobileNet conv14 1024-1024 7x7", 1024, 1024, 7, 1),
];

/// Values from -1 to 1 without a pattern that a convolution could cancel: Weyl's sequence.
#[expect(clippy::cast_possible_truncation, reason = "any values will do")]
fn values(shape: [u32; 4]) -> Vec<f32> {
    let count: u32 = shape.iter().product();
    (0..count).map(|i| (f64::from(i) * 0.618_033_988_749_895).fract() as f32 * 2.0 - 1.0).collect()
}

fn upload(context: &Context, shape: [u32; 4]) -> (Vec<f32>, Tensor) {
    let values = values(shape);
    let tensor = Tensor::from_slice(context, shape, &values).expect("room on the device");
    (values, tensor)
}

fn poisoned(context: &Context, shape: [u32; 4]) -> Tensor {
    let count = shape.iter().map(|&size| size as usize).product();
    Tensor::from_slice(context, shape, &vec![f32::NAN; count]).expect("room on the device")
}

fn verified(bound: &Bound, output: &Tensor, expected: &reference::Reference, terms: u64) {
    bound.run().expect("the layer runs");
    let actual = output.read_blocking().expect("the output is read");
    let error = verify::largest_error(expected, Activation::None, terms, &actual);
    assert!(error <= 1.0, "the largest error is {error} times its bound");
}

fn normal(context: &Context, layer: &Conv2d, input_shape: [u32; 4]) -> (Bound, u64) {
    let g = layer.geometry(input_shape).expect("a layer");
    let plan = context.plan(g).expect("a plan");
    let (x, input) = upload(context, g.input_shape());
    let (w, weight) = upload(context, g.weight_shape());
    let (b, bias) = upload(context, g.bias_shape());
    let output = poisoned(context, g.output_shape());
    let weights = plan.weights(&Parameters::new(&weight).bias(&bias)).expect("weights");
    let bound = plan.bind(&weights, Operands::new(&input, &output)).expect("bound");
    verified(&bound, &output, &reference::conv2d(&g, &x, &w, Some(&b), None), g.terms());
    (bound, g.multiply_adds())
}

fn separable(context: &Context, layer: &SeparableConv2d, input_shape: [u32; 4]) -> Bound {
    let (d, p) = layer.geometry(input_shape).expect("a layer");
    let plan = context.plan((d, p)).expect("a plan");
    let (x, input) = upload(context, d.input_shape());
    let (dw, depthwise_weight) = upload(context, d.weight_shape());
    let (db, depthwise_bias) = upload(context, d.bias_shape());
    let (pw, pointwise_weight) = upload(context, p.weight_shape());
    let (pb, pointwise_bias) = upload(context, p.bias_shape());
    let output = poisoned(context, p.output_shape());
    let parameters = Parameters::separable(&depthwise_weight, &pointwise_weight);
    let parameters = parameters.depthwise_bias(&depthwise_bias).pointwise_bias(&pointwise_bias);
    let weights = plan.weights(&parameters).expect("weights");
    let bound = plan.bind(&weights, Operands::new(&input, &output)).expect("bound");
    let expected = verify::separable_reference((&d, &p), &x, (&dw, Some(&db)), (&pw, Some(&pb)), None);
    verified(&bound, &output, &expected, d.terms() + p.terms());
    bound
}

fn layers(criterion: &mut Criterion) {
    let context = Context::new_blocking().expect("an adapter: test.sh installs a software one on Linux");
    let info = context.adapter_info();
    for (name, in_channels, out_channels, size, stride) in LAYERS {
        let input_shape = [1, in_channels, size, size];
        let layer = Conv2d::new(in_channels, out_channels, 3).padding(1).stride(stride);
        let (normal, multiply_adds) = normal(&context, &layer, input_shape);
        let layer = SeparableConv2d::new(in_channels, out_channels, 3).padding(1).stride(stride);
        let separable = separable(&context, &layer, input_shape);

        let (_, clock) = measure_blocking(&context, std::slice::from_ref(&normal), Duration::from_millis(100))
            .expect("a time")
            .best();
        let mut group = criterion.benchmark_group(format!("{name}, {}, {clock}", info.name));
        // Both forms count the normal form's multiply-adds: what is compared is the same job done.
        group.throughput(Throughput::Elements(multiply_adds));
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
        for (form, bound) in [("normal", &normal), ("separable", &separable)] {
            group.bench_function(BenchmarkId::from_parameter(form), |bencher| {
                let stopwatch = match clock {
                    sepconv::timing::Clock::Device => Stopwatch::device(&context).expect("timestamps"),
                    sepconv::timing::Clock::Wall => None,
                };
                let stopwatch = stopwatch.unwrap_or_else(|| Stopwatch::wall(&context));
                bencher.iter_custom(|iterations| {
                    let times =
                        (0..iterations).map(|_| pollster::block_on(stopwatch.time(bound)).expect("the layer runs"));
                    Duration::from_secs_f64(times.sum::<f64>() / 1e3)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
