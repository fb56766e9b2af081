//! The memory plan of a program: workspaces whose lifetimes do not meet share memory.
//!
//! Greedy by size: Pisarchyk and Lee, *Efficient memory management for deep neural net inference*, 2020. There is one
//! more rule: WebGPU does not let a dispatch read and write one buffer, so what a step reads and what it writes lie in
//! different arenas, each a buffer of its own.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::program::{Kind, Program};

/// Where a program's workspaces lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The bytes of each arena.
    pub arenas: Vec<u64>,
    /// For each of the program's buffers that is a workspace: its arena, and where it starts there, in bytes.
    pub places: Vec<Option<(usize, u64)>>,
}

/// Workspaces start at a multiple of this many bytes: on every device a binding may start there.
const ALIGNMENT: u64 = 256;

/// A workspace: where it lies and when it is in use.
struct Tenant {
    buffer: usize,
    arena: usize,
    start: u64,
    end: u64,
    /// From the step that first binds it to the last.
    lifetime: RangeInclusive<usize>,
}

impl Memory {
    /// Gives every workspace a place.
    #[must_use]
    pub fn new(program: &Program) -> Self {
        let mut plan = Self { arenas: Vec::new(), places: vec![None; program.buffers.len()] };
        let workspaces = program.buffers.iter().enumerate().filter(|(_, buffer)| buffer.kind == Kind::Workspace);
        let mut sizes: Vec<(usize, u64)> = workspaces.map(|(index, buffer)| (index, buffer.bytes())).collect();
        sizes.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        let uses = uses(program);
        let mut tenants: Vec<Tenant> = Vec::new();
        for (buffer, bytes) in sizes {
            let Some(lifetime) = uses[buffer].lifetime.clone() else { continue };
            let allowed = |arena: &usize| {
                let mut neighbours = tenants.iter().filter(|tenant| tenant.arena == *arena);
                neighbours.all(|tenant| !uses[buffer].opposites.contains(&tenant.buffer))
            };
            let placed = (0..plan.arenas.len()).filter(allowed).map(|arena| {
                let start = lowest_gap(&tenants, arena, &lifetime, bytes);
                ((start + bytes).saturating_sub(plan.arenas[arena]), arena, start)
            });
            // The arena that grows the least; a new one if none is allowed.
            let (_, arena, start) = placed.min().unwrap_or((bytes, plan.arenas.len(), 0));
            if arena == plan.arenas.len() {
                plan.arenas.push(0);
            }
            plan.arenas[arena] = plan.arenas[arena].max(start + bytes);
            plan.places[buffer] = Some((arena, start));
            tenants.push(Tenant { buffer, arena, start, end: start + bytes, lifetime });
        }
        plan
    }

    /// The bytes of all arenas.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.arenas.iter().sum()
    }
}

/// How a program uses one of its buffers.
#[derive(Clone, Default)]
struct Use {
    /// From the step that first binds it to the last; none if no step does.
    lifetime: Option<RangeInclusive<usize>>,
    /// The buffers that a step reads where it writes this one, or writes where it reads this one.
    opposites: BTreeSet<usize>,
}

fn uses(program: &Program) -> Vec<Use> {
    let mut uses = vec![Use::default(); program.buffers.len()];
    for (index, step) in program.steps.iter().enumerate() {
        for binding in &step.bindings {
            let own = &mut uses[binding.slice.buffer];
            let first = own.lifetime.as_ref().map_or(index, |lifetime| *lifetime.start());
            own.lifetime = Some(first..=index);
            let opposites = step.bindings.iter().filter(|other| other.writes != binding.writes);
            own.opposites.extend(opposites.map(|other| other.slice.buffer));
        }
    }
    uses
}

/// The lowest place in an arena where this many bytes are free during a lifetime.
fn lowest_gap(tenants: &[Tenant], arena: usize, lifetime: &RangeInclusive<usize>, bytes: u64) -> u64 {
    let meets = |tenant: &&Tenant| {
        tenant.arena == arena && tenant.lifetime.start() <= lifetime.end() && lifetime.start() <= tenant.lifetime.end()
    };
    let mut taken: Vec<(u64, u64)> = tenants.iter().filter(meets).map(|tenant| (tenant.start, tenant.end)).collect();
    taken.sort_unstable();
    let mut start = 0;
    for (from, to) in taken {
        if start + bytes <= from {
            break;
        }
        start = start.max(to.next_multiple_of(ALIGNMENT));
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::program::{Binding, OFFSETS, Step};
    use crate::shader::Shader;

    /// A chain of steps: each reads a tensor and writes the next. The tensors have these lengths.
    fn chain(lengths: &[u32]) -> Program {
        let mut program = Program::new("chain", DType::F32);
        let last = lengths.len() - 1;
        for (index, &length) in lengths.iter().enumerate() {
            let kind = if index == 0 {
                Kind::Input
            } else if index == last {
                Kind::Output
            } else {
                Kind::Workspace
            };
            program.buffer(kind, "tensor", [1, 1, 1, length]);
        }
        for index in 0..last {
            let bindings = vec![Binding::read(1, program.whole(index)), Binding::write(5, program.whole(index + 1))];
            let shader = Shader { name: "none", own: "", parts: &[] };
            let step = Step::new(shader, "main", Vec::new(), vec![0; 3 + OFFSETS], bindings);
            program.dispatch(step, [1; 3], &wgpu::Limits::default()).unwrap();
        }
        program
    }

    #[test]
    fn a_chain_alternates_between_two_arenas() {
        let program = chain(&[10, 100, 200, 300, 400, 500, 10]);
        let memory = Memory::new(&program);
        assert_eq!(memory.arenas, [4 * 500, 4 * 400]);
        let arenas: Vec<_> = memory.places.iter().flatten().map(|(arena, start)| (*arena, *start)).collect();
        assert_eq!(arenas, [(0, 0), (1, 0), (0, 0), (1, 0), (0, 0)]);
        assert_eq!(Memory::new(&chain(&[10, 10])).bytes(), 0);
    }

    #[test]
    fn what_is_still_needed_keeps_its_memory() {
        let mut program = chain(&[10, 100, 200, 300, 10]);
        // A residual: the last step also reads what the first one wrote.
        let first = program.whole(1);
        program.steps[3].bindings.push(Binding::read(4, first));
        let memory = Memory::new(&program);
        let places: Vec<_> = memory.places.iter().flatten().collect();
        let stretch = |index: usize| places[index].1..places[index].1 + 4 * program.buffers[index + 1].length();
        for (a, b) in [(0, 1), (0, 2)] {
            let apart =
                places[a].0 != places[b].0 || stretch(a).end <= stretch(b).start || stretch(b).end <= stretch(a).start;
            assert!(apart, "{memory:?}");
        }
        assert_ne!(places[1].0, places[2].0, "read and written by one step");
    }
}
