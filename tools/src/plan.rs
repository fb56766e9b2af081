//! The shaders that `sepconv plan --wgsl` writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;

/// The project's folder.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The files of layers whose shaders are compiled.
pub const SHAPES: [&str; 4] =
    ["benches/shapes.json", "benches/ort-web/shapes.json", "benches/networks/shapes.json", "benches/other_layers.json"];

/// A shader as it is compiled: one text, begun at one function.
pub struct Variant {
    /// Its kernel, the function, and the constants that are not 0: what a table calls it.
    pub name: String,
    /// Where the shader begins.
    pub entry_point: String,
    /// How many invocations a workgroup has along x, y and z.
    pub workgroup: Value,
    /// Its whole text.
    pub wgsl: String,
}

/// Writes every shader, in every variant, of all [`SHAPES`] for a target and for tensors of a type to folders in this one.
///
/// # Errors
/// If the command does not run.
pub fn write(target: &str, dtype: &str, folder: &Path) -> Outcome {
    let write = |(index, shapes): (usize, &str)| plan(target, dtype, shapes, &folder.join(index.to_string()));
    SHAPES.into_iter().enumerate().try_for_each(write)
}

/// The shaders that [`write`] wrote, each once, by name.
///
/// # Errors
/// If a file is not there.
pub fn read(folder: &Path) -> Outcome<Vec<Variant>> {
    let read = |path: PathBuf| std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let mut variants = BTreeMap::new();
    for index in 0..SHAPES.len() {
        let folder = folder.join(index.to_string());
        let steps: Value =
            serde_json::from_str(&read(folder.join("index.json"))?).map_err(|error| error.to_string())?;
        for step in steps.as_array().ok_or("index.json has no array")? {
            let text = |key: &str| step[key].as_str().ok_or_else(|| format!("index.json: {key} is missing in {step}"));
            let name = name(text("kernel")?, text("entry")?, &step["constants"]);
            if !variants.contains_key(&name) {
                let (entry_point, wgsl) = (text("entry")?.to_owned(), read(folder.join(text("file")?))?);
                let workgroup = step["workgroup"].clone();
                variants.insert(name.clone(), Variant { name, entry_point, workgroup, wgsl });
            }
        }
    }
    Ok(variants.into_values().collect())
}

/// Runs `sepconv plan`: the command that SEPCONV names, or else the one that cargo builds.
fn plan(target: &str, dtype: &str, shapes: &str, folder: &Path) -> Outcome {
    let mut command = if let Some(command) = std::env::var_os("SEPCONV") {
        Command::new(command)
    } else {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(["run", "--quiet", "--manifest-path"]).arg(Path::new(ROOT).join("Cargo.toml")).arg("--");
        command
    };
    command
        .args(["plan", "--kernels", "all", "--dtype", dtype, "--target", target, "--shapes"])
        .arg(Path::new(ROOT).join(shapes));
    let output = command.arg("--wgsl").arg(folder).output().map_err(|error| format!("sepconv: {error}"))?;
    let message = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("sepconv plan: {message}")) }
}

/// A name without commas, such as `depthwise main kernel=3x3 column_tile=4`. Constants that are 0 are left out.
fn name(kernel: &str, entry_point: &str, constants: &Value) -> String {
    let mut values: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (constant, value) in constants.as_object().into_iter().flatten() {
        let constant = constant.to_lowercase();
        // `KERNEL_HEIGHT` and `KERNEL_WIDTH` are one size.
        let size = constant.strip_suffix("_height").or(constant.strip_suffix("_width")).unwrap_or(&constant).to_owned();
        values.entry(size).or_default().push((constant, value.as_u64().unwrap_or_default()));
    }
    let sizes = values.into_iter().filter_map(|(size, axes)| match &axes[..] {
        [(_, 0)] => None,
        [(constant, value)] => Some(format!("{constant}={value}")),
        axes => {
            let numbers: Vec<String> = axes.iter().map(|(_, value)| value.to_string()).collect();
            Some(format!("{size}={}", numbers.join("x")))
        }
    });
    [kernel.to_owned(), entry_point.to_owned()].into_iter().chain(sizes).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_has_what_is_not_0() {
        let constants = serde_json::json!({"KERNEL_HEIGHT": 3, "KERNEL_WIDTH": 5, "CONTINUES": 0, "COLUMN_TILE": 4});
        assert_eq!(name("depthwise", "main", &constants), "depthwise main column_tile=4 kernel=3x5");
        assert_eq!(name("a", "b", &serde_json::json!({"WORKGROUP_WIDTH": 64})), "a b workgroup_width=64");
    }
}
