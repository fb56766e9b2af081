//! `sepconv kernels`: each kernel, when it is chosen, what bounds it; and its source.

use comfy_table::Table;
use sepconv::{DType, kernels};

use crate::arguments::{self, ConvOptions, DeviceOption};
use crate::failure::{Failure, Outcome};
use crate::output::{fit, print, table};
use crate::plan::Shapes;

/// What `kernels` takes.
#[derive(Debug, clap::Args)]
#[command(mut_group("LayerOptions", |group| group.requires("input")))]
#[command(mut_arg("groups", |option| option.requires("input")))]
#[command(mut_arg("rounding", |option| option.requires("input")))]
#[command(mut_arg("kernel", |option| option.requires("input")))]
#[command(mut_group("DeviceOption", |group| group.requires("input")))]
#[command(after_help = "Examples:
  sepconv kernels
  sepconv kernels depthwise --wgsl --input 1,8,32,32 --weight 8,1,3,3 --groups 8 --padding 1")]
pub struct Arguments {
    /// The kernel to show [default: a table of all].
    #[arg(value_name = "NAME", value_parser = arguments::kernel_name)]
    name: Option<String>,
    /// Print its source: as it stands, or specialised for the shapes and options that follow.
    #[arg(long, requires = "name")]
    wgsl: bool,
    /// The input's shape, for a kernel of one convolution.
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
        return print(&all());
    };
    let kernel = kernels::by_name(name)?;
    if !arguments.wgsl {
        let lines = [
            format!("{}: {}", kernel.name, kernel.summary),
            format!("chosen    {}", kernel.chosen),
            format!("bound by  {}", kernel.bound_by),
        ];
        return print(&lines.join("\n"));
    }
    let wgsl = kernel.wgsl();
    if wgsl.is_empty() {
        let message = format!("--wgsl: {name} has no shader of its own; it runs those of other kernels");
        return Err(Failure::Request(message));
    }
    let (Some(input), Some(weight)) = (arguments.input, arguments.weight) else {
        return print(&wgsl.trim_end());
    };
    if arguments.options.kernel.as_ref().is_some_and(|forced| forced != name) {
        return Err(Failure::Request(format!("--kernel contradicts NAME, which is {name}")));
    }
    let options = ConvOptions { kernel: Some(name.clone()), ..arguments.options.clone() };
    let shapes = Shapes { input, weight, bias: arguments.bias };
    let planned = shapes.planned(&options, arguments.device.device.as_deref(), true, DType::F32)?;
    let mut steps = planned.program.iter().flat_map(|program| &program.steps);
    let none =
        || Failure::Request("--input has a batch of 0, for which nothing runs; it must be at least 1".to_owned());
    let step = steps.find(|step| step.shader.name == name).ok_or_else(none)?;
    print(&step.wgsl().trim_end())
}

fn all() -> Table {
    let mut table = table(&["kernel", "computes", "chosen", "bound by"], []);
    fit(&mut table);
    for kernel in kernels::ALL {
        table.add_row([kernel.name, kernel.summary, kernel.chosen, kernel.bound_by]);
    }
    table
}
