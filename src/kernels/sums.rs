//! Sums that are cut to parts. Each part adds to what the one before has stored: that is `f32`, whatever tensors hold.

use crate::crop;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::program::{Kind, Program, Slice, Step};
use crate::target::Target;

/// Has the parts of each cut sum store `f32` in a workspace, and rounds that to where it belongs behind the last part.
///
/// # Errors
/// [`Error::Limit`] for sums that do not fit in a binding; [`Error::TooManyDispatches`].
pub(super) fn keep(program: &mut Program, target: &Target) -> Result<()> {
    let is_rounded = |step: &&Step| program.buffers[output(step).buffer].dtype != DType::F32;
    let cut: Vec<Slice> = program.steps.iter().filter(|step| is_cut(step) && is_rounded(step)).map(output).collect();
    let Some(most) = cut.iter().map(|slice| slice.length).max() else { return Ok(()) };
    let maximum = target.binding_values();
    if most > maximum {
        let limit = "max_storage_buffer_binding_size";
        return Err(Error::Limit { argument: "output sums", bytes: 4 * most, limit, maximum: 4 * maximum });
    }
    let buffer = program.sums(Kind::Workspace, "sums", most)?;
    let steps = std::mem::take(&mut program.steps);
    // The parts of one sum follow each other.
    for of_one in steps.chunk_by(|a, b| output(a) == output(b)) {
        let rounded = output(&of_one[0]);
        if !cut.contains(&rounded) {
            program.steps.extend_from_slice(of_one);
            continue;
        }
        let sums = Slice { buffer, start: 0, length: rounded.length };
        for step in of_one {
            let mut step = step.clone();
            step.bindings.iter_mut().filter(|binding| binding.writes).for_each(|binding| binding.slice = sums);
            step.elements = program.elements(&step);
            program.steps.push(step);
        }
        let (step, grid) = crop::copy(sums, rounded)?;
        program.dispatch(step, grid, &target.limits)?;
    }
    Ok(())
}

/// Whether another part goes on with a step's sums.
fn is_cut(step: &Step) -> bool {
    step.constants.contains(&("FINISHES", 0))
}

/// What a step writes.
fn output(step: &Step) -> Slice {
    step.bindings.iter().find(|binding| binding.writes).expect("every step writes something").slice
}
