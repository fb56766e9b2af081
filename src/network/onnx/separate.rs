//! The normal layers of an ONNX file, and the file with separable ones in their place.

use std::collections::{HashMap, HashSet};

use rten_onnx::onnx::{DataType, ModelProto, NodeProto, TensorProto};

use super::attributes::{Attributes, is_standard, node_name};
use super::{guard, operators, tensor};
use crate::conv::Conv2d;
use crate::error::{Error, Result};
use crate::network::operation::Operation;

/// A layer of an ONNX file that a separable one could stand in for.
#[derive(Debug, Clone)]
pub struct NormalLayer {
    /// The name that the network's layer has.
    pub name: String,
    /// The name of the tensor that it reads.
    pub input: String,
    /// The name of the tensor that it makes.
    pub output: String,
    /// What it computes.
    pub layer: Conv2d,
    /// `[out_channels, in_channels, height, width]`
    pub shape: [u32; 4],
    /// As many values as the shape takes.
    pub weight: Vec<f32>,
    /// A value for each output channel.
    pub bias: Option<Vec<f32>>,
    /// Which of the file's nodes it is.
    node: usize,
}

/// The convolutions of a file.
#[derive(Debug, Clone, Default)]
pub struct Convolutions {
    /// Those that could be separable.
    pub normal: Vec<NormalLayer>,
    /// The names of the others, and why they could not.
    pub others: Vec<(String, String)>,
}

/// The numbers that stand in for a normal layer's: see [`Separated`](crate::decouple::Separated).
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    /// The layer.
    pub layer: &'a NormalLayer,
    /// How many filters each input channel has.
    pub depth_multiplier: u32,
    /// `[in_channels · depth_multiplier, 1, height, width]`
    pub depthwise: &'a [f32],
    /// `[out_channels, in_channels · depth_multiplier, 1, 1]`
    pub pointwise: &'a [f32],
    /// The pointwise layer's; none for that of the normal layer.
    pub bias: Option<&'a [f32]>,
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::Model { reason: reason.into() }
}

/// The convolutions of a file that a network can be read from.
///
/// # Errors
/// [`Error::Model`] if the bytes are damaged or no model.
pub fn convolutions(bytes: &[u8]) -> Result<Convolutions> {
    guard::check(bytes).map_err(damaged)?;
    let model = ModelProto::parse_buf(bytes).map_err(|error| damaged(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| damaged("it has no graph"))?;
    let opset = model.opset_import.iter().find(|opset| is_standard(opset.domain.as_deref()));
    let opset = opset.and_then(|opset| opset.version).unwrap_or(0);
    let mut constants: HashMap<&str, &TensorProto> = HashMap::new();
    for tensor in &graph.initializer {
        constants.insert(tensor.name.as_deref().unwrap_or_default(), tensor);
    }
    for node in graph.node.iter().filter(|node| is(node, "Constant")) {
        let value = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("value"));
        if let (Some(name), Some(value)) = (node.output.first(), value.and_then(|value| value.t.as_ref())) {
            constants.insert(name, value);
        }
    }
    let mut names: HashMap<String, usize> = HashMap::new();
    for (number, node) in graph.node.iter().enumerate() {
        *names.entry(node_name(number, node)).or_default() += 1;
    }
    let mut found = Convolutions::default();
    for (number, node) in graph.node.iter().enumerate().filter(|(_, node)| is(node, "Conv")) {
        let name = node_name(number, node);
        let layer = if names[&name] > 1 {
            Err("another node has its name".to_owned())
        } else {
            normal_layer(number, node, &constants, opset)
        };
        match layer {
            Ok(layer) => found.normal.push(layer),
            Err(reason) => found.others.push((name, reason)),
        }
    }
    Ok(found)
}

/// Whether a node is of this standard operator.
fn is(node: &NodeProto, kind: &str) -> bool {
    is_standard(node.domain.as_deref()) && node.op_type.as_deref() == Some(kind)
}

/// The layer that a node describes, or why it cannot be separable.
fn normal_layer(
    number: usize,
    node: &NodeProto,
    constants: &HashMap<&str, &TensorProto>,
    opset: i64,
) -> std::result::Result<NormalLayer, String> {
    let mut attributes = Attributes::new(node);
    let inputs = node.input.iter().map(|input| (!input.is_empty()).then_some(0)).collect();
    let read = operators::read("Conv", &mut attributes, opset, &mut |_| 0, inputs);
    let (operation, _) = read.map_err(|reasons| reasons.join("; "))?;
    let Operation::Conv2d { stride, padding, dilation, groups } = operation else {
        return Err("it is no convolution".to_owned());
    };
    let values = |index: usize, what: &str| match node.input.get(index).map(String::as_str) {
        None | Some("") => Ok(None),
        Some(name) => {
            let proto = constants.get(name).ok_or_else(|| format!("its {what} is no constant"))?;
            if proto.data_type != Some(DataType::FLOAT) {
                return Err(format!("its {what} is not of f32 values"));
            }
            let constant = tensor::constant(proto)?;
            let values = constant.as_floats().map(|values| values.to_vec()).unwrap_or_default();
            Ok(Some((constant.shape, values)))
        }
    };
    let (shape, weight) = values(1, "weight")?.ok_or("it has no weight")?;
    let bias = values(2, "bias")?.map(|(_, bias)| bias);
    let shape: [u32; 4] = shape.try_into().map_err(|_| "its weight has not 4 axes".to_owned())?;
    if groups != 1 {
        return Err(if shape[1] == 1 { "it is depthwise".to_owned() } else { format!("it has {groups} groups") });
    }
    if shape[2..] == [1, 1] {
        return Err("its window has 1 tap: it is pointwise".to_owned());
    }
    if shape[1] == 1 {
        return Err("it has 1 input channel, so that nothing can be gained".to_owned());
    }
    let layer = Conv2d::from_weight_shape(shape, groups).map_err(|error| error.to_string())?;
    let layer = layer.stride(stride).padding(padding).dilation(dilation).bias(bias.is_some());
    let output = node.output.first().cloned().unwrap_or_default();
    let input = node.input.first().cloned().unwrap_or_default();
    Ok(NormalLayer { name: node_name(number, node), input, output, layer, shape, weight, bias, node: number })
}

/// The numbers of the fields of ONNX's messages.
mod number {
    pub const MODEL_IR_VERSION: u64 = 1;
    pub const MODEL_GRAPH: u64 = 7;
    pub const MODEL_TRAINING: u64 = 20;
    pub const GRAPH_NODE: u64 = 1;
    pub const GRAPH_INITIALIZER: u64 = 5;
    pub const GRAPH_INPUT: u64 = 11;
    pub const GRAPH_OUTPUT: u64 = 12;
    pub const NODE_INPUT: u64 = 1;
    pub const NODE_OUTPUT: u64 = 2;
    pub const NODE_NAME: u64 = 3;
    pub const NODE_OPERATOR: u64 = 4;
    pub const NODE_ATTRIBUTE: u64 = 5;
    pub const ATTRIBUTE_NAME: u64 = 1;
    pub const ATTRIBUTE_INT: u64 = 3;
    pub const ATTRIBUTE_INTS: u64 = 8;
    pub const ATTRIBUTE_TYPE: u64 = 20;
    pub const TENSOR_SIZES: u64 = 1;
    pub const TENSOR_TYPE: u64 = 2;
    pub const TENSOR_NAME: u64 = 8;
    pub const TENSOR_BYTES: u64 = 9;
    pub const VALUE_NAME: u64 = 1;
    pub const VALUE_TYPE: u64 = 2;
    pub const TYPE_TENSOR: u64 = 1;
    pub const TYPE_ELEMENT: u64 = 1;
    pub const TYPE_SHAPE: u64 = 2;
    pub const SHAPE_SIZE: u64 = 1;
    pub const SIZE_VALUE: u64 = 1;
}

/// The types of attributes, and of values.
const INT: u64 = 2;
const INTS: u64 = 7;
const FLOAT: u64 = 1;

/// Files before this version list their weights as inputs too.
const WEIGHTS_ARE_NO_INPUTS: u64 = 4;

/// The bytes of a file with separable layers in the place of normal ones. All else is as it was, byte for byte; weights
/// that nobody reads any more are left out.
///
/// # Errors
/// [`Error::Model`] for a file that is not the one that the layers were found in, or that has what names weights elsewhere.
pub fn separated(bytes: &[u8], replacements: &[Replacement<'_>]) -> Result<Vec<u8>> {
    let model = fields(bytes).map_err(damaged)?;
    if model.iter().any(|field| field.number == number::MODEL_TRAINING) {
        return Err(damaged("it says how it is trained, which names weights that would go"));
    }
    let version = model.iter().find(|field| field.number == number::MODEL_IR_VERSION).map_or(0, |field| field.value);
    let graphs: Vec<_> = model.iter().filter(|field| field.number == number::MODEL_GRAPH).collect();
    let [graph] = graphs[..] else { return Err(damaged("it has not one graph")) };
    let edited = edit(graph.content, replacements, version < WEIGHTS_ARE_NO_INPUTS).map_err(damaged)?;
    let mut written = Vec::new();
    for field in &model {
        if field.number == number::MODEL_GRAPH {
            put_bytes(&mut written, field.number, &edited);
        } else {
            written.extend(field.whole);
        }
    }
    Ok(written)
}

/// The graph's bytes with the layers replaced. `listed` says whether weights are inputs too.
fn edit(graph: &[u8], replacements: &[Replacement<'_>], listed: bool) -> std::result::Result<Vec<u8>, String> {
    let graph = fields(graph)?;
    let nodes: Vec<&Field<'_>> = graph.iter().filter(|field| field.number == number::GRAPH_NODE).collect();
    let mut parts: Vec<Vec<Field<'_>>> = nodes.iter().map(|node| fields(node.content)).collect::<Result<_, _>>()?;
    let mut names = Names::default();
    for field in parts.iter().flatten().filter(|field| field.number <= number::NODE_NAME) {
        names.taken.insert(field.text()?.to_owned());
    }
    for field in graph.iter().filter(|field| field.number == number::GRAPH_INITIALIZER) {
        names.taken.insert(name_of(field, number::TENSOR_NAME)?);
    }
    let mut edits = HashMap::new();
    let mut tensors = Vec::new();
    let mut gone = Vec::new();
    for replacement in replacements {
        let Some(node) = parts.get_mut(replacement.layer.node) else { return Err("a layer is not in it".to_owned()) };
        let separable = Separable::new(replacement, node, &mut names)?;
        gone.extend(texts(node, number::NODE_INPUT)?.into_iter().skip(1));
        edits.insert(replacement.layer.node, separable.nodes);
        tensors.extend(separable.tensors);
        node.clear();
    }
    // What another node reads stays; a bias that stays is read by the pointwise layer.
    let mut read: Vec<String> = Vec::new();
    for node in &parts {
        read.extend(texts(node, number::NODE_INPUT)?);
    }
    for nodes in edits.values().flatten() {
        read.extend(texts(&fields(nodes)?, number::NODE_INPUT)?);
    }
    for output in graph.iter().filter(|field| field.number == number::GRAPH_OUTPUT) {
        read.push(name_of(output, number::VALUE_NAME)?);
    }
    gone.retain(|name| !read.contains(name));
    let mut written = Vec::new();
    let mut node = 0;
    for field in &graph {
        match field.number {
            number::GRAPH_NODE => {
                let own = node;
                node += 1;
                if let Some(nodes) = edits.get(&own) {
                    for node in nodes {
                        put_bytes(&mut written, number::GRAPH_NODE, node);
                    }
                    continue;
                }
                let makes = texts(&parts[own], number::NODE_OUTPUT)?;
                if makes.iter().any(|name| gone.contains(name)) {
                    continue;
                }
            }
            number::GRAPH_INITIALIZER if gone.contains(&name_of(field, number::TENSOR_NAME)?) => continue,
            number::GRAPH_INPUT if gone.contains(&name_of(field, number::VALUE_NAME)?) => continue,
            _ => {}
        }
        written.extend(field.whole);
    }
    for tensor in &tensors {
        put_bytes(&mut written, number::GRAPH_INITIALIZER, &tensor.bytes());
        if listed {
            put_bytes(&mut written, number::GRAPH_INPUT, &tensor.listed());
        }
    }
    Ok(written)
}

/// Names that are in use.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// A name that nothing has yet.
    fn fresh(&mut self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        let name = names.find(|name| !self.taken.contains(name)).expect("numbers without end");
        self.taken.insert(name.clone());
        name
    }
}

/// A tensor that is added.
struct Added<'a> {
    name: String,
    sizes: Vec<u32>,
    values: &'a [f32],
}

impl Added<'_> {
    /// The message of a weight.
    fn bytes(&self) -> Vec<u8> {
        let mut written = Vec::new();
        for &size in &self.sizes {
            put_number(&mut written, number::TENSOR_SIZES, size.into());
        }
        put_number(&mut written, number::TENSOR_TYPE, FLOAT);
        put_bytes(&mut written, number::TENSOR_NAME, self.name.as_bytes());
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        put_bytes(&mut written, number::TENSOR_BYTES, &bytes);
        written
    }

    /// The message of an input of the same name.
    fn listed(&self) -> Vec<u8> {
        let nested = |number: u64, content: &[u8]| {
            let mut written = Vec::new();
            put_bytes(&mut written, number, content);
            written
        };
        let mut sizes = Vec::new();
        for &size in &self.sizes {
            let mut value = Vec::new();
            put_number(&mut value, number::SIZE_VALUE, size.into());
            put_bytes(&mut sizes, number::SHAPE_SIZE, &value);
        }
        let mut tensor = Vec::new();
        put_number(&mut tensor, number::TYPE_ELEMENT, FLOAT);
        put_bytes(&mut tensor, number::TYPE_SHAPE, &sizes);
        let mut written = nested(number::VALUE_NAME, self.name.as_bytes());
        written.extend(nested(number::VALUE_TYPE, &nested(number::TYPE_TENSOR, &tensor)));
        written
    }
}

/// Two nodes that stand in for one, and their weights.
struct Separable<'a> {
    nodes: [Vec<u8>; 2],
    tensors: Vec<Added<'a>>,
}

impl<'a> Separable<'a> {
    fn new(replacement: &Replacement<'a>, node: &[Field<'_>], names: &mut Names) -> std::result::Result<Self, String> {
        let Replacement { layer, depth_multiplier, .. } = *replacement;
        let inputs = texts(node, number::NODE_INPUT)?;
        if texts(node, number::NODE_OPERATOR)? != ["Conv"] || inputs.first() != Some(&layer.input) {
            return Err(format!("it has another node than {}", layer.name));
        }
        let (in_channels, channels) = (layer.layer.in_channels, layer.layer.in_channels * depth_multiplier);
        let size = layer.layer.kernel_size;
        let base = &layer.name;
        let [between, depthwise, pointwise, bias] =
            ["depthwise", "depthwise_weight", "pointwise_weight", "pointwise_bias"]
                .map(|part| names.fresh(&format!("{base}_{part}")));
        let mut tensors = vec![
            Added {
                name: depthwise.clone(),
                sizes: vec![channels, 1, size.height, size.width],
                values: replacement.depthwise,
            },
            Added {
                name: pointwise.clone(),
                sizes: vec![layer.layer.out_channels, channels, 1, 1],
                values: replacement.pointwise,
            },
        ];
        let mut second_inputs = vec![between.clone(), pointwise];
        if let Some(values) = replacement.bias {
            tensors.push(Added { name: bias.clone(), sizes: vec![layer.layer.out_channels], values });
            second_inputs.push(bias);
        } else {
            second_inputs.extend(inputs.get(2).cloned());
        }
        let second_name = names.fresh(&format!("{base}_pointwise"));
        let mut first = Vec::new();
        put_ends(&mut first, &[layer.input.clone(), depthwise], &between, &between);
        let mut second = Vec::new();
        put_ends(&mut second, &second_inputs, &layer.output, &second_name);
        for field in node {
            match field.number {
                number::NODE_INPUT | number::NODE_OUTPUT | number::NODE_NAME => {}
                number::NODE_OPERATOR => {
                    first.extend(field.whole);
                    second.extend(field.whole);
                }
                // The window is the depthwise layer's.
                number::NODE_ATTRIBUTE => {
                    if name_of(field, number::ATTRIBUTE_NAME)? != "group" {
                        first.extend(field.whole);
                    }
                }
                // What else is said of the layer, such as its documentation, is said of what makes its output.
                _ => second.extend(field.whole),
            }
        }
        put_bytes(&mut first, number::NODE_ATTRIBUTE, &attribute("group", INT, number::ATTRIBUTE_INT, &[in_channels]));
        let window = attribute("kernel_shape", INTS, number::ATTRIBUTE_INTS, &[1, 1]);
        put_bytes(&mut second, number::NODE_ATTRIBUTE, &window);
        Ok(Self { nodes: [first, second], tensors })
    }
}

fn put_ends(written: &mut Vec<u8>, inputs: &[String], output: &str, name: &str) {
    for input in inputs {
        put_bytes(written, number::NODE_INPUT, input.as_bytes());
    }
    put_bytes(written, number::NODE_OUTPUT, output.as_bytes());
    put_bytes(written, number::NODE_NAME, name.as_bytes());
}

fn attribute(name: &str, kind: u64, field: u64, values: &[u32]) -> Vec<u8> {
    let mut written = Vec::new();
    put_bytes(&mut written, number::ATTRIBUTE_NAME, name.as_bytes());
    for &value in values {
        put_number(&mut written, field, value.into());
    }
    put_number(&mut written, number::ATTRIBUTE_TYPE, kind);
    written
}

/// A field of a message.
struct Field<'a> {
    number: u64,
    /// The number that it holds; 0 if it holds something else.
    value: u64,
    /// The bytes that it holds; none if it holds a number.
    content: &'a [u8],
    /// All of it.
    whole: &'a [u8],
}

impl Field<'_> {
    fn text(&self) -> std::result::Result<&str, String> {
        std::str::from_utf8(self.content).map_err(|_| "a name is not UTF-8 text".to_owned())
    }
}

/// The texts of all fields of this number.
fn texts(fields: &[Field<'_>], number: u64) -> std::result::Result<Vec<String>, String> {
    fields.iter().filter(|field| field.number == number).map(|field| Ok(field.text()?.to_owned())).collect()
}

/// The name that a message has in this field.
fn name_of(message: &Field<'_>, number: u64) -> std::result::Result<String, String> {
    Ok(texts(&fields(message.content)?, number)?.pop().unwrap_or_default())
}

/// The fields of a message.
fn fields(bytes: &[u8]) -> std::result::Result<Vec<Field<'_>>, String> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let cut_off = || "a field is cut off".to_owned();
        let tag = guard::varint(&mut rest).ok_or_else(cut_off)?;
        let mut value = 0;
        let length = match tag & 7 {
            0 => {
                value = guard::varint(&mut rest).ok_or_else(cut_off)?;
                0
            }
            1 => 8,
            2 => guard::varint(&mut rest).ok_or_else(cut_off)?,
            5 => 4,
            _ => return Err("a field has a wire type that no model has".to_owned()),
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= rest.len()).ok_or_else(cut_off)?;
        let (content, after) = rest.split_at(length);
        rest = after;
        found.push(Field { number: tag >> 3, value, content, whole: &start[..start.len() - rest.len()] });
    }
    Ok(found)
}

fn put_varint(written: &mut Vec<u8>, mut value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
    while value >= 0x80 {
        written.push(value as u8 | 0x80);
        value >>= 7;
    }
    written.push(value.to_le_bytes()[0]);
}

fn put_number(written: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(written, number << 3);
    put_varint(written, value);
}

fn put_bytes(written: &mut Vec<u8>, number: u64, content: &[u8]) {
    put_varint(written, number << 3 | 2);
    put_varint(written, content.len() as u64);
    written.extend(content);
}
