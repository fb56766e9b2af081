//! `sepconv`: normal, grouped, depthwise, pointwise and separable convolution from the command line.

mod arguments;
mod bench;
mod cache;
mod compare;
mod compute;
mod conv;
mod device;
mod devices;
mod failure;
mod files;
mod kernels;
mod networks;
mod npy;
mod on_device;
mod output;
mod picture;
mod plan;
mod run;
mod separable;
mod separate;
mod shapes;
mod shapes_file;
mod tensors;
mod tune;
mod unfinished;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// 2-D convolution on any GPU, each result checked against a CPU reference.
///
/// Without a subcommand it runs `compare`: what a separable layer saves on this device.
///
/// Exit status: 0 done, 1 the computation failed, 2 the request was bad.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    subcommand: Option<Subcommands>,
    #[command(flatten)]
    compare: compare::Arguments,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Compare normal with separable convolution: on a photograph, and layer by layer (the default).
    Compare(compare::Arguments),
    /// Convolve the tensors of a file, or filter a picture.
    Conv(conv::Arguments),
    /// Convolve the tensors of a file with a depthwise-separable layer.
    Separable(separable::Arguments),
    /// Put separable layers in the place of a trained network's normal ones, where that saves more than it loses.
    Separate(separate::Arguments),
    /// Run a whole network from an ONNX file.
    Run(run::Arguments),
    /// Show what a layer costs and how it would run, without its tensors.
    Plan(plan::Arguments),
    /// Time layers beside what this device can do at most.
    Bench(bench::Arguments),
    /// Measure which kernels compute layers fastest on this device, and keep it for the other subcommands.
    Tune(tune::Arguments),
    /// List every adapter with the limits that matter here.
    Devices(devices::Arguments),
    /// List the kernels, or print one's source.
    Kernels(kernels::Arguments),
}

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => return refuse(&error),
    };
    let outcome = match command.subcommand {
        None => compare::run(&command.compare),
        Some(Subcommands::Compare(arguments)) => compare::run(&arguments),
        Some(Subcommands::Conv(arguments)) => conv::run(&arguments),
        Some(Subcommands::Separable(arguments)) => separable::run(&arguments),
        Some(Subcommands::Separate(arguments)) => separate::run(&arguments),
        Some(Subcommands::Run(arguments)) => run::run(&arguments),
        Some(Subcommands::Plan(arguments)) => plan::run(&arguments),
        Some(Subcommands::Bench(arguments)) => bench::run(&arguments),
        Some(Subcommands::Tune(arguments)) => tune::run(&arguments),
        Some(Subcommands::Devices(arguments)) => devices::run(&arguments),
        Some(Subcommands::Kernels(arguments)) => kernels::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&format!("error: {failure}"));
            ExitCode::from(failure.status())
        }
    }
}

/// Prints help as it is, and of an error the part that says what is wrong, in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let what = text.split("\n\n").next().unwrap_or_default();
    output::complain(what);
    ExitCode::from(2)
}
