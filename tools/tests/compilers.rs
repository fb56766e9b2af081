//! What compilers say of every shader: the writers of naga, spirv-val and Tint where they are installed, and Mesa's driver
//! for AMD's GPUs.

use std::path::Path;
use std::process::Command;

use sepconv_tools::plan::{self, Variant};
use sepconv_tools::translate::Shader;

/// Runs a checker on a file; none if it is not installed.
fn is_taken(command: &mut Command) -> Option<Result<(), String>> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
        Ok(output) if output.status.success() => Some(Ok(())),
        Ok(output) => Some(Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())),
    }
}

/// The card promises Vulkan, Metal and DX12: each variant is translated as `wgpu` does it for each of them. Chromium's
/// compiler, Tint, must take it as well.
#[test]
fn every_variant_is_translated_for_every_kind_of_driver() {
    let folder = tempfile::tempdir().unwrap();
    let mut missing = std::collections::BTreeSet::new();
    for (target, dtype) in [("gpu", "f32"), ("gpu", "f16"), ("software", "f32"), ("software", "f16")] {
        let written = folder.path().join(target).join(dtype);
        plan::write(target, dtype, &written).unwrap();
        let variants = plan::read(&written).unwrap();
        assert!(variants.len() > 100, "only {} variants", variants.len());
        for Variant { name, entry_point, wgsl, .. } in variants {
            let failed = |error| -> ! { panic!("{target}, {dtype}: {name}: {error}") };
            let shader = Shader::new(&wgsl).unwrap_or_else(|error| failed(error));
            let has_int64 = wgsl.contains("u64");
            let msl = shader.msl(&entry_point).unwrap_or_else(|error| failed(error));
            assert!(msl.contains("kernel void"), "{name}: {msl}");
            let hlsl = shader.hlsl(&entry_point).unwrap_or_else(|error| failed(error));
            assert!(hlsl.contains("[numthreads("), "{name}: {hlsl}");
            let words = shader.spirv(&entry_point).unwrap_or_else(|error| failed(error));
            let [spirv, text] = ["shader.spv", "shader.wgsl"].map(|file| folder.path().join(file));
            std::fs::write(&spirv, words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()).unwrap();
            let mut checks = vec![(
                "spirv-val",
                is_taken(Command::new("spirv-val").args(["--target-env", "vulkan1.2"]).arg(&spirv)),
            )];
            // Browsers have no integers of 64 bits, and they want a directive that naga does not know.
            if !has_int64 {
                let directive = if wgsl.contains("subgroup") { "enable subgroups;\n" } else { "" };
                std::fs::write(&text, format!("{directive}{wgsl}")).unwrap();
                let out = folder.path().join("out.wgsl");
                checks.push((
                    "tint",
                    is_taken(Command::new("tint").args(["--format", "wgsl", "-o"]).args([&out, &text])),
                ));
            }
            for (checker, taken) in checks {
                match taken {
                    None => drop(missing.insert(checker)),
                    Some(taken) => taken.unwrap_or_else(|error| failed(format!("{checker}: {error}"))),
                }
            }
        }
    }
    for checker in missing {
        println!("{checker} is not installed: no shader was given to it");
    }
}

/// Fails on registers that did not suffice, and on growth, that the tables in `benches/results/` do not own up to.
#[test]
fn the_tables_of_gpus_hold() {
    if !Path::new(sepconv_tools::radv::DRIVER).exists() {
        println!("Mesa's driver for AMD's GPUs is not installed: nothing is compiled");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_sepconv-tools")).arg("radv").output().unwrap();
    let [said, complaints] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    println!("{said}");
    assert!(output.status.success(), "{complaints}");
}
