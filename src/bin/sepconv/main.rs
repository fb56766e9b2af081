//! `sepconv`: normal, grouped, depthwise, pointwise and separable convolution from the command line.

mod compare;
mod device;
mod failure;
mod picture;

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
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = match command.subcommand {
        None => compare::run(&command.compare),
        Some(Subcommands::Compare(arguments)) => compare::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.status())
        }
    }
}
