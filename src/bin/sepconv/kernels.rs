//! `sepconv kernels`: each kernel, when it is chosen, what bounds it; and its source.

use comfy_table::{Table, presets};
use sepconv::{Error, kernels, specialise};

use crate::arguments::{self, ConvOptions, DeviceOption};
use crate::failure::{Failure, Outcome};
use crate::output::print;
use crate::plan::Shapes;

/// What `kernels` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv kernels
  sepconv kernels depthwise --wgsl --input 1,8,32,32 --weight 8,1,3,3 --groups 8 --padding 1")]
pub struct Arguments {
    /// The kernel to show [default: a table of all].
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print its source: as it stands, or specialised for the shapes and options that follow.
    #[arg(long, requires = "name")]
    wgsl: bool,
    /// The input's shape.
    #[arg(long, value_name = "N,C,H,W", value_parser = arguments::shape, requires_all = ["wgsl", "weight"], allow_hyphen_values = true)]
    input: Option<[u32; 4]>,
    /// The weight's shape.
    #[arg(long, value_name = "O,I,KH,KW", value_parser = arguments::shape, requires = "input", allow_hyphen_values = true)]
    weight: Option<[u32; 4]>,
    /// The bias's length, if there is one.
    #[arg(long, value_name = "LEN", value_parser = arguments::length, requires = "input", allow_hyphen_values = true)]
    bias: Option<u64>,
    #[command(flatten)]
    options: ConvOptions,
    #[command(flatten)]
    device: DeviceOption,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let Some(name) = &arguments.name else {
        return print(&table());
    };
    let found = kernels::descriptions().find(|kernel| kernel.name == name);
    let known = || kernels::descriptions().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
    let kernel = found.ok_or_else(|| Error::UnknownKernel { name: name.clone(), known: known() })?;
    if !arguments.wgsl {
        let lines = [
            format!("{}: {}", kernel.name, kernel.summary),
            format!("chosen    {}", kernel.chosen),
            format!("bound by  {}", kernel.bound_by),
        ];
        return print(&lines.join("\n"));
    }
    let (Some(input), Some(weight)) = (arguments.input, arguments.weight) else {
        return print(&kernel.wgsl.trim_end());
    };
    if kernels::by_name(name).is_err() {
        let message = format!("--input goes with a kernel of one convolution; {name} computes a separable layer");
        return Err(Failure::Request(message));
    }
    if arguments.options.kernel.as_ref().is_some_and(|forced| forced != name) {
        return Err(Failure::Request(format!("--kernel contradicts NAME, which is {name}")));
    }
    let options = ConvOptions { kernel: Some(name.clone()), ..arguments.options.clone() };
    let shapes = Shapes { input, weight, bias: arguments.bias };
    // With the name of a kernel, the reference is refused: there is a schedule.
    let planned = shapes.planned(&options, arguments.device.device.as_deref(), true)?;
    let Some(schedule) = planned.schedule else { return Ok(()) };
    print(&specialise(kernel.wgsl, &schedule.parts[0].variant.constants).trim_end())
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(["kernel", "computes", "chosen", "bound by"]);
    for kernel in kernels::descriptions() {
        table.add_row([kernel.name, kernel.summary, kernel.chosen, kernel.bound_by]);
    }
    table
}
