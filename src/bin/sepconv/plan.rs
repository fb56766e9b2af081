//! `sepconv plan`: what a layer costs and how it would run, without its tensors.

use sepconv::kernels::{self, Target};
use sepconv::{Geometry, Schedule, SeparableConv2d, adapters};
use serde_json::{Value, json};

use crate::arguments::{self, ConvOptions, DeviceOption};
use crate::device;
use crate::failure::Outcome;
use crate::output::print;

/// What `plan` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  sepconv plan --input 1,3,64,64 --weight 4,3,3,3 --bias 4 --padding 1

Exit status 2, with one line that says why, where `sepconv conv` would refuse the same shapes.")]
pub struct Arguments {
    #[command(flatten)]
    shapes: Shapes,
    #[command(flatten)]
    options: ConvOptions,
    #[command(flatten)]
    device: DeviceOption,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The shapes of a layer's tensors.
#[derive(Debug, Clone, clap::Args)]
pub struct Shapes {
    /// The input's shape.
    #[arg(long, value_name = "N,C,H,W", value_parser = arguments::shape, allow_hyphen_values = true)]
    pub input: [u32; 4],
    /// The weight's shape: `out_channels`, `in_channels` / groups, height, width.
    #[arg(long, value_name = "O,I,KH,KW", value_parser = arguments::shape, allow_hyphen_values = true)]
    pub weight: [u32; 4],
    /// The bias's length, if there is one.
    #[arg(long, value_name = "LEN", value_parser = arguments::length, allow_hyphen_values = true)]
    pub bias: Option<u64>,
}

impl Shapes {
    /// The schedule of the layer that these shapes and options describe, and whose limits it keeps to.
    pub fn schedule(&self, options: &ConvOptions, device: Option<&str>) -> Outcome<(Schedule, String)> {
        let geometry = options.layer(self.weight, self.bias)?.geometry(self.input)?;
        let (target, whose) = target(device)?;
        Ok((Schedule::new(&geometry, &target, options.kernel.as_deref())?, whose))
    }
}

/// What to plan for: the chosen adapter, or WebGPU's default limits where there is none.
fn target(device: Option<&str>) -> Outcome<(Target, String)> {
    let adapter = match device {
        Some(name) if name.eq_ignore_ascii_case("cpu") => None,
        Some(name) => Some(device::named(name)?),
        None => pollster::block_on(adapters()).into_iter().next(),
    };
    Ok(match adapter {
        Some(adapter) => {
            let info = adapter.get_info();
            (Target { limits: adapter.limits(), software: info.device_type == wgpu::DeviceType::Cpu }, info.name)
        }
        None => (wgpu::Limits::default().into(), "WebGPU's default limits, without an adapter".to_owned()),
    })
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let (schedule, whose) = arguments.shapes.schedule(&arguments.options, arguments.device.device.as_deref())?;
    let separable = Separable::of(&schedule.geometry);
    if arguments.json {
        return print(&format!("{:#}", to_json(&schedule, &whose, separable.as_ref())));
    }
    print(&to_text(&schedule, &whose, separable.as_ref()))
}

/// The separable layer that could stand in a normal one's place.
struct Separable {
    depthwise: Geometry,
    pointwise: Geometry,
}

impl Separable {
    /// None for a layer that is depthwise or pointwise itself: there is nothing to separate.
    fn of(normal: &Geometry) -> Option<Self> {
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
        let (depthwise, pointwise) = layer.geometry(normal.input_shape()).ok()?;
        Some(Self { depthwise, pointwise })
    }

    fn parameters(&self) -> u64 {
        self.depthwise.parameters() + self.pointwise.parameters()
    }

    fn multiply_adds(&self) -> u64 {
        self.depthwise.multiply_adds() + self.pointwise.multiply_adds()
    }

    fn bytes(&self) -> u64 {
        self.depthwise.bytes() + self.pointwise.bytes()
    }
}

/// The kernels before the chosen one, and what each of them needs.
fn passed_over(schedule: &Schedule) -> Vec<(&'static str, &'static str)> {
    let before = kernels::ALL.into_iter().take_while(|kernel| kernel.name != schedule.kernel.name);
    before.filter_map(|kernel| Some((kernel.name, (kernel.supports)(&schedule.geometry).err()?))).collect()
}

/// Each different grid of a schedule, with how many dispatches have it.
fn grids(schedule: &Schedule) -> Vec<([u32; 3], usize)> {
    let mut grids: Vec<([u32; 3], usize)> = Vec::new();
    for dispatch in schedule.parts.iter().flat_map(|part| &part.dispatches) {
        match grids.iter_mut().find(|(grid, _)| *grid == dispatch.workgroups) {
            Some((_, count)) => *count += 1,
            None => grids.push((dispatch.workgroups, 1)),
        }
    }
    grids
}

fn to_text(schedule: &Schedule, whose: &str, separable: Option<&Separable>) -> String {
    let g = &schedule.geometry;
    let passed_over = passed_over(schedule).into_iter().map(|(name, needs)| format!("not {name}: {needs}"));
    let reasons: Vec<String> = [schedule.kernel.chosen.to_owned()].into_iter().chain(passed_over).collect();
    let grids = grids(schedule);
    let grids = grids.iter().map(|([x, y, z], count)| format!("{count} of {x} x {y} x {z} workgroups"));
    let mut lines = vec![
        format!("output                {:?}", g.output_shape()),
        format!("parameters            {}", g.parameters()),
        format!("multiply-adds         {}", g.multiply_adds()),
        format!("bytes                 {} (input, parameters and output once each)", g.bytes()),
        format!("arithmetic intensity  {:.2} FLOP/byte", g.arithmetic_intensity()),
        format!("kernel                {} ({})", schedule.kernel.name, reasons.join("; ")),
        format!("parts                 {}", schedule.parts.len()),
        format!("dispatches            {}", grids.collect::<Vec<_>>().join(", ")),
        "workspace             0 bytes".to_owned(),
        format!("limits                {whose}"),
    ];
    if let Some(separable) = separable {
        let times = |normal: u64, separable: u64| normal as f64 / separable as f64;
        lines.extend([
            String::new(),
            "separable instead".to_owned(),
            format!(
                "  parameters          {} ({:.2} times fewer)",
                separable.parameters(),
                times(g.parameters(), separable.parameters())
            ),
            format!(
                "  multiply-adds       {} ({:.2} times fewer)",
                separable.multiply_adds(),
                times(g.multiply_adds(), separable.multiply_adds())
            ),
            format!(
                "  bytes               {}, of which {} are the tensor between the parts, written and read",
                separable.bytes(),
                8 * separable.depthwise.output_shape().iter().map(|&size| u64::from(size)).product::<u64>()
            ),
        ]);
    }
    lines.join("\n")
}

fn to_json(schedule: &Schedule, whose: &str, separable: Option<&Separable>) -> Value {
    let g = &schedule.geometry;
    let sides = g.padding;
    json!({
        "input_shape": g.input_shape(),
        "weight_shape": g.weight_shape(),
        "output_shape": g.output_shape(),
        "padding": [sides.top, sides.left, sides.bottom, sides.right],
        "parameters": g.parameters(),
        "multiply_adds": g.multiply_adds(),
        "bytes": g.bytes(),
        "arithmetic_intensity": g.arithmetic_intensity(),
        "kernel": schedule.kernel.name,
        "kernel_chosen": schedule.kernel.chosen,
        "passed_over": passed_over(schedule).iter()
            .map(|(name, needs)| json!({ "kernel": name, "needs": needs })).collect::<Vec<_>>(),
        "parts": schedule.parts.len(),
        "dispatches": grids(schedule).iter()
            .map(|(workgroups, count)| json!({ "workgroups": workgroups, "count": count })).collect::<Vec<_>>(),
        "workspace_bytes": 0,
        "limits": whose,
        "separable": separable.map(|separable| json!({
            "parameters": separable.parameters(),
            "multiply_adds": separable.multiply_adds(),
            "bytes": separable.bytes(),
        })),
    })
}
