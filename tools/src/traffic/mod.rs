//! Programs run on the CPU, and their memory traffic counted.
//!
//! A shader's naga IR is interpreted, all invocations of a workgroup in step: each statement runs for the invocations that
//! are at it, before the next one does. That is how a GPU runs a subgroup, so what a subgroup of 32 asks of memory at a time
//! is seen as it happens. Whether the interpreter is right, the layers' definitions in `f64` say: see `tests/right.rs`.
//!
//! What is counted is the shader as it is written: a compiler may move, share or drop operations, and a cache may serve what
//! was asked for before. Banks and sectors are those of NVIDIA's GPUs; vectors of four go to the banks for 8 invocations at a
//! time.
//!
//! Not interpreted: subgroup operations, integers of 64 bits, and `f16`. The kernels for software devices need the first two.

mod arithmetic;
mod code;
mod counts;
mod expression;
mod interpreter;
mod mask;
mod memory;
mod program;

pub use code::Code;
pub use counts::{Access, Banks, Counts, Operations, Shared, Traffic};
pub use interpreter::run_workgroup;
pub use memory::{Memory, View};
pub use program::{Run, run};

/// How many invocations a subgroup has.
pub const SUBGROUP: usize = 32;
