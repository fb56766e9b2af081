//! A layer's program, run and counted.

use std::collections::BTreeMap;

use sepconv::unstable::{Given, Kind, Program, Step};

use super::code::Code;
use super::counts::Counts;
use super::interpreter::run_workgroup;
use super::memory::{Memory, View};
use crate::Outcome;

/// What a program made, and what its steps asked for.
#[derive(Debug)]
pub struct Run {
    /// The layer's output.
    pub output: Vec<f32>,
    /// Of each step that runs.
    pub steps: Vec<Counts>,
    /// Of each step that packs weights.
    pub prepare: Vec<Counts>,
}

/// Runs all workgroups of all steps of a program, with the values of each tensor that its layer is given.
///
/// # Errors
/// What cannot be interpreted, or what a shader does wrong, with the shader's name.
///
/// # Panics
/// If a tensor is missing.
pub fn run(program: &Program, tensors: &[(Given, Vec<f32>)]) -> Outcome<Run> {
    let mut memory = Memory::default();
    for buffer in &program.buffers {
        let words = if matches!(buffer.kind, Kind::Parameter | Kind::Input) {
            // A layer's inputs belong to no part of it.
            let is_it = |(given, _): &&(Given, _)| {
                given.name == buffer.name.name && (!given.is_parameter || given.part == buffer.name.part)
            };
            let (_, values) = tensors.iter().find(is_it).expect("the values of each tensor that the layer is given");
            values.iter().map(|value| value.to_bits()).collect()
        } else {
            let length = usize::try_from(buffer.length()).expect("a small tensor");
            vec![f32::NAN.to_bits(); length]
        };
        memory.buffers.push(words);
    }
    let mut run_all =
        |steps: &[Step]| steps.iter().map(|step| run_step(step, &mut memory)).collect::<Outcome<Vec<_>>>();
    let (prepare, steps) = (run_all(&program.prepare)?, run_all(&program.steps)?);
    let output = program.find(Kind::Output, "output").ok_or("the program has no output")?;
    let output = memory.buffers[output].iter().map(|&bits| f32::from_bits(bits)).collect();
    Ok(Run { output, steps, prepare })
}

fn run_step(step: &Step, memory: &mut Memory) -> Outcome<Counts> {
    let within = |error| format!("{}: {error}", step.shader.name);
    let code = Code::new(&step.wgsl()).map_err(within)?;
    memory.uniform.clone_from(&step.uniform);
    memory.views = BTreeMap::new();
    for binding in &step.bindings {
        if !binding.slice.start.is_multiple_of(binding.alignment) {
            // Binding a program to buffers adds such copies; no layer that is counted has them.
            return Err(within(format!("a copy of what is bound at {} is not interpreted", binding.number)));
        }
        let word = |value: u64| u32::try_from(value).expect("a small tensor");
        let (start, length) = (word(binding.slice.start), word(binding.slice.length));
        let view = View { buffer: binding.slice.buffer, start, length, writes: binding.writes };
        memory.views.insert(binding.number, view);
        // Where the tensor starts in its binding: before it, if what is bound is a later stretch.
        memory.uniform[2 + binding.number as usize] = 0_u32.wrapping_sub(word(binding.skipped));
    }
    let mut counts = Counts::default();
    for z in 0..step.grid[2] {
        for y in 0..step.grid[1] {
            for x in 0..step.grid[0] {
                run_workgroup(&code, step.entry_point, [x, y, z], memory, &mut counts).map_err(within)?;
            }
        }
    }
    Ok(counts)
}
