//! `sepconv-tools`: what AMD's compiler makes of every shader, beside the committed tables.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use sepconv_tools::Outcome;
use sepconv_tools::choices;
use sepconv_tools::plan::{self, ROOT, Variant};
use sepconv_tools::radv::{DRIVER, Driver, FAMILIES};
use sepconv_tools::table::Table;
use sepconv_tools::translate::Shader;

const USAGE: &str = "usage: sepconv-tools radv [--write] | msl FOLDER [f16] | choices GPU SHAPES.json RESULT.json
radv  Has Mesa's driver for AMD's GPUs compile every shader of the files of layers, in every variant, and prints what changed
      since the tables of benches/results/. Exit status 1 if that is worse. --write writes the tables.
msl   Writes naga's Metal text of every shader to a folder, with an index.json, for nvidia/sm_90.py: for tensors of f32, or of f16.
choices  Prints what the planner chooses on a GPU of the model for layers that `sepconv bench --kernels variants` measured there, and
      how long that took beside the fastest variant.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["radv"] => radv(false),
        ["radv", "--write"] => radv(true),
        ["msl", folder] => msl(Path::new(folder), "f32"),
        ["msl", folder, "f16"] => msl(Path::new(folder), "f16"),
        ["choices", gpu, shapes, result] => print_choices(gpu, Path::new(shapes), Path::new(result)),
        // Of one family, which the environment names: a driver looks at it once in a process.
        ["radv-of", folder] => compile(Path::new(folder)).map(|table| print!("{}", table.text())),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn print_choices(gpu: &str, shapes: &Path, result: &Path) -> Outcome {
    println!("| layer | chosen | predicted us | us | fastest | us | chosen / fastest |\n|---|---|---|---|---|---|---|");
    let (mut longer, mut ratios) = (Vec::new(), Vec::new());
    for layer in choices::measured(gpu, shapes, result)? {
        let (fastest, least) = &layer.fastest;
        let (id, chosen, predicted, took) = (&layer.id, &layer.chosen, layer.predicted, layer.took);
        let measured = |number: f64, digits: usize| {
            if number.is_finite() { format!("{number:.digits$}") } else { "-".to_owned() }
        };
        let (us, times) = (measured(took, 1), measured(took / least, 2));
        println!("| {id} | {chosen} | {predicted:.1} | {us} | {fastest} | {least:.1} | {times} |");
        longer.extend(Some(took / least).filter(|ratio| ratio.is_finite()));
        ratios.extend(layer.ratios);
    }
    let [longer, ratios] = [longer, ratios].map(|numbers| choices::geometric_mean(&numbers));
    println!("\nGeometric means: chosen / fastest {longer:.3}; measured / predicted, all variants {ratios:.2}");
    Ok(())
}

fn radv(write: bool) -> Outcome {
    if !Path::new(DRIVER).exists() {
        return Err(format!("{DRIVER} is not there; Debian's package mesa-vulkan-drivers has it"));
    }
    let mut complaints = Vec::new();
    for (family, table) in tables("f32")? {
        let path = Path::new(ROOT).join(format!("benches/results/{family}.csv"));
        let committed = std::fs::read_to_string(&path).ok().and_then(|text| Table::parse(&text)).unwrap_or_default();
        let spilling = table.rows.values().filter(|row| row.spills + row.scratch > 0).count();
        println!("{family}: {}, {} variants, {spilling} of them spill", table.compiler, table.rows.len());
        print!("{}", table.changes(&committed));
        if write {
            std::fs::write(&path, table.text()).map_err(|error| format!("{}: {error}", path.display()))?;
        } else {
            let of_family = table.complaints(&committed);
            complaints.extend(of_family.into_iter().map(|complaint| format!("{family}: {complaint}")));
        }
    }
    // Of tensors of f16 there is no table, but they need no more registers than there are.
    for (family, table) in tables("f16")? {
        let spilling = table.rows.iter().filter(|(_, row)| row.spills + row.scratch > 0);
        complaints.extend(spilling.map(|(name, _)| format!("{family}, f16: {name}: it spills")));
        println!("{family}, f16: {} variants", table.rows.len());
    }
    if complaints.is_empty() {
        return Ok(());
    }
    let hint = "if it has to be so, `sepconv-tools radv --write` writes the tables anew";
    Err(format!("{}\n{hint}", complaints.join("\n")))
}

/// The tables of all families, each made by a process of its own, at the same time.
fn tables(dtype: &str) -> Outcome<Vec<(&'static str, Table)>> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    plan::write("gpu", dtype, folder.path())?;
    let start = |(_, gpu): (_, &str)| {
        let mut command = Command::new(&own);
        command.arg("radv-of").arg(folder.path()).env("RADV_FORCE_FAMILY", gpu).env("RADV_DEBUG", "nocache");
        command.envs([("VK_DRIVER_FILES", DRIVER), ("VK_ICD_FILENAMES", DRIVER)]).stdout(Stdio::piped()).spawn()
    };
    let started = FAMILIES.map(start);
    let read = |((family, _), started): ((&'static str, _), std::io::Result<Child>)| {
        let output = started.and_then(Child::wait_with_output).map_err(|error| error.to_string())?;
        let table = Table::parse(&String::from_utf8_lossy(&output.stdout));
        Ok((family, table.filter(|_| output.status.success()).ok_or(format!("{family}: no table was made"))?))
    };
    FAMILIES.into_iter().zip(started).map(read).collect()
}

/// What the driver makes of every shader in a folder.
fn compile(folder: &Path) -> Outcome<Table> {
    let driver = Driver::open()?;
    let mut table = Table { compiler: driver.name.clone(), ..Table::default() };
    for Variant { name, entry_point, wgsl, .. } in plan::read(folder)? {
        let compiled = Shader::new(&wgsl).and_then(|shader| driver.compile(&shader, &entry_point));
        table.rows.insert(name.clone(), compiled.map_err(|error| format!("{name}: {error}"))?);
    }
    Ok(table)
}

/// Writes every shader as Metal's text, and a list of them.
fn msl(folder: &Path, dtype: &str) -> Outcome {
    let planned = tempfile::tempdir().map_err(|error| error.to_string())?;
    plan::write("gpu", dtype, planned.path())?;
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let write = |file: &str, text: String| {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut index = Vec::new();
    for (number, Variant { name, entry_point, workgroup, wgsl }) in plan::read(planned.path())?.into_iter().enumerate()
    {
        let file = format!("{number}.metal");
        let text = Shader::new(&wgsl).and_then(|shader| shader.msl(&entry_point));
        write(&file, text.map_err(|error| format!("{name}: {error}"))?)?;
        index.push(serde_json::json!({ "name": name, "file": file, "workgroup": workgroup }));
    }
    println!("{} shaders in {}", index.len(), folder.display());
    write("index.json", serde_json::Value::from(index).to_string())
}
