//! The model's closed forms of what a step takes are what is counted, for layers that the tiles divide. What they call an
//! estimate is not: the bytes that workgroups fetch are not compared, and registers and other instructions are near what
//! NVIDIA's assembler made of the kernels that matter most.

use sepconv::unstable::{Given, Planner, Work};
use sepconv::{Choice, Conv2d, Layer, SeparableConv2d, Target};
use sepconv_tools::traffic::{self, Counts};

/// What the subgroups of a step did, in the order of [`NAMES`].
fn counted(counts: &Counts) -> [f64; 5] {
    let accesses = || counts.buffers.values().flat_map(|traffic| [traffic.loads, traffic.stores]);
    let shared = [counts.shared.loads, counts.shared.stores];
    [
        counts.multiply_adds.subgroups,
        accesses().map(|access| access.requests).sum(),
        accesses().map(|access| access.sectors).sum(),
        shared.iter().map(|banks| banks.requests).sum(),
        shared.iter().map(|banks| banks.wavefronts).sum(),
    ]
    .map(|count| count as f64)
}

fn modelled(work: &Work) -> [f64; 5] {
    [work.multiply_adds, work.requests, work.sectors, work.shared_requests, work.wavefronts]
}

const NAMES: [&str; 5] =
    ["multiply-adds", "requests", "sectors", "requests of workgroup memory", "wavefronts of its banks"];

/// How far the sectors may be from the closed form: not at all; or by a factor of two where rows do not start with a stretch
/// of 32 bytes, or where neighbouring taps of a subgroup see the same one.
const ALIGNED: [f64; 2] = [1.0, 1.0];
const SHIFTED: [f64; 2] = [0.5, 2.0];

/// How far the requests of depthwise layers may be from it: the last tile down a plane may have fewer rows to store.
const SHORTER: [f64; 2] = [0.97, 1.0];

/// What of a kernel's variants for a layer is not as modelled; sectors may be so many times what the closed form says.
fn differences(kernel: &str, layer: &Layer, [least, most]: [f64; 2]) -> Vec<String> {
    let planner = Planner::new(Target::from(sepconv::wgpu::Limits::default()));
    let all = Choice::all(layer, planner.target()).into_iter();
    let variants: Vec<_> = all.filter(|(choice, _)| choice.kernel.name == kernel).collect();
    assert!(!variants.is_empty(), "{kernel} has no variant for {}", layer.text());
    let mut differences = Vec::new();
    for (choice, variant) in variants {
        let program = planner.plan_with(layer, choice).unwrap();
        let given = layer.describe().given().into_iter();
        let values = |given: &Given| vec![0.5; given.shape.iter().product::<u32>() as usize];
        let given: Vec<_> = given.map(|given| (given, values(&given))).collect();
        let steps = traffic::run(&program, &given).unwrap().steps;
        let works = planner.work(layer, choice).unwrap();
        assert_eq!(steps.len(), works.len(), "{kernel}");
        for (step, (counts, work)) in steps.iter().zip(&works).enumerate() {
            for ((name, counted), modelled) in NAMES.iter().zip(counted(counts)).zip(modelled(work)) {
                let [least, most] = match *name {
                    "sectors" => [least, most],
                    "requests" if kernel.starts_with("depthwise") => SHORTER,
                    _ => ALIGNED,
                };
                if counted < least * modelled || counted > most * modelled {
                    let (layer, constants) = (layer.text(), &variant.constants);
                    differences.push(format!(
                        "{kernel}, step {step}, {name}: {counted}, not {modelled}: {layer} {constants:?}"
                    ));
                }
            }
        }
    }
    differences
}

/// Kernels, layers, and how far the sectors may be from the closed form.
fn check(cases: &[(&str, Layer, [f64; 2])]) {
    let differences: Vec<_> =
        cases.iter().flat_map(|(kernel, layer, bounds)| differences(kernel, layer, *bounds)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn conv(layer: Conv2d, shape: [u32; 4]) -> Layer {
    layer.geometry(shape).unwrap().into()
}

/// 256 pixels of 128 channels: exactly as many of everything.
fn one_by_one() -> Layer {
    conv(Conv2d::new(128, 128, 1), [1, 128, 16, 16])
}

#[test]
fn layers_of_single_pixels() {
    let with_residual = conv(Conv2d::new(64, 128, 1).residual(true).bias(false), [2, 64, 8, 16]);
    let grouped = conv(Conv2d::new(128, 256, 1).groups(2), [1, 128, 16, 16]);
    let layers = [one_by_one(), with_residual, grouped];
    let cases = |kernel: &'static str| layers.map(|layer| (kernel, layer, ALIGNED));
    check(&["gemm", "pointwise", "tiled_gemm", "tiled_pointwise"].map(cases).concat());
    check(&[("direct", one_by_one(), ALIGNED)]);
    let long_sums = conv(Conv2d::new(512, 128, 1), [1, 512, 16, 16]);
    check(&[("split_sums", long_sums, ALIGNED)]);
}

#[test]
fn layers_of_windows() {
    let square = conv(Conv2d::new(32, 128, 2), [1, 32, 17, 17]);
    let separable = SeparableConv2d::new(32, 128, 3);
    let of_stride_2: Layer = separable.stride(2).geometry([1, 32, 33, 33]).unwrap().into();
    let separable: Layer = separable.geometry([1, 32, 18, 18]).unwrap().into();
    check(&[
        ("direct", square, SHIFTED),
        ("gemm", square, SHIFTED),
        ("tiled_gemm", square, SHIFTED),
        ("separable", separable, SHIFTED),
        ("separable", of_stride_2, SHIFTED),
        ("chained", separable, SHIFTED),
        ("winograd", conv(Conv2d::new(16, 32, 3).padding(1), [1, 16, 16, 16]), SHIFTED),
        ("winograd_4x4", conv(Conv2d::new(16, 32, 3).padding(1).residual(true), [1, 16, 32, 16]), SHIFTED),
    ]);
}

#[test]
fn depthwise_layers() {
    // Of 16 rows.
    let layers = [
        conv(Conv2d::new(4, 4, 3).groups(4).padding(1), [2, 4, 16, 32]),
        conv(Conv2d::new(8, 8, 3).groups(8).padding(1).stride(2).residual(true), [1, 8, 32, 64]),
        conv(Conv2d::new(8, 8, 5).groups(8).padding(2).bias(false), [1, 8, 16, 32]),
    ];
    let cases = |kernel: &'static str| layers.map(|layer| (kernel, layer, SHIFTED));
    check(&["depthwise_fours", "depthwise_columns"].map(cases).concat());
}

/// Of a subgroup of a step.
fn instructions(work: &Work) -> f64 {
    let all = work.multiply_adds + work.requests + work.shared_requests + work.others;
    all / (work.workgroups * work.invocations / 32.0)
}

/// By the lines of `benches/results/sm_90.csv`: those of a round of the main loop within a tenth, the others and the registers
/// within a quarter.
#[test]
fn instructions_are_those_of_compiled_code() {
    let lines: Vec<Vec<&str>> =
        include_str!("../../benches/results/sm_90.csv").lines().skip(2).map(|line| line.split(',').collect()).collect();
    let planner = Planner::new(Target::from(sepconv::wgpu::Limits::default()));
    let mut differences = Vec::new();
    let mut compared = 0;
    for (kernel, window, words) in
        [("tiled_pointwise", 1, "main"), ("tiled_gemm", 1, "kernel=1x1"), ("tiled_gemm", 3, "kernel=3x3")]
    {
        let layer = |channels| conv(Conv2d::new(channels, 128, window).padding(window / 2), [1, channels, 16, 16]);
        let all = Choice::all(&layer(128), planner.target()).into_iter();
        for (choice, variant) in all.filter(|(choice, _)| choice.kernel.name == kernel) {
            // The order of variants is another for another layer.
            let longer = Choice::all(&layer(256), planner.target()).into_iter();
            let is_same = |other: &sepconv::kernels::Variant| other.constants == variant.constants;
            let (long, _) = longer.into_iter().find(|(_, other)| is_same(other)).unwrap();
            let [short, long] = [(layer(128), choice), (layer(256), long)]
                .map(|(layer, choice)| planner.work(&layer, choice).unwrap()[0]);
            let the = |name: &str| variant.constants.iter().find(|(constant, _)| *constant == name).unwrap().1;
            let rounds = f64::from(128 * window * window / (the("DEPTH") * the("SPLIT")));
            let of_round = (instructions(&long) - instructions(&short)) / rounds;
            let around = instructions(&short) - rounds * of_round;
            let tile = ["CHANNEL_TILE", "CHANNEL_TILES", "PIXEL_FOURS", "PIXEL_TILES", "SPLIT"];
            let tile = tile.map(|name| format!("{}={}", name.to_lowercase(), the(name)));
            let is_it = |line: &&Vec<&str>| {
                let of_line: Vec<&str> = line[0].split(' ').collect();
                let has = |word: &str| of_line.contains(&word);
                has(kernel)
                    && has(words)
                    && has("has_bias=1")
                    && !has("has_residual=1")
                    && !has("has_rest=1")
                    // The layers here have whole rounds. The model knows of no function behind the sums.
                    && !line[0].contains(" activation=")
                    && tile.iter().all(|word| has(word))
            };
            for line in lines.iter().filter(is_it) {
                compared += 1;
                let number = |column: usize| line[column].parse::<f64>().unwrap();
                let [registers, all, main_loop] = [1, 4, 5].map(number);
                let behind = if line[8].is_empty() { 0.0 } else { number(8) };
                // tiled_gemm finishes an invocation's sums one after the other, in a loop.
                let sums = 4 * the("PIXEL_FOURS") * the("CHANNEL_TILE") / the("SPLIT");
                let again = if kernel == "tiled_gemm" { f64::from(sums) - 1.0 } else { 0.0 };
                for (what, modelled, compiled, most) in [
                    ("in a round", of_round, main_loop, 0.1),
                    ("around", around, all - main_loop + again * behind, 0.25),
                    ("registers", short.registers, registers, 0.25),
                ] {
                    if (modelled / compiled - 1.0).abs() > most {
                        differences.push(format!("{what}: {modelled}, and compiled {compiled}: {}", line[0]));
                    }
                }
            }
        }
    }
    assert!(compared > 20, "{compared} lines");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
