//! `sepconv plan`: what a layer or a network costs and how it would run, without its tensors; and the shaders of layers.

mod network;
mod predicted;
mod shaders;
mod target;

use std::path::PathBuf;
use std::sync::Arc;

use sepconv::unstable::{Memory, Planner, Program};
use sepconv::{Choice, DType, Error, Geometry, Layer, SeparableConv2d, Target, adapters, kernels};
use serde_json::{Value, json};

use crate::arguments::{self, ConvOptions, DeviceOption, TuningOption, TypeOption};
use crate::cache;
use crate::compute::check_reference;
use crate::device;
use crate::failure::{Failure, Outcome};
use crate::networks::{self, InputShape};
use crate::output::{list, print};

/// What `plan` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  sepconv plan --input 1,3,64,64 --weight 4,3,3,3 --bias 4 --padding 1

  sepconv plan model.onnx --input 1,3,224,224

  sepconv plan --shapes layers.json --target gpu --wgsl folder

Of a model: every layer with its sizes and kernel, and what the whole takes. An input's shape is the model's own unless it is
given. Exit status 2, with one line that says why, where `sepconv conv` or `sepconv run` would refuse the same shapes.

Of a file of shapes: the whole WGSL of every step, what packs weights included, planned without any device. Equal texts are one
file. `index.json` is an array with an object for each step: id the shape, candidate the kernel that was asked for, kernel
whose shader the step runs, constants what is put into it, file, entry the function where it begins, workgroup the
invocations of a workgroup, grid the workgroups of the dispatch.")]
pub struct Arguments {
    /// A model, in place of a layer's shapes: an .onnx file.
    #[arg(value_name = "MODEL.onnx", conflicts_with_all = ["weight", "bias", "stride", "dilation", "padding", "padding_mode", "activation", "groups", "kernel"])]
    model: Option<PathBuf>,
    /// The input's shape: N,C,H,W. Of a model with several inputs, NAME=SIZES for each.
    #[arg(long, value_name = "N,C,H,W", value_parser = networks::input_shape, allow_hyphen_values = true, required_unless_present_any = ["model", "shapes"])]
    input: Vec<InputShape>,
    /// The weight's shape: `out_channels`, `in_channels` / groups, height, width.
    #[arg(long, value_name = "O,I,KH,KW", value_parser = arguments::shape, allow_hyphen_values = true, required_unless_present_any = ["model", "shapes"])]
    weight: Option<[u32; 4]>,
    /// The bias's length, if there is one.
    #[arg(long, value_name = "LEN", value_parser = arguments::length, allow_hyphen_values = true)]
    bias: Option<u64>,
    #[command(flatten)]
    options: ConvOptions,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    tuning: TuningOption,
    #[command(flatten)]
    tensors: TypeOption,
    #[command(flatten)]
    shaders: shaders::Options,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The shapes of a layer's tensors.
#[derive(Debug, Clone)]
pub struct Shapes {
    pub input: [u32; 4],
    pub weight: [u32; 4],
    pub bias: Option<u64>,
}

impl Shapes {
    /// How a device would run the layer that these shapes and options describe: as `sepconv tune` found best, unless a
    /// kernel is named or `no_tune` is given.
    pub fn planned(
        &self,
        options: &ConvOptions,
        device: Option<&str>,
        no_tune: bool,
        dtype: DType,
    ) -> Outcome<Planned> {
        let geometry = options.layer(self.weight, self.bias)?.geometry(self.input)?;
        let kernel = options.kernel.as_deref();
        if device.is_some_and(arguments::is_cpu) {
            check_reference(&geometry, kernel)?;
            device::check_reference_type(dtype)?;
            let whose = "the CPU reference".to_owned();
            return Ok(Planned {
                geometry,
                dtype,
                planner: None,
                program: None,
                prediction: None,
                is_tuned: false,
                whose,
            });
        }
        let (planner, adapter) = planner(device, no_tune, dtype)?;
        let layer = geometry.into();
        let (choice, program) = match kernel {
            Some(kernel) => {
                let choice = Choice::new(kernels::by_name(kernel)?, 0);
                (choice, planner.plan_with(&layer, choice)?)
            }
            None => planner.planned(&layer)?,
        };
        let prediction = planner.predicted(&layer, choice).map(|seconds| (planner.target().gpu().name, 1e6 * seconds));
        let kept = planner.kept(&layer).filter(|_| kernel.is_none());
        let is_tuned = kept.is_some_and(|choice| choice.kernel.name == program.kernel);
        let whose = whose(adapter);
        Ok(Planned { geometry, dtype, planner: Some(planner), program: Some(program), prediction, is_tuned, whose })
    }
}

/// A layer and how it would run.
pub struct Planned {
    geometry: Geometry,
    /// What its tensors hold.
    dtype: DType,
    /// What planned it; none for the reference.
    planner: Option<Planner>,
    /// None for the reference, which has no kernels.
    pub program: Option<Program>,
    /// The GPU of the model that the device is taken for, and how many microseconds the model predicts; none in software.
    prediction: Option<(&'static str, f64)>,
    /// Whether its kernel is the one that `sepconv tune` found on this device.
    is_tuned: bool,
    /// Whose limits it keeps to.
    whose: String,
}

impl Planned {
    /// The kernel's name, and when it is chosen.
    fn kernel(&self) -> (&str, &'static str) {
        let Some(program) = &self.program else { return ("reference", "for --device cpu") };
        let chosen = kernels::by_name(&program.kernel).map_or("", |kernel| kernel.chosen);
        (&program.kernel, if self.is_tuned { "for being the fastest that `sepconv tune` measured" } else { chosen })
    }

    fn parts(&self) -> usize {
        self.program.as_ref().map_or(1, |program| program.parts)
    }

    /// The bytes of packed weights; the reference packs none.
    fn packed_weight_bytes(&self) -> u64 {
        self.program.as_ref().map_or(0, Program::packed_weight_bytes)
    }

    /// The bytes of what is between dispatches; the reference takes none on a device.
    fn workspace_bytes(&self) -> u64 {
        self.program.as_ref().map_or(0, |program| Memory::new(program).bytes())
    }

    /// The kernels that the planner puts before the chosen one, and what each of them needs.
    fn passed_over(&self) -> Vec<(&'static str, &'static str)> {
        let (Some(program), Some(planner)) = (&self.program, &self.planner) else { return Vec::new() };
        let layer = self.geometry.into();
        let mut kernels: Vec<_> = kernels::ALL.iter().filter(|kernel| kernel.computes(&layer)).collect();
        kernels.sort_by_key(|kernel| kernel.rank);
        let before = kernels.into_iter().take_while(|kernel| kernel.name != program.kernel);
        let needs = before.map(|kernel| (kernel.name, kernel.supports(&layer, planner.target()).err()));
        needs.map(|(name, reason)| (name, reason.unwrap_or("it does not pay here"))).collect()
    }

    /// The kernel or the two that would compute a layer on the same device, and the bytes of its workspace; none if it
    /// does not keep to the limits.
    fn way(&self, layer: &Layer) -> Option<(String, u64)> {
        let Some(planner) = &self.planner else { return Some(("reference".to_owned(), 0)) };
        let program = planner.plan(layer).ok()?;
        let workspace = Memory::new(&program).bytes();
        Some((program.kernel, workspace))
    }

    /// Each different grid, with how many dispatches have it.
    fn grids(&self) -> Vec<([u32; 3], usize)> {
        let mut grids: Vec<([u32; 3], usize)> = Vec::new();
        for step in self.program.iter().flat_map(|program| &program.steps) {
            match grids.iter_mut().find(|(grid, _)| *grid == step.grid) {
                Some((_, count)) => *count += 1,
                None => grids.push((step.grid, 1)),
            }
        }
        grids
    }
}

/// What to plan for: the chosen adapter, or WebGPU's default limits where there is none.
fn target(device: Option<&str>) -> Outcome<(Target, Option<wgpu::AdapterInfo>)> {
    let adapter = match device {
        Some(name) => Some(device::named(name)?),
        None => pollster::block_on(adapters()).into_iter().next(),
    };
    Ok(match adapter {
        Some(adapter) => (Target::from(&adapter), Some(adapter.get_info())),
        None => (wgpu::Limits::default().into(), None),
    })
}

/// Whose limits a plan keeps to.
fn whose(adapter: Option<wgpu::AdapterInfo>) -> String {
    let default = || "WebGPU's default limits, without an adapter".to_owned();
    adapter.map_or_else(default, |adapter| adapter.name)
}

/// What plans for the chosen adapter, as `sepconv tune` found best unless `no_tune` is given.
fn planner(device: Option<&str>, no_tune: bool, dtype: DType) -> Outcome<(Planner, Option<wgpu::AdapterInfo>)> {
    let (mut target, adapter) = target(device)?;
    if dtype == DType::F16 && !target.shader_f16 {
        return Err(Error::NoF16 { device: whose(adapter) }.into());
    }
    target.dtype = dtype;
    let mut planner = Planner::new(target);
    if let Some(adapter) = adapter.as_ref().filter(|_| !no_tune) {
        planner = planner.with_tuning(Arc::new(cache::tuning(adapter)));
    }
    Ok((planner, adapter))
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    if let Some(shapes) = &arguments.shaders.shapes {
        if arguments.shaders.predicted {
            return predicted::run(&arguments.shaders, shapes);
        }
        return shaders::run(&arguments.shaders, shapes, arguments.tensors.dtype);
    }
    let device = arguments.device.device.as_deref();
    arguments.tuning.check(device)?;
    if let Some(model) = &arguments.model {
        if device.is_some_and(arguments::is_cpu) {
            let message = "--device is cpu; a network is planned for an adapter: see `sepconv devices`";
            return Err(Failure::Request(message.to_owned()));
        }
        let (planner, adapter) = planner(device, arguments.tuning.no_tune, arguments.tensors.dtype)?;
        let rounding = arguments.options.rounding;
        return network::run(model, &arguments.input, (&planner, rounding), whose(adapter), arguments.json);
    }
    let (no_tune, dtype) = (arguments.tuning.no_tune, arguments.tensors.dtype);
    let planned = arguments.shapes()?.planned(&arguments.options, device, no_tune, dtype)?;
    let separable = Separable::of(&planned);
    if arguments.json {
        return print(&format!("{:#}", to_json(&planned, separable.as_ref())));
    }
    print(&to_text(&planned, separable.as_ref()))
}

impl Arguments {
    /// The shapes of one layer's tensors.
    fn shapes(&self) -> Outcome<Shapes> {
        let refused = |what: String| Failure::Request(format!("--input {what}; one layer has one input, N,C,H,W"));
        let [InputShape { name, shape }] = &self.input[..] else {
            return Err(refused("is given more than once".to_owned()));
        };
        if let Some(name) = name {
            return Err(refused(format!("names {name:?}")));
        }
        let count = shape.len();
        let input = shape.clone().try_into().map_err(|_| refused(format!("has {count} sizes")))?;
        Ok(Shapes { input, weight: self.weight.unwrap_or_default(), bias: self.bias })
    }
}

/// The separable layer that could stand in a normal one's place.
struct Separable {
    depthwise: Geometry,
    pointwise: Geometry,
    /// See [`Planned::way`].
    way: Option<(String, u64)>,
}

impl Separable {
    /// None for a layer that is depthwise or pointwise itself: there is nothing to separate.
    fn of(planned: &Planned) -> Option<Self> {
        let normal = &planned.geometry;
        if normal.groups != 1 || normal.kernel_size == 1.into() {
            return None;
        }
        let sides = normal.padding;
        let layer = SeparableConv2d::new(normal.in_channels, normal.out_channels, normal.kernel_size)
            .stride(normal.stride)
            .dilation(normal.dilation)
            .padding([sides.top, sides.left, sides.bottom, sides.right])
            .padding_mode(normal.padding_mode)
            .bias(normal.bias)
            .activation(normal.activation);
        let parts = layer.geometry(normal.input_shape()).ok()?;
        let way = planned.way(&parts.into());
        let (depthwise, pointwise) = parts;
        Some(Self { depthwise, pointwise, way })
    }

    fn parameters(&self) -> u64 {
        self.depthwise.parameters() + self.pointwise.parameters()
    }

    fn multiply_adds(&self) -> u64 {
        self.depthwise.multiply_adds() + self.pointwise.multiply_adds()
    }

    /// What writing and reading the tensor between the parts moves.
    fn between_bytes(&self, dtype: DType) -> u64 {
        2 * dtype.bytes() * self.depthwise.output_shape().into_iter().map(u64::from).product::<u64>()
    }

    fn bytes(&self, dtype: DType) -> u64 {
        bytes(&self.depthwise, dtype).saturating_add(bytes(&self.pointwise, dtype))
    }
}

/// The bytes that a layer with tensors of this type must move.
fn bytes(geometry: &Geometry, dtype: DType) -> u64 {
    geometry.bytes() / DType::F32.bytes() * dtype.bytes()
}

/// How much of a normal layer's number a separable layer needs.
fn compared(normal: u64, separable: u64) -> String {
    // Both are 0 for a batch of 0.
    if normal == separable {
        return "as many".to_owned();
    }
    let times = normal as f64 / separable as f64;
    if times < 1.0 { format!("{:.2} times more", 1.0 / times) } else { format!("{times:.2} times fewer") }
}

fn to_text(planned: &Planned, separable: Option<&Separable>) -> String {
    let (g, whose, dtype) = (&planned.geometry, &planned.whose, planned.dtype);
    let own_bytes = bytes(g, dtype);
    let intensity = 2.0 * g.multiply_adds() as f64 / own_bytes as f64;
    let (kernel, chosen) = planned.kernel();
    let grids = planned.grids().into_iter().map(|([x, y, z], count)| format!("{count} of {x} x {y} x {z} workgroups"));
    let grids = grids.collect::<Vec<_>>().join(", ");
    let row = |name: &str, text: String| [name.to_owned(), text];
    let mut rows = vec![
        row("output", format!("{:?}", g.output_shape())),
        row("parameters", g.parameters().to_string()),
        row("multiply-adds", g.multiply_adds().to_string()),
        row("bytes", format!("{own_bytes} (input, parameters and output once each)")),
        row("arithmetic intensity", format!("{intensity:.2} FLOP/byte")),
        row("kernel", format!("{kernel} ({chosen})")),
    ];
    rows.extend(planned.passed_over().into_iter().map(|(name, needs)| row(&format!("  not {name}"), needs.to_owned())));
    rows.extend([
        row("parts", planned.parts().to_string()),
        row("dispatches", if grids.is_empty() { "none".to_owned() } else { grids }),
        row("packed weight", format!("{} bytes, made once", planned.packed_weight_bytes())),
        row("workspace", format!("{} bytes", planned.workspace_bytes())),
        row("limits", whose.clone()),
    ]);
    rows.extend(planned.prediction.map(|(gpu, microseconds)| {
        row("predicted", format!("{microseconds:.1} us on a GPU like the {gpu}, by a model: no measurement"))
    }));
    if let Some(separable) = separable {
        let (parameters, multiply_adds) = (separable.parameters(), separable.multiply_adds());
        let (kernel, workspace) = separable.way.clone().unwrap_or_else(|| ("none within these limits".to_owned(), 0));
        let bytes = format!(
            "{} ({}), of which {} are the tensor between the parts, if two dispatches write and read it",
            separable.bytes(dtype),
            compared(own_bytes, separable.bytes(dtype)),
            separable.between_bytes(dtype)
        );
        rows.extend([
            row("", String::new()),
            row("separable instead", String::new()),
            row("  depthwise weight", format!("{:?}", separable.depthwise.weight_shape())),
            row("  pointwise weight", format!("{:?}", separable.pointwise.weight_shape())),
            row("  parameters", format!("{parameters} ({})", compared(g.parameters(), parameters))),
            row("  multiply-adds", format!("{multiply_adds} ({})", compared(g.multiply_adds(), multiply_adds))),
            row("  bytes", bytes),
            row("  kernel", kernel),
            row("  workspace", format!("{workspace} bytes")),
        ]);
    }
    list(&rows)
}

fn to_json(planned: &Planned, separable: Option<&Separable>) -> Value {
    let (g, dtype) = (&planned.geometry, planned.dtype);
    let (kernel, chosen) = planned.kernel();
    let own_bytes = bytes(g, dtype);
    let sides = g.padding;
    json!({
        "input_shape": g.input_shape(),
        "weight_shape": g.weight_shape(),
        "output_shape": g.output_shape(),
        "padding": [sides.top, sides.left, sides.bottom, sides.right],
        "parameters": g.parameters(),
        "multiply_adds": g.multiply_adds(),
        "dtype": dtype.to_string(),
        "bytes": own_bytes,
        "arithmetic_intensity": 2.0 * g.multiply_adds() as f64 / own_bytes as f64,
        "kernel": kernel,
        "kernel_chosen": chosen,
        "passed_over": planned.passed_over().iter()
            .map(|(name, needs)| json!({ "kernel": name, "needs": needs })).collect::<Vec<_>>(),
        "parts": planned.parts(),
        "dispatches": planned.grids().iter()
            .map(|(workgroups, count)| json!({ "workgroups": workgroups, "count": count })).collect::<Vec<_>>(),
        "packed_weight_bytes": planned.packed_weight_bytes(),
        "workspace_bytes": planned.workspace_bytes(),
        "limits": planned.whose,
        "prediction": planned.prediction
            .map(|(gpu, microseconds)| json!({ "gpu": gpu, "microseconds": microseconds })),
        "separable": separable.map(|separable| json!({
            "depthwise_weight_shape": separable.depthwise.weight_shape(),
            "pointwise_weight_shape": separable.pointwise.weight_shape(),
            "parameters": separable.parameters(),
            "multiply_adds": separable.multiply_adds(),
            "bytes": separable.bytes(dtype),
            "kernel": separable.way.as_ref().map(|(kernel, _)| kernel),
            "workspace_bytes": separable.way.as_ref().map(|(_, bytes)| bytes),
        })),
    })
}
