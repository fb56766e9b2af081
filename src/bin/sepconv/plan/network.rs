//! `sepconv plan MODEL.onnx`: every layer of a network, and what the whole takes.

use std::path::Path;

use sepconv::network::PlannedLayer;
use sepconv::unstable::{Buffer, Kind, Memory, Planner};
use sepconv::{DType, Network, Rounding};
use serde_json::json;

use crate::failure::Outcome;
use crate::networks::{self, InputShape};
use crate::on_device::megabytes;
use crate::output::{print, table};

/// Prints what a planner makes of a model; `whose` says whose limits it keeps to.
pub fn run(
    model: &Path,
    inputs: &[InputShape],
    (planner, rounding): (&Planner, Rounding),
    whose: String,
    is_json: bool,
) -> Outcome {
    let network = networks::load(model)?.rounding(rounding);
    let outline = Outline::new(&network, inputs, planner, whose)?;
    if is_json { print(&format!("{:#}", outline.json())) } else { print(&outline.text()) }
}

/// What would run.
struct Outline {
    layers: Vec<PlannedLayer>,
    /// Name and sizes of each input.
    inputs: Vec<(String, [u32; 4])>,
    steps: usize,
    multiply_adds: u64,
    parameters: u64,
    /// What its tensors hold.
    dtype: DType,
    weight_bytes: u64,
    packed_weight_bytes: u64,
    workspace_bytes: u64,
    /// Inputs and outputs, which are the caller's.
    end_bytes: u64,
    whose: String,
}

impl Outline {
    fn new(network: &Network, inputs: &[InputShape], planner: &Planner, whose: String) -> Outcome<Self> {
        let shapes = networks::complete(network, inputs)?;
        let shapes: Vec<(&str, &[u32])> = shapes.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
        let (program, layers) = network.program(planner, &shapes)?;
        let bytes = |kind: Kind| {
            let buffers = program.buffers.iter().filter(|buffer| buffer.kind == kind);
            buffers.map(Buffer::bytes).sum::<u64>()
        };
        let parameters = program.buffers.iter().filter(|buffer| buffer.kind == Kind::Parameter);
        let ends = program.buffers.iter().filter(|buffer| buffer.kind == Kind::Input);
        Ok(Self {
            inputs: network.input_names().into_iter().map(str::to_owned).zip(ends.map(|buffer| buffer.shape)).collect(),
            steps: program.steps.len(),
            multiply_adds: layers.iter().map(|layer| layer.layer.multiply_adds()).sum(),
            parameters: parameters.map(Buffer::length).sum(),
            dtype: program.dtype,
            weight_bytes: program.weight_bytes(),
            packed_weight_bytes: program.packed_weight_bytes(),
            workspace_bytes: Memory::new(&program).bytes(),
            end_bytes: bytes(Kind::Input) + bytes(Kind::Output),
            whose,
            layers,
        })
    }

    fn text(&self) -> String {
        let mut table =
            table(&["layer", "kind", "output", "parameters", "multiply-adds", "kernel", "steps"], [3, 4, 6]);
        for layer in &self.layers {
            table.add_row([
                layer.name.clone(),
                layer.layer.kind().to_owned(),
                layer.layer.output_shape().map(|size| size.to_string()).join(" x "),
                layer.parameters.to_string(),
                layer.layer.multiply_adds().to_string(),
                layer.kernel.clone(),
                layer.steps.to_string(),
            ]);
        }
        let inputs = self.inputs.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect::<Vec<_>>().join(", ");
        let total = self.weight_bytes + self.workspace_bytes + self.end_bytes;
        [
            format!("Input: {inputs}\n\n{table}\n"),
            format!("layers                {}, in {} steps", self.layers.len(), self.steps),
            format!("parameters            {}", self.parameters),
            format!("multiply-adds         {}", self.multiply_adds),
            format!("weights               {}", megabytes(self.weight_bytes)),
            format!("of these packed       {}", megabytes(self.packed_weight_bytes)),
            format!(
                "between layers        {}, shared by layers that do not run at once",
                megabytes(self.workspace_bytes)
            ),
            format!("inputs and outputs    {}", megabytes(self.end_bytes)),
            format!("total                 {}", megabytes(total)),
            format!("limits                {}", self.whose),
            self.as_torchsummary_counts(),
        ]
        .join("\n")
    }

    /// What `torchsummary` says of a model that has these layers, whose values it takes for `f32`: in units of 2²⁰ bytes, and every layer's output twice,
    /// for the values going forward and the gradients coming back.
    fn as_torchsummary_counts(&self) -> String {
        let values = |shapes: &mut dyn Iterator<Item = [u32; 4]>| {
            shapes.map(|shape| shape.map(u64::from).iter().product::<u64>()).sum::<u64>()
        };
        let inputs = 4 * values(&mut self.inputs.iter().map(|(_, shape)| *shape));
        let passes = 2 * 4 * values(&mut self.layers.iter().map(|layer| layer.layer.output_shape()));
        let lines = [
            ("Input size (MB)", inputs),
            ("Forward/backward pass size (MB)", passes),
            ("Params size (MB)", 4 * self.parameters),
            ("Estimated total size (MB)", inputs + passes + 4 * self.parameters),
        ];
        let lines = lines.map(|(label, bytes)| format!("{label:<34}{:.2}", bytes as f64 / f64::from(1 << 20)));
        format!("\nAs torchsummary counts, for training:\n{}", lines.join("\n"))
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "dtype": self.dtype.to_string(),
            "inputs": self.inputs.iter().map(|(name, shape)| json!({ "name": name, "shape": shape })).collect::<Vec<_>>(),
            "layers": self.layers.iter().map(|layer| json!({
                "name": layer.name,
                "kind": layer.layer.kind(),
                "output_shape": layer.layer.output_shape(),
                "parameters": layer.parameters,
                "multiply_adds": layer.layer.multiply_adds(),
                "kernel": layer.kernel,
                "steps": layer.steps,
            })).collect::<Vec<_>>(),
            "steps": self.steps,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "weight_bytes": self.weight_bytes,
            "packed_weight_bytes": self.packed_weight_bytes,
            "workspace_bytes": self.workspace_bytes,
            "limits": self.whose,
        })
    }
}
