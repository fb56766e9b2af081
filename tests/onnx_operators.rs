//! ONNX's own tests of single operators: `tests/onnx/README.md` says where they are from.

mod common;

use std::collections::BTreeMap;

use common::context;
use safetensors::SafeTensors;
use sepconv::{Context, Network, Tensor};

/// Shape and values.
type Array = (Vec<u32>, Vec<f32>);

/// A model, what it is given, and what is right.
#[derive(Default)]
struct Case {
    model: Vec<u8>,
    inputs: BTreeMap<String, Array>,
    outputs: BTreeMap<String, Array>,
}

fn cases() -> BTreeMap<String, Case> {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/operators.safetensors")).unwrap();
    let mut cases = BTreeMap::<String, Case>::new();
    for (key, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
        let (name, what) = key.split_once('/').unwrap();
        let case = cases.entry(name.to_owned()).or_default();
        let array = || {
            let shape = view.shape().iter().map(|&size| u32::try_from(size).unwrap()).collect();
            let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            (shape, values.collect())
        };
        match what.split_once(':') {
            None => case.model = view.data().to_vec(),
            Some(("input", tensor)) => drop(case.inputs.insert(tensor.to_owned(), array())),
            Some((_, tensor)) => drop(case.outputs.insert(tensor.to_owned(), array())),
        }
    }
    cases
}

/// What is wrong with an output, if anything is.
fn difference(name: &str, expected: &Array, actual: (&[u32], &[f32]), allowed: f32) -> Result<(), String> {
    if actual.0 != expected.0 {
        return Err(format!("{name} has shape {:?}; it should have {:?}", actual.0, expected.0));
    }
    assert_eq!(actual.1.len(), expected.1.len(), "{name}");
    let finite = expected.1.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (index, (&right, &value)) in expected.1.iter().zip(actual.1).enumerate() {
        // Infinities have no difference.
        let is_right = right.to_bits() == value.to_bits()
            || right.is_nan() && value.is_nan()
            || (right - value).abs() <= allowed * largest;
        if !is_right {
            return Err(format!("value {index} of {name} is {value}; it should be {right}"));
        }
    }
    Ok(())
}

/// How far a right result may be from the file's, relative to the largest value.
fn allowed(name: &str) -> f32 {
    // This one's results are written with four digits.
    if name == "averagepool_2d_ceil_last_window_starts_on_pad" { 1e-3 } else { 1e-4 }
}

/// Computes a case by its layers' definitions.
fn check_reference(name: &str, case: &Case) -> Result<(), String> {
    let network = Network::from_onnx(&case.model).map_err(|error| error.to_string())?;
    let inputs: Vec<_> =
        case.inputs.iter().map(|(name, (shape, values))| (name.as_str(), &shape[..], &values[..])).collect();
    let outputs = network.reference(&inputs, |_| Ok(())).map_err(|error| error.to_string())?;
    assert_eq!(outputs.len(), case.outputs.len());
    outputs.iter().try_for_each(|output| {
        difference(&output.name, &case.outputs[&output.name], (&output.shape, &output.values), allowed(name))
    })
}

/// Cases that do not work, by why.
const UNSUPPORTED: &[(&str, &[&str])] = &[
    (
        "LayerNormalization with more than one output",
        &[
            "layer_normalization_2d_axis0",
            "layer_normalization_2d_axis1",
            "layer_normalization_2d_axis_negative_1",
            "layer_normalization_2d_axis_negative_2",
            "layer_normalization_3d_axis0_epsilon",
            "layer_normalization_3d_axis1_epsilon",
            "layer_normalization_3d_axis2_epsilon",
            "layer_normalization_3d_axis_negative_1_epsilon",
            "layer_normalization_3d_axis_negative_2_epsilon",
            "layer_normalization_3d_axis_negative_3_epsilon",
            "layer_normalization_4d_axis0",
            "layer_normalization_4d_axis1",
            "layer_normalization_4d_axis2",
            "layer_normalization_4d_axis3",
            "layer_normalization_4d_axis_negative_1",
            "layer_normalization_4d_axis_negative_2",
            "layer_normalization_4d_axis_negative_3",
            "layer_normalization_4d_axis_negative_4",
            "layer_normalization_default_axis",
        ],
    ),
    ("with training_mode", &["batchnorm_epsilon_training_mode", "batchnorm_example_training_mode"]),
    ("Dropout with more than one output", &["dropout_default_mask"]),
    (
        "MaxPool with an output of indices",
        &["maxpool_with_argmax_2d_precomputed_pads", "maxpool_with_argmax_2d_precomputed_strides"],
    ),
    // Volumes.
    (
        "3 spatial axes",
        &["averagepool_3d_dilations_small", "maxpool_3d_dilations", "maxpool_3d_dilations_use_ref_impl"],
    ),
    ("one or two axes more", &["convtranspose_3d"]),
    // Any places would take a kernel that reads them.
    (
        "places are not evenly apart",
        &[
            "gather_0",
            "gather_1",
            "gather_negative_indices",
            "rotary_embedding_3d_input_expanded",
            "rotary_embedding_expanded",
            "rotary_embedding_interleaved_expanded",
            "rotary_embedding_with_interleaved_rotary_dim_expanded",
            "rotary_embedding_with_rotary_dim_expanded",
        ],
    ),
    // Whole numbers are for sizes and places, which are known when a network is planned.
    ("an input must be f32 values", &["pow_types_int32_float32", "pow_types_int64_float32"]),
    ("the condition depends on the input's values", &["where_example"]),
    ("whole numbers cannot be reduced so", &["reduce_max_empty_set_bool"]),
    // Tensors without values.
    (
        "each size must be at least 1",
        &[
            "reduce_l1_empty_set",
            "reduce_l1_empty_set_expanded",
            "reduce_l2_empty_set",
            "reduce_log_sum_empty_set",
            "reduce_log_sum_empty_set_expanded",
            "reduce_max_empty_set",
            "reduce_min_empty_set",
            "reduce_prod_empty_set",
            "reduce_sum_empty_set",
            "reduce_sum_empty_set_non_reduced_axis_zero",
            "reduce_sum_square_empty_set",
            "reduce_sum_square_empty_set_expanded",
            "reshape_allowzero_reordered",
            "split_zero_size_splits_opset13",
            "split_zero_size_splits_opset18",
        ],
    ),
    (
        "which has no values",
        &["constantofshape_int_shape_zero", "shape_start_greater_than_end", "slice_start_out_of_bounds"],
    ),
    (
        "Resize with antialias",
        &[
            "resize_downsample_scales_cubic_antialias",
            "resize_downsample_scales_linear_antialias",
            "resize_downsample_sizes_cubic_antialias",
            "resize_downsample_sizes_linear_antialias",
        ],
    ),
    (
        "coordinate_transformation_mode \"half_pixel_symmetric\"",
        &["resize_downsample_scales_linear_half_pixel_symmetric", "resize_upsample_scales_linear_half_pixel_symmetric"],
    ),
    (
        "coordinate_transformation_mode \"tf_crop_and_resize\"",
        &[
            "resize_tf_crop_and_resize",
            "resize_tf_crop_and_resize_axes_2_3",
            "resize_tf_crop_and_resize_axes_3_2",
            "resize_tf_crop_and_resize_extrapolation_value",
        ],
    ),
    (
        "Resize with keep_aspect_ratio_policy",
        &[
            "resize_downsample_sizes_nearest_not_larger",
            "resize_downsample_sizes_nearest_not_smaller",
            "resize_upsample_sizes_nearest_not_larger",
            "resize_upsample_sizes_nearest_not_smaller",
        ],
    ),
    // By the operator's words, places follow from the output's size. These tests take 2.4 or 1.6 for it, where it is 2 or 1.
    (
        "it should be",
        &["resize_downsample_scales_cubic_align_corners", "resize_downsample_scales_linear_align_corners"],
    ),
    ("operator Swish", &["swiglu_alpha_expanded"]),
];

/// Why a case does not work, if it does not.
fn unsupported(name: &str) -> Option<&'static str> {
    UNSUPPORTED.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
}

#[test]
fn the_reference_is_right_of_every_operator() {
    let cases = cases();
    assert_eq!(cases.len(), 513);
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        match (check_reference(name, case), unsupported(name)) {
            (Ok(()), None) => {}
            (Err(error), Some(why)) if error.contains(why) => {}
            (Err(error), _) => wrong.push(format!("{name}: {error}")),
            (Ok(()), Some(why)) => wrong.push(format!("{name} works, and is listed: {why}")),
        }
    }
    for (_, names) in UNSUPPORTED {
        wrong.extend(names.iter().filter(|name| !cases.contains_key(**name)).map(|name| format!("no case {name}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a case on the device.
fn check_device(context: &Context, name: &str, case: &Case) -> Result<(), String> {
    let network = Network::from_onnx(&case.model).unwrap();
    let shapes: Vec<_> = case.inputs.iter().map(|(name, (shape, _))| (name.as_str(), &shape[..])).collect();
    let plan = network.plan(context, &shapes).map_err(|error| error.to_string())?;
    let given: Vec<_> = plan
        .inputs()
        .iter()
        .map(|port| {
            let (_, values) = &case.inputs[&port.name];
            (port.name.as_str(), Tensor::from_slice(context, port.tensor_shape(), values).unwrap())
        })
        .collect();
    let wanted: Vec<_> =
        plan.outputs().iter().map(|port| (port, common::poisoned(context, port.tensor_shape()))).collect();
    let inputs: Vec<_> = given.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let outputs: Vec<_> = wanted.iter().map(|(port, tensor)| (port.name.as_str(), tensor)).collect();
    let weights = plan.weights().unwrap();
    let bound = plan.bind(&weights, &inputs, &outputs).map_err(|error| error.to_string())?;
    bound.run().unwrap();
    wanted.iter().try_for_each(|(port, tensor)| {
        let values = tensor.read_blocking().unwrap();
        difference(&port.name, &case.outputs[&port.name], (&port.shape, &values), allowed(name))
    })
}

#[test]
fn the_device_is_right_of_every_operator() {
    let Some(context) = context() else { return };
    let cases = cases();
    let cases = cases.iter().filter(|(name, _)| unsupported(name).is_none());
    let results =
        cases.filter_map(|(name, case)| Some(format!("{name}: {}", check_device(context, name, case).err()?)));
    let wrong: Vec<_> = results.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
