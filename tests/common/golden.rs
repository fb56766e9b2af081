//! Cases with known outputs: `cases.json` and one safetensors file per case.

use std::collections::HashMap;
use std::path::Path;

use sepconv::{Conv2d, Padding, PaddingMode, SeparableConv2d};
use serde_json::Value;

/// One case: its line in the manifest and its tensors.
pub struct Golden {
    pub name: String,
    manifest: Value,
    tensors: HashMap<String, ([u32; 4], Vec<f32>)>,
}

/// Every case of a folder.
pub fn load(folder: &Path) -> Vec<Golden> {
    let manifest = std::fs::read(folder.join("cases.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let cases: Vec<_> = manifest["cases"].as_array().unwrap().iter().map(|case| Golden::load(folder, case)).collect();
    assert_eq!(Some(cases.len() as u64), manifest["count"].as_u64());
    cases
}

impl Golden {
    fn load(folder: &Path, manifest: &Value) -> Self {
        let bytes = std::fs::read(folder.join(manifest["file"].as_str().unwrap())).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
            let sizes: Vec<u32> = view.shape().iter().map(|&size| u32::try_from(size).unwrap()).collect();
            let shape = <[u32; 4]>::try_from(sizes.as_slice()).unwrap_or_else(|_| [1, sizes[0], 1, 1]);
            let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            (name.to_owned(), (shape, values))
        });
        let name = manifest["name"].as_str().unwrap().to_owned();
        Self { name, tensors: tensors.collect(), manifest: manifest.clone() }
    }

    pub fn manifest(&self) -> &Value {
        &self.manifest
    }

    pub fn shape(&self, tensor: &str) -> [u32; 4] {
        self.tensors[tensor].0
    }

    pub fn values(&self, tensor: &str) -> &[f32] {
        &self.tensors[tensor].1
    }

    pub fn optional(&self, tensor: &str) -> Option<Vec<f32>> {
        self.tensors.get(tensor).map(|(_, values)| values.clone())
    }

    pub fn is_separable(&self) -> bool {
        self.manifest["kind"] == "separable"
    }

    /// Whether the manifest says so of the case.
    pub fn flag(&self, name: &str) -> bool {
        self.manifest.get(name).is_some_and(|value| value == true)
    }

    fn attribute<const N: usize>(&self, name: &str) -> [u32; N] {
        let numbers = self.manifest["attributes"][name].as_array().unwrap();
        let numbers: Vec<u32> = numbers.iter().map(|number| u32::try_from(number.as_u64().unwrap()).unwrap()).collect();
        numbers.try_into().unwrap()
    }

    /// `[top, left, bottom, right]`
    pub fn padding(&self) -> [u32; 4] {
        self.attribute("padding")
    }

    /// The padding in words, where the case has it in words.
    pub fn named_padding(&self) -> Option<Padding> {
        let attributes = &self.manifest["attributes"];
        let word = attributes.get("padding_spec").or(attributes.get("auto_pad"))?.as_str()?;
        Some(match word {
            "same" | "SAME_UPPER" => Padding::Same,
            "SAME_LOWER" => Padding::SameLower,
            "valid" | "VALID" => Padding::Valid,
            _ => panic!("{}: padding {word:?}", self.name),
        })
    }

    fn padding_mode(&self) -> PaddingMode {
        match self.manifest["attributes"]["padding_mode"].as_str().unwrap() {
            "zeros" => PaddingMode::Zeros,
            "reflect" => PaddingMode::Reflect,
            "replicate" => PaddingMode::Replicate,
            "circular" => PaddingMode::Circular,
            other => panic!("{}: padding mode {other:?}", self.name),
        }
    }

    /// The normal layer.
    pub fn layer(&self) -> Conv2d {
        let groups = u32::try_from(self.manifest["attributes"]["groups"].as_u64().unwrap()).unwrap();
        Conv2d::from_weight_shape(self.shape("weight"), groups)
            .unwrap()
            .stride(self.attribute::<2>("stride"))
            .padding(self.padding())
            .dilation(self.attribute::<2>("dilation"))
            .bias(self.tensors.contains_key("bias"))
            .padding_mode(self.padding_mode())
    }

    /// The separable layer.
    pub fn separable_layer(&self) -> SeparableConv2d {
        let [channels, _, height, width] = self.shape("dw_weight");
        let in_channels = self.shape("input")[1];
        SeparableConv2d::new(in_channels, self.shape("pw_weight")[0], [height, width])
            .depth_multiplier(channels / in_channels)
            .stride(self.attribute::<2>("stride"))
            .padding(self.padding())
            .dilation(self.attribute::<2>("dilation"))
            .depthwise_bias(self.tensors.contains_key("dw_bias"))
            .pointwise_bias(self.tensors.contains_key("pw_bias"))
            .padding_mode(self.padding_mode())
    }

    /// Whether `actual` is this case's tensor of that name: within the manifest's tight tolerance, or exactly where the
    /// case is exact, NaNs and infinities in the same places, each subnormal as it is or flushed to zero.
    pub fn compare(&self, tensor: &str, actual: &[f32]) -> Result<(), String> {
        let expected = self.values(tensor);
        if actual.len() != expected.len() {
            return Err(format!("{tensor} has {} values, not {}", actual.len(), expected.len()));
        }
        let tolerance = self.tolerance(tensor);
        let flushed = self.flag("ftz_sensitive").then(|| self.values("output_ftz"));
        let close = |expected: f32, actual: f32| {
            if expected.is_finite() {
                (f64::from(actual) - f64::from(expected)).abs() <= tolerance
            } else {
                actual.total_cmp(&expected).is_eq() || (actual.is_nan() && expected.is_nan())
            }
        };
        let mut pairs = expected.iter().zip(actual).enumerate();
        let wrong = pairs.find(|&(index, (&expected, &actual))| {
            !close(expected, actual) && !flushed.is_some_and(|flushed| close(flushed[index], actual))
        });
        wrong.map_or(Ok(()), |(index, (expected, actual))| {
            Err(format!("{tensor}[{index}] is {actual:e}, not {expected:e} within {tolerance:e}"))
        })
    }

    /// How far a value of this tensor may be from the one that is known.
    pub fn tolerance(&self, tensor: &str) -> f64 {
        let key = if tensor == "intermediate" { "tolerance_tight_intermediate" } else { "tolerance_tight" };
        if self.flag("exact") { 0.0 } else { self.manifest[key].as_f64().unwrap() }
    }

    pub fn assert_close(&self, tensor: &str, actual: &[f32], what: &str) {
        self.compare(tensor, actual).unwrap_or_else(|wrong| panic!("{}, {what}: {wrong}", self.name));
    }
}
