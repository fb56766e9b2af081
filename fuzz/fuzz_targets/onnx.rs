//! Any bytes as an ONNX file: nothing may panic, hang, or take memory that the file has no bytes for.

#![no_main]

#[path = "../../tests/common/compute.rs"]
mod compute;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compute::compute(bytes));
