//! What the compilers of real GPUs make of sepconv's shaders, and what these ask of memory, on a machine without a GPU.
//!
//! `sepconv plan --wgsl` writes the shaders. [`translate`] makes of them what `wgpu` gives to drivers, [`radv`] has them
//! compiled for AMD's GPUs, [`listing`] counts the instructions of loops, and [`table`] compares all of it with the table
//! that is committed. [`traffic`] runs the shaders on the CPU and counts what they read and write. [`choices`] holds the planner against what a GPU was measured to take.

pub mod choices;
pub mod listing;
pub mod plan;
pub mod radv;
pub mod table;
pub mod traffic;
pub mod translate;

/// What went wrong, in words.
pub type Outcome<T = ()> = Result<T, String>;
