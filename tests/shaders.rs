//! The shaders as text: every file and every variant of it is valid WGSL, and what they share stands once. No device.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use common::FUNCTIONS;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use sepconv::unstable::{Elements, Planner, Step, specialise};
use sepconv::{
    Activation, AveragePool2d, Axis, Binary, Choice, Conv2d, ConvTranspose2d, Coordinates, DType, Geometry,
    Interpolation, Layer, MatMul, MaxPool2d, Nearest, Normalise, PaddingMode, Perceptron, Rearrange, Reduce, Reduction,
    Resize2d, Softmax, Unary, kernels,
};

const SHADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");

/// The one shader that is no kernel's: it copies.
const HELPER: &str = "crop";

/// Layers over everything that the shaders' constants depend on.
fn geometries() -> Vec<Geometry> {
    let mut layers = Vec::new();
    for padding_mode in [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular] {
        for activation in [
            Activation::None,
            Activation::Relu6,
            Activation::LeakyRelu(0.1),
            Activation::Silu,
            Activation::HardSwish,
            Activation::Clamp(-1.0, 1.0),
        ] {
            for (bias, residual) in [(false, false), (false, true), (true, false), (true, true)] {
                for base in [
                    Conv2d::new(6, 9, 3).padding(1),
                    Conv2d::new(6, 12, [2, 5]).padding([1, 2]).groups(6),
                    Conv2d::new(6, 12, 1).groups(2).stride(2),
                    Conv2d::new(6, 12, 1),
                    Conv2d::new(48, 96, 3).padding(1).groups(3),
                    Conv2d::new(48, 96, 3).padding(1).groups(3).input_scale(true),
                    Conv2d::new(6, 12, 1).input_scale(true),
                ] {
                    layers.push(base.bias(bias).residual(residual).activation(activation).padding_mode(padding_mode));
                }
            }
        }
    }
    for kernel_size in [[1, 1], [1, 2], [2, 1], [3, 3], [7, 7], [11, 11], [1, 40]] {
        for stride in [[1, 1], [2, 1], [1, 3], [4, 4]] {
            for dilation in [[1, 1], [2, 3], [9, 1]] {
                for (outputs, groups) in [(6, 1), (18, 3), (6, 6), (24, 6), (3, 3), (60, 1)] {
                    let layer = Conv2d::new(6, outputs, kernel_size).groups(groups);
                    layers.push(layer.stride(stride).dilation(dilation));
                }
            }
        }
    }
    let shapes = [[1, 6, 130, 140], [2, 6, 5, 6], [1, 48, 5, 6]];
    layers.iter().flat_map(|layer| shapes.map(|shape| layer.geometry(shape))).filter_map(Result::ok).collect()
}

/// Layers of every kind over everything that the shaders' constants depend on.
fn layers() -> Vec<Layer> {
    let geometries = geometries();
    let depthwise = geometries.iter().filter(|geometry| geometry.in_channels_per_group() == 1);
    let separable = depthwise.flat_map(|depthwise| {
        [3, 40, 300].map(|out_channels| {
            let pointwise = Conv2d::new(depthwise.out_channels, out_channels, 1).bias(depthwise.bias);
            (*depthwise, pointwise.geometry(depthwise.output_shape()).unwrap()).into()
        })
    });
    let pools = geometries.iter().filter_map(|geometry| {
        let pool = MaxPool2d::new(geometry.kernel_size).stride(geometry.stride).dilation(geometry.dilation);
        Some(pool.geometry(geometry.input_shape()).ok()?.into())
    });
    let means = geometries.iter().filter_map(|geometry| {
        let pool = AveragePool2d::new(geometry.kernel_size).stride(geometry.stride).dilation(geometry.dilation);
        Some(pool.geometry(geometry.input_shape()).ok()?.into())
    });
    let all = geometries.iter().map(|&geometry| geometry.into()).chain(separable).chain(pools).chain(means);
    let all = all.chain(functions()).chain(operations()).chain(rearrangements()).chain(transposed(&geometries));
    all.chain(reductions()).chain(products()).chain(perceptrons()).chain(rows()).chain(resizes()).collect()
}

/// Transposed convolutions with the windows of convolutions.
fn transposed(geometries: &[Geometry]) -> impl Iterator<Item = Layer> {
    geometries.iter().filter_map(|geometry| {
        let layer = ConvTranspose2d::new(geometry.input_shape(), geometry.out_channels, geometry.kernel_size).ok()?;
        let change = |layer: &mut ConvTranspose2d| {
            (layer.stride, layer.dilation, layer.groups) = (geometry.stride, geometry.dilation, geometry.groups);
            (layer.bias, layer.activation) = (geometry.bias, geometry.activation);
        };
        Some(layer.with(0.into(), change).ok()?.into())
    })
}

fn functions() -> impl Iterator<Item = Layer> {
    FUNCTIONS.into_iter().map(|activation| Unary::new([1, 2, 3, 4], activation).unwrap().into())
}

/// Each operation, with every number of axes.
fn operations() -> impl Iterator<Item = Layer> {
    let of = |operation| {
        (1..=6).map(move |axes| {
            let rows: Vec<u32> = (0..axes).map(|axis| 1 + axis % 2).collect();
            let activation = FUNCTIONS[axes as usize];
            Binary::new(operation, [&vec![2; rows.len()], &rows], activation).unwrap().into()
        })
    };
    common::OPERATIONS.into_iter().flat_map(of)
}

/// Every number of axes, with every padding mode and without padding.
fn rearrangements() -> impl Iterator<Item = Layer> {
    let modes = [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular];
    (1..=6).flat_map(move |count| {
        let mut axes: Vec<_> = (0..count).map(|axis| Axis::new(2, 1 << axis)).collect();
        let inside = Rearrange::new(64, &axes).unwrap();
        axes[0].first = -1;
        let padded = Rearrange::new(64, &axes).unwrap();
        modes.map(|mode| padded.padding(mode, 0.0)).into_iter().chain([inside]).map(Layer::from)
    })
}

/// Every reduction, by teams of every size.
fn reductions() -> impl Iterator<Item = Layer> {
    let all = [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Max,
        Reduction::Min,
        Reduction::Product,
        Reduction::SumOfSquares,
        Reduction::SumOfAbsolutes,
    ];
    all.into_iter().zip(FUNCTIONS).flat_map(|(reduction, activation)| {
        [[3, 1000, 1], [3, 1000, 5]].map(|sizes| {
            let mut layer = Reduce::new(reduction, sizes).unwrap();
            layer.activation = activation;
            layer.into()
        })
    })
}

/// Products with and without a bias, some of more terms than one invocation sums.
fn products() -> impl Iterator<Item = Layer> {
    FUNCTIONS.into_iter().zip(0..).flat_map(|(activation, index)| {
        [[1, 40_000, 3], [40, 9, 50]].map(|sizes| {
            let mut layer = MatMul::new(sizes).unwrap();
            (layer.activation, layer.bias) = (activation, index % 2 == 0);
            layer.into()
        })
    })
}

fn perceptrons() -> impl Iterator<Item = Layer> {
    FUNCTIONS.into_iter().zip(0..).map(|(activation, index)| {
        let mut layer = Perceptron::new(1, [9, 4, 9]).unwrap();
        (layer.hidden_activation, layer.activation) = (FUNCTIONS[FUNCTIONS.len() - 1 - index], activation);
        (layer.hidden_bias, layer.bias) = (index % 2 == 0, index % 4 < 2);
        layer.into()
    })
}

/// A shader with every text that it is compiled to: as it is, and with each set of constants that a kernel's variant or a
/// step has.
struct Shader {
    name: &'static str,
    own: &'static str,
    parts: BTreeSet<&'static str>,
    wgsl: String,
    /// Where the steps begin.
    entries: BTreeSet<&'static str>,
    sources: BTreeSet<String>,
}

type Constants = Vec<(&'static str, u32)>;

/// Every shader that a layer is computed by, and `crop`, which copies.
fn shaders() -> &'static [Shader] {
    static SHADERS: OnceLock<Vec<Shader>> = OnceLock::new();
    SHADERS.get_or_init(|| {
        let (steps, variants) = steps_and_variants();
        let mut shaders: Vec<Shader> = Vec::new();
        for step in steps {
            let shader = step.shader;
            let index = shaders.iter().position(|other| other.name == shader.name).unwrap_or_else(|| {
                shaders.push(Shader {
                    name: shader.name,
                    own: shader.own,
                    parts: shader.parts.iter().copied().flatten().copied().collect(),
                    wgsl: shader.wgsl(),
                    entries: BTreeSet::new(),
                    sources: BTreeSet::from([shader.wgsl()]),
                });
                shaders.len() - 1
            });
            let shader = &mut shaders[index];
            shader.entries.insert(step.entry_point);
            shader.sources.insert(step.wgsl());
        }
        for (kernel, constants) in variants {
            let shader = shaders.iter_mut().find(|shader| shader.name == kernel);
            let shader = shader.unwrap_or_else(|| panic!("no step has the shader of {kernel}"));
            assert_eq!(kernels::by_name(kernel).unwrap().wgsl(), shader.wgsl);
            shader.sources.insert(specialise(&shader.wgsl, &constants));
        }
        shaders
    })
}

/// One step for each shader, entry point and set of constants that there is, with its loops written out and not, and each
/// kernel's variants; of devices of every kind, and of one with small bindings, for which layers and sums are cut.
fn steps_and_variants() -> (Vec<Step>, BTreeSet<(&'static str, Constants)>) {
    let [.., mut small] = common::targets();
    small.limits.max_storage_buffer_binding_size = 40 << 10;
    let whole = common::targets().map(|target| (target, layers()));
    // Of more taps than one invocation sums.
    let wide = Conv2d::new(6, 12, 150).groups(6).geometry([1, 6, 150, 150]).unwrap().into();
    // A group's planes fit one by one, and not together.
    let deep = Conv2d::new(60, 12, 1).geometry([1, 60, 16, 16]).unwrap().into();
    // The first row of outputs sees both ends of a plane that does not fit.
    let around = Conv2d::new(6, 6, 3).groups(6).padding(1).padding_mode(PaddingMode::Circular);
    let around = around.geometry([1, 6, 130, 140]).unwrap().into();
    let cut = layers().into_iter().step_by(31).chain([wide, deep, around]).collect();
    let (mut steps, mut seen, mut variants) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (target, layers) in whole.into_iter().chain([(small, cut)]) {
        let planner = Planner::new(target);
        for layer in layers {
            for (choice, variant) in Choice::all(&layer, planner.target()) {
                let Ok(program) = planner.plan_with(&layer, choice) else { continue };
                let new = |step: &Step| {
                    seen.insert((step.shader.name, step.entry_point, step.constants.clone(), step.loops_written_out))
                };
                steps.extend(program.prepare.into_iter().chain(program.steps).filter(new));
                if !variant.constants.is_empty() {
                    variants.insert((choice.kernel.name, variant.constants));
                }
            }
        }
    }
    (steps, variants)
}

/// Every sixth one, unless the sweep is to be whole.
#[test]
fn every_variant_is_valid() {
    let (some, others) = shaders().split_at(shaders().len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| validate(some));
        validate(others);
    });
}

fn validate(shaders: &[Shader]) {
    for Shader { name, entries, sources, .. } in shaders {
        println!("{name}: {} variants", sources.len());
        assert!(sources.len() >= 10 || *name == HELPER, "{name} has only {} variants here", sources.len());
        let halves = Elements::all(DType::F16);
        let sums_of_halves = Elements { output: DType::F32, ..halves };
        let halves_of_sums = Elements { input: DType::F32, ..halves };
        for (turn, source) in sources.iter().enumerate().step_by(common::every(6)) {
            // Unless the sweep is to be whole, each thirtieth variant has one of these as well, in turn.
            let is_taken = |way: usize| common::sweeps_whole() || turn % 90 == 30 * way;
            let others =
                [halves, sums_of_halves, halves_of_sums].into_iter().enumerate().filter(|(way, _)| is_taken(*way));
            for elements in std::iter::once(Elements::default()).chain(others.map(|(_, elements)| elements)) {
                let source = &elements.put_into(source);
                let module = naga::front::wgsl::parse_str(source);
                let module = module.unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
                let capabilities = Capabilities::SUBGROUP | Capabilities::SHADER_INT64 | Capabilities::SHADER_FLOAT16;
                let result = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
                result.unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
                let declared: BTreeSet<_> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
                assert_eq!(declared, *entries, "the entry points of {name}, and those that steps begin at");
            }
        }
    }
}

/// Parts that begin or end amid a sum have constants of their own.
#[test]
fn sums_that_are_cut_are_among_the_variants() {
    for Shader { name, wgsl, sources, .. } in shaders() {
        let has = |text: &str| sources.iter().any(|source| source.contains(text));
        for declared in ["const CONTINUES: bool", "const FINISHES: bool"].iter().filter(|text| wgsl.contains(**text)) {
            // Winograd's sums are its product's, and those of split_sums its convolution's; a transposed convolution's are
            // refused where they are too long, and those of depthwise_fours are short.
            let both = ["true", "false"].iter().all(|value| has(&format!("{declared} = {value};")));
            assert!(
                both || name.starts_with("winograd")
                    || ["split_sums", "subgroup_pointwise", "transposed", "depthwise_fours"].contains(name),
                "{name}: {declared}"
            );
        }
    }
}

/// Browsers do not use naga: Chromium's compiler, where it is installed, must take the shaders as well.
#[test]
fn tint_takes_them_too() {
    const MOST: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.wgsl", "out.wgsl"].map(|name| folder.path().join(name));
    // Browsers have no integers of 64 bits.
    for Shader { name, wgsl, sources, .. } in shaders().iter().filter(|shader| !shader.wgsl.contains("u64")) {
        let step = sources.len().div_ceil(MOST);
        for source in std::iter::once(wgsl).chain(sources.iter().step_by(step)) {
            // naga does not know this directive, and browsers want it.
            let directive = if source.contains("subgroup") { "enable subgroups;\n" } else { "" };
            std::fs::write(&input, format!("{directive}{source}")).unwrap();
            let run = Command::new("tint").args(["--format", "wgsl"]).arg(&input).arg("-o").arg(&output).output();
            let result = match run {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    println!("tint is not on the PATH: the shaders were not given to it");
                    return;
                }
                run => run.unwrap(),
            };
            let message = String::from_utf8_lossy(&result.stderr);
            assert!(result.status.success(), "tint refuses {name}: {message}\n{source}");
        }
    }
}

/// Every file of `shaders/`, with its path in there.
fn files() -> BTreeMap<String, String> {
    let folders = ["", "shared", "software", "software/shared", "roofline"];
    let mut files = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(Path::new(SHADERS).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(SHADERS).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(path).unwrap());
            } else {
                let folder = path.strip_prefix(SHADERS).unwrap();
                assert!(folders.iter().any(|known| Path::new(known) == folder), "{} is a new folder", folder.display());
            }
        }
    }
    files
}

/// A file's code, by runs of lines that follow each other. Comments, blank lines and lines that only close a brace are left
/// out; so are loops over constants, which end a run: they are what a kernel makes its tiles with, and its own.
fn code_runs(text: &str) -> Vec<Vec<&str>> {
    let (mut runs, mut depth) = (vec![Vec::new()], 0);
    // How deep the outermost loop over constants is that has not ended.
    let mut tile_loop = None;
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
        let before = depth;
        depth = depth + line.matches('{').count() - line.matches('}').count();
        if tile_loop.is_none() && line.starts_with("for (") && !line.contains("extent.") {
            tile_loop = Some(before);
            runs.push(Vec::new());
        } else if tile_loop.is_none() && !["", "}"].contains(&line) {
            runs.last_mut().unwrap().push(line);
        }
        tile_loop = tile_loop.filter(|outer| depth > *outer);
    }
    runs
}

/// What two shaders have in common is a part that both take, and stands in one file.
#[test]
fn what_shaders_share_stands_in_one_file() {
    const LINES: usize = 6;
    let files = files();
    let code: Vec<_> = files.iter().map(|(name, text)| (name, code_runs(text))).collect();
    let mut twice = Vec::new();
    for (index, (name, runs)) in code.iter().enumerate() {
        for (other, others) in &code[..index] {
            let theirs: BTreeSet<_> = others.iter().flat_map(|run| run.windows(LINES)).collect();
            let both = runs.iter().flat_map(|run| run.windows(LINES)).filter(|lines| theirs.contains(lines));
            twice.extend(both.map(|lines| format!("in {other} and in {name}:\n    {}", lines.join("\n    "))));
        }
    }
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

/// The check must be able to fail.
#[test]
fn code_is_told_from_tile_loops() {
    let text = "// a\nlet x = 1u;\n\nfor (var i = 0u; i < TILE; i++) {\n    if x > i {\n        y[i] = x;  // b\n    }\n}\n\
                for (var c = 0u; c < extent.batch; c++) {\n    let z = c;  // d\n}\n";
    let expected = [vec!["let x = 1u;"], vec!["for (var c = 0u; c < extent.batch; c++) {", "let z = c;"]];
    assert_eq!(code_runs(text), expected);
}

#[test]
fn every_header_says_what_a_reader_needs() {
    for Shader { name, own, .. } in shaders().iter().filter(|shader| shader.name != HELPER) {
        let header: Vec<_> = own.lines().map_while(|line| line.strip_prefix("//")).collect();
        assert!(header[0].starts_with(&format!(" {name}: ")), "{name}: {:?}", header[0]);
        for section in ["Formula", "Mapping", "Traffic", "Needs", "Bound by", "Rust row"] {
            let line = header.iter().find_map(|line| line.strip_prefix(&format!(" {section} ")));
            assert!(line.is_some_and(|text| !text.trim().is_empty()), "{name}'s header has no {section}");
        }
        // In the folder that the shader is in, too.
        let folder = if files().contains_key(&format!("software/{name}.wgsl")) { "software/" } else { "" };
        let row = format!("src/kernels/{folder}{name}.rs");
        assert!(header.iter().any(|line| line.ends_with(&format!(" {row}"))), "{name}'s header does not name {row}");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&row).exists(), "{row} is not there");
    }
}

#[test]
fn the_shaders_that_measure_are_valid() {
    for entry in std::fs::read_dir(Path::new(SHADERS).join("roofline")).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let module = naga::front::wgsl::parse_str(&source).unwrap();
        Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
    }
}

#[test]
fn every_file_is_a_row_and_every_row_a_file() {
    let files = files();
    let in_folders = |folders: &[&str]| {
        let is_in = |name: &&String| folders.contains(&name.rsplit_once('/').map_or("", |(folder, _)| folder));
        files.iter().filter(move |(name, _)| is_in(name)).collect::<BTreeMap<_, _>>()
    };
    let name = |path: &str| path.rsplit('/').next().unwrap().strip_suffix(".wgsl").unwrap().to_owned();
    let own: BTreeSet<_> = in_folders(&["", "software"]).into_keys().map(|path| name(path)).collect();
    // A kernel that only puts other kernels' programs together has no file.
    let (together, rows): (Vec<&kernels::Kernel>, Vec<_>) =
        kernels::ALL.iter().copied().partition(|kernel| kernel.wgsl().is_empty());
    assert_eq!(own, rows.iter().map(|kernel| kernel.name.to_owned()).chain([HELPER.to_owned()]).collect());
    assert_eq!(together.iter().map(|kernel| kernel.name).collect::<Vec<_>>(), ["chained", "pixel_shuffle"]);
    let shaders = shaders();
    assert_eq!(own, shaders.iter().map(|shader| shader.name.to_owned()).collect());
    for (path, text) in in_folders(&["", "software"]) {
        let shader = shaders.iter().find(|shader| shader.name == name(path)).unwrap();
        assert!(text == shader.own, "{} is not made from its file", shader.name);
        let is_software = kernels::by_name(shader.name).is_ok_and(|kernel| kernel.rank == kernels::Rank::Software);
        assert_eq!(path.starts_with("software/"), is_software, "the folder of {path}");
    }
    let parts: BTreeSet<_> = in_folders(&["shared", "software/shared"]).into_values().map(String::as_str).collect();
    assert_eq!(parts, shaders.iter().flat_map(|shader| shader.parts.clone()).collect(), "shared files, and parts");
}

fn rows() -> impl Iterator<Item = Layer> {
    let softmax = [false, true].map(|is_log| Softmax::new([3, 1000, 5], is_log).unwrap().into());
    let norms = FUNCTIONS.map(|activation| {
        let mut layer = Normalise::layer(3, 1000, 1e-5).unwrap();
        layer.activation = activation;
        layer.into()
    });
    softmax.into_iter().chain(norms)
}

fn resizes() -> impl Iterator<Item = Layer> {
    let cubic = |exclude_outside| Interpolation::Cubic { coefficient: -0.75, exclude_outside };
    let nearest = [Nearest::RoundPreferFloor, Nearest::RoundPreferCeil, Nearest::Floor, Nearest::Ceil];
    let others = [Interpolation::Linear, cubic(false), cubic(true)];
    let interpolations = nearest.map(Interpolation::Nearest).into_iter().chain(others);
    let resize =
        |planes, interpolation| Resize2d::new(planes, 2.into(), 3.into(), Coordinates::HalfPixel, interpolation);
    let with_planes = move |interpolation| (1..=4).map(move |planes| resize(planes, interpolation).unwrap().into());
    interpolations.flat_map(with_planes)
}
