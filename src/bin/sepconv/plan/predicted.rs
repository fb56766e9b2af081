//! `sepconv plan --shapes FILE --predicted`: what the model of GPUs predicts of layers, without any device.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sepconv::unstable::{Gpu, Planner};
use sepconv::{DType, Layer, Tuning};

use super::{shaders, target};
use crate::bench::geometric_mean;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::{print, table};
use crate::shapes_file;

/// How a layer is planned, and how long that should take as a multiple of its floor.
struct Planned {
    /// Its kernel, or the two of a separable layer.
    kernel: String,
    /// The constants in which the kernel's variants differ.
    tile: String,
    seconds: f64,
    over_floor: f64,
}

/// Prints a table of the layers, and one of the kernels: the planner's own choices, and beside these another table's.
pub fn run(options: &shaders::Options, shapes: &Path) -> Outcome {
    let planner = Planner::new(target::named(&options.target)?);
    if planner.target().software {
        let message = format!("--target is {:?}; predictions are for GPUs", options.target);
        return Err(Failure::Request(message));
    }
    let mut planners = vec![("planner", planner.clone())];
    if let Some(path) = &options.beside {
        let refused = |error| Failure::from(error).within(&format!("--beside {}", path.display()));
        let choices: Tuning = files::read_text(path)?.parse().map_err(refused)?;
        planners.insert(0, ("beside", planner.clone().with_tuning(Arc::new(choices))));
    }
    let gpu = planner.target().gpu();
    let head: Vec<String> = ["layer".to_owned(), "floor us".to_owned()]
        .into_iter()
        .chain(
            planners.iter().flat_map(|(name, _)| [format!("{name}: kernel"), "us".to_owned(), "us / floor".to_owned()]),
        )
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut layers = table(&head, (1..head.len()).filter(|column| column % 3 != 2));
    let mut by_kernel: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for shape in shapes_file::load(Some(shapes), 1)? {
        let floor = gpu.floor(shape.bytes(DType::F32), shape.multiply_adds());
        let mut cells = vec![shape.id.clone(), format!("{:.2}", 1e6 * floor)];
        for (index, (_, planner)) in planners.iter().enumerate() {
            let Some(way) = planned(planner, &shape.layer, floor)? else {
                cells.extend(["no prediction", "", ""].map(str::to_owned));
                continue;
            };
            let Planned { kernel, tile, seconds, over_floor } = way;
            cells.extend([
                [kernel.as_str(), tile.as_str()].join(" ").trim_end().to_owned(),
                format!("{:.2}", 1e6 * seconds),
                format!("{over_floor:.2}"),
            ]);
            let rows = by_kernel.entry(kernel).or_insert_with(|| vec![Vec::new(); planners.len()]);
            rows[index].push(over_floor);
        }
        layers.add_row(cells);
    }
    print(&format!("{}\n\n{layers}\n\n{}\n", title(gpu, shapes), kernels(&planners, &by_kernel)))
}

fn title(gpu: &Gpu, shapes: &Path) -> String {
    format!("## {}, {}: predictions, no measurements", gpu.name, shapes.display())
}

/// None where a kernel says nothing of its work.
fn planned(planner: &Planner, layer: &Layer, floor: f64) -> Outcome<Option<Planned>> {
    let (choice, program) = planner.planned(layer)?;
    let Some(seconds) = planner.predicted(layer, choice) else { return Ok(None) };
    let kernel = program.kernel;
    Ok(Some(Planned { kernel, tile: planner.variant_text(layer, choice), seconds, over_floor: seconds / floor }))
}

/// Of each kernel, how many layers it has, and the geometric mean of their times over their floors.
fn kernels(planners: &[(&str, Planner)], by_kernel: &BTreeMap<String, Vec<Vec<f64>>>) -> String {
    let head: Vec<String> = std::iter::once("kernel".to_owned())
        .chain(
            planners.iter().flat_map(|(name, _)| [format!("{name}: layers"), "us / floor, geometric mean".to_owned()]),
        )
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut kernels = table(&head, 1..head.len());
    let cells = |numbers: &[f64]| match numbers {
        [] => [String::new(), String::new()],
        _ => [numbers.len().to_string(), format!("{:.2}", geometric_mean(numbers.iter().copied()))],
    };
    for (kernel, rows) in by_kernel {
        kernels.add_row(std::iter::once(kernel.clone()).chain(rows.iter().flat_map(|numbers| cells(numbers))));
    }
    let all = (0..planners.len()).flat_map(|index| {
        let numbers: Vec<f64> = by_kernel.values().flat_map(|rows| rows[index].clone()).collect();
        cells(&numbers)
    });
    kernels.add_row(std::iter::once("all".to_owned()).chain(all));
    kernels.to_string()
}
