//! The shaders as text: every file and every variant of it is valid WGSL, and what they share is the same. No device.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use sepconv::kernels::{self, Kernel, Passes};
use sepconv::{Activation, Conv2d, Geometry, PaddingMode, specialise};

const SHADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");

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

/// A shader with every text that it is compiled to: the file as it is, and each variant for each layer it supports.
struct Shader {
    name: &'static str,
    wgsl: &'static str,
    entries: &'static [&'static str],
    sources: BTreeSet<String>,
}

impl Shader {
    fn of<Layer>(kernel: &Kernel<Layer>, layers: &[Layer]) -> Self {
        let targets = common::targets();
        let layers = layers.iter().flat_map(|layer| targets.iter().map(move |target| (layer, target)));
        let variants = layers
            .filter(|(layer, target)| (kernel.supports)(layer, target).is_ok())
            .flat_map(|(layer, target)| (kernel.variants)(layer, target));
        let specialised = variants.map(|variant| specialise(kernel.wgsl, &variant.constants));
        let sources = std::iter::once(kernel.wgsl.to_owned()).chain(specialised).collect();
        let entries: &[&str] = match kernel.passes {
            Passes::One => &["main"],
            Passes::Winograd => &["transform_filter", "transform_input", "transform_output"],
        };
        Self { name: kernel.name, wgsl: kernel.wgsl, entries, sources }
    }
}

/// Every shader that computes a layer.
fn shaders() -> Vec<Shader> {
    let geometries = geometries();
    let separable: Vec<_> = geometries
        .iter()
        .filter(|depthwise| depthwise.in_channels_per_group() == 1)
        .flat_map(|depthwise| {
            [3, 40, 300].map(|out_channels| {
                let pointwise = Conv2d::new(depthwise.out_channels, out_channels, 1).bias(depthwise.bias);
                (*depthwise, pointwise.geometry(depthwise.output_shape()).unwrap())
            })
        })
        .collect();
    let alone = kernels::ALL.iter().map(|kernel| Shader::of(kernel, &geometries));
    alone.chain(kernels::SEPARABLE.iter().map(|kernel| Shader::of(kernel, &separable))).collect()
}

#[test]
fn every_variant_is_valid() {
    for Shader { name, entries, sources, .. } in shaders() {
        println!("{name}: {} variants", sources.len());
        assert!(sources.len() >= 20, "{name} has only {} variants here", sources.len());
        for source in sources {
            let module = naga::front::wgsl::parse_str(&source);
            let module = module.unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
            let result = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP | Capabilities::SHADER_INT64)
                .validate(&module);
            result.unwrap_or_else(|error| panic!("{}", error.emit_to_string(&source)));
            assert!(module.entry_points.iter().map(|entry| &entry.name).eq(entries), "{name}");
        }
    }
}

/// Browsers do not use naga: Chromium's compiler, where it is installed, must take the shaders as well.
#[test]
fn tint_takes_them_too() {
    const MOST: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in.wgsl", "out.wgsl"].map(|name| folder.path().join(name));
    // Browsers have no integers of 64 bits.
    for Shader { name, wgsl, sources, .. } in shaders().into_iter().filter(|shader| !shader.wgsl.contains("u64")) {
        let step = sources.len().div_ceil(MOST);
        for source in std::iter::once(wgsl.to_owned()).chain(sources.into_iter().step_by(step)) {
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

/// The lines of a declaration, from the one that starts with `first` to the one that is `last`.
fn declaration<'a>(wgsl: &'a str, first: &str, last: &str) -> Option<Vec<&'a str>> {
    let mut lines = wgsl.lines().skip_while(|line| !line.starts_with(first)).peekable();
    lines.peek()?;
    let mut declaration = Vec::new();
    for line in lines {
        declaration.push(line);
        if line == last {
            break;
        }
    }
    Some(declaration)
}

#[test]
fn what_shaders_share_is_the_same_in_each() {
    let output = "@group(0) @binding(5) var<storage, read_write> output: array<f32>;";
    let shaders = shaders();
    let shared = [
        ("struct Extent {", output, true),
        ("fn activate(", "}", true),
        ("fn start(", "}", true),
        ("fn finish(", "}", true),
        // Kernels without padding, and those without subgroups, have no use for these.
        ("fn source(", "}", false),
        ("fn gather(", "}", false),
    ];
    for (first, last, everywhere) in shared {
        let mut versions = BTreeSet::new();
        // A separable layer has tensors and sizes of its own.
        let bound_alike = |shader: &&Shader| first != "struct Extent {" || kernels::by_name(shader.name).is_ok();
        for shader in shaders.iter().filter(bound_alike) {
            let declaration = declaration(shader.wgsl, first, last);
            assert!(declaration.is_some() || !everywhere, "{} has no {first}", shader.name);
            // The type of what is read in pairs.
            let as_values = |line: &str| line.replace("array<u64>", "array<f32>");
            versions.extend(declaration.map(|lines| lines.into_iter().map(as_values).collect::<Vec<_>>()));
        }
        assert_eq!(versions.len(), 1, "{first} differs between the shaders: {versions:#?}");
    }
}

#[test]
fn every_header_says_what_a_reader_needs() {
    for Shader { name, wgsl, .. } in shaders() {
        let header: Vec<_> = wgsl.lines().map_while(|line| line.strip_prefix("//")).collect();
        assert!(header[0].starts_with(&format!(" {name}: ")), "{name}: {:?}", header[0]);
        for section in ["Formula", "Mapping", "Traffic", "Needs", "Bound by", "Rust row"] {
            let line = header.iter().find_map(|line| line.strip_prefix(&format!(" {section} ")));
            assert!(line.is_some_and(|text| !text.trim().is_empty()), "{name}'s header has no {section}");
        }
        let row = format!("src/kernels/{name}.rs");
        assert!(header.iter().any(|line| line.ends_with(&row)), "{name}'s header does not name {row}");
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
    let names = std::fs::read_dir(SHADERS).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<_> = names.filter(|name| name != "roofline").collect();
    let shaders = shaders();
    let rows: BTreeSet<_> = shaders.iter().map(|shader| format!("{}.wgsl", shader.name)).collect();
    assert_eq!(files, rows);
    for shader in shaders {
        let file = std::fs::read_to_string(Path::new(SHADERS).join(format!("{}.wgsl", shader.name))).unwrap();
        assert!(file == shader.wgsl, "{} is not made from its file", shader.name);
    }
}
