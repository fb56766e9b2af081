//! Runs of the built command.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `sepconv` with these arguments, separated by spaces, in a folder.
pub fn sepconv(folder: &Path, arguments: &str) -> Run {
    run(folder, &arguments.split_whitespace().collect::<Vec<_>>())
}

/// Runs `sepconv` with these arguments in a folder.
pub fn run(folder: &Path, arguments: &[&str]) -> Run {
    // Not the user's own.
    run_in(Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/sepconv-cache")), folder, arguments)
}

/// Runs `sepconv` with these arguments in a folder, with a cache folder.
pub fn run_in(cache: &Path, folder: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sepconv"));
    command.current_dir(folder).args(arguments).env("SEPCONV_CACHE", cache);
    if crate::common::context().is_none() && ["conv", "separable"].contains(&arguments[0]) {
        command.args(["--device", "cpu"]);
    }
    let output = command.output().unwrap();
    Run {
        status: output.status.code().expect("an exit status, not a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Asserts that the request was refused, with one line that names `argument`, and returns that line.
    pub fn assert_refused(&self, argument: &str) -> &str {
        // A display server's client library writes such a line too, about the environment.
        let lines: Vec<_> = self.stderr.lines().filter(|line| !line.contains("XDG_RUNTIME_DIR")).collect();
        assert_eq!((self.status, lines.len()), (2, 1), "for {argument}: {self:?}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(argument), "{argument} is not named: {self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        lines[0]
    }

    pub fn assert_done(&self) -> &str {
        assert_eq!(self.status, 0, "{self:?}");
        &self.stdout
    }

    /// The lines of a run that is done, with one blank between words, however wide a list is.
    pub fn words(&self) -> String {
        let line = |line: &str| {
            let indent = &line[..line.len() - line.trim_start().len()];
            format!("{indent}{}", line.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        self.assert_done().lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The bytes of a safetensors file of these tensors.
pub fn safetensors(tensors: &[(&str, &[u32], &[f32])]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let shape = shape.iter().map(|&size| size as usize).collect();
        (*name, TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// The tensor `output` of a safetensors file: shape and values.
pub fn read_output(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor("output").unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    (view.shape().to_vec(), values)
}

/// The names and sizes of a folder's files.
pub fn files(folder: &Path) -> HashMap<String, u64> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

/// A folder with a small layer in it: `layer.safetensors`, and as npy files.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let input: Vec<f32> = (0_u8..18).map(f32::from).collect();
    let bytes = safetensors(&[
        ("input", &[1, 2, 3, 3], &input),
        ("weight", &[2, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0]),
        ("bias", &[2], &[0.0, 100.0]),
        ("depthwise.weight", &[2, 1, 1, 1], &[2.0, 3.0]),
        ("pointwise.weight", &[1, 2, 1, 1], &[1.0, 1.0]),
    ]);
    std::fs::write(folder.path().join("layer.safetensors"), bytes).unwrap();
    for (name, shape, values) in
        [("input", "(1, 2, 3, 3)", input.as_slice()), ("weight", "(2, 2, 1, 1)", &[1.0, 0.0, 0.0, 1.0])]
    {
        std::fs::write(folder.path().join(format!("{name}.npy")), npy("<f4", shape, values)).unwrap();
    }
    folder
}

pub fn npy(descr: &str, shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}
