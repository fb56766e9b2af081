//! Reads bytes as an ONNX file and, if that is little work, computes the network: for bytes that may be anything.

use sepconv::{Layer, Network};

/// The most multiply-adds and values.
const LITTLE: u64 = 1 << 16;

fn count(shape: &[u32]) -> u64 {
    shape.iter().fold(1, |count: u64, &size| count.saturating_mul(size.into()))
}

/// Reads a file, looks at its layers and computes them from ones, the sizes that are not declared being 1.
pub fn compute(bytes: &[u8]) {
    let Ok(network) = Network::from_onnx(bytes) else { return };
    let shape = |name: &str| {
        let declared = network.input_shape(name).into_iter().flatten();
        declared.map(|size| size.unwrap_or(1)).collect::<Vec<_>>()
    };
    let shapes: Vec<_> = network.input_names().into_iter().map(|name| (name, shape(name))).collect();
    let given: Vec<_> = shapes.iter().map(|(name, shape)| (*name, &shape[..])).collect();
    let Ok(layers) = network.layers(&given) else { return };
    let work = |layer: &Layer| layer.multiply_adds().saturating_add(count(&layer.output_shape()));
    let parts = layers.iter().map(|(_, layer)| work(layer)).chain(shapes.iter().map(|(_, shape)| count(shape)));
    if parts.fold(0, u64::saturating_add) > LITTLE {
        return;
    }
    let ones = |shape: &[u32]| vec![1.0; usize::try_from(count(shape)).expect("few")];
    let ones: Vec<Vec<f32>> = shapes.iter().map(|(_, shape)| ones(shape)).collect();
    let inputs: Vec<_> = shapes.iter().zip(&ones).map(|((name, shape), ones)| (*name, &shape[..], &ones[..])).collect();
    // What is computed has as many values as its shape says.
    for output in network.reference(&inputs, |_| Ok(())).unwrap_or_default() {
        assert_eq!(output.values.len() as u64, count(&output.shape), "{}", output.name);
    }
}
