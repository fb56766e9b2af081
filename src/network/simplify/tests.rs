//! Networks before and after: which layers are left, and that they compute the same.

use super::simplify;
use crate::activation::Activation;
use crate::dtype::DType;
use crate::layer::Layer;
use crate::layers::binary::BinaryOperation;
use crate::layers::reduce::Reduction;
use crate::layers::resize::{Coordinates, Interpolation, Nearest, Resize2d};
use crate::network::operation::Operation;
use crate::network::{Network, Value, reference, resolve};
use crate::residual::Residual;
use crate::size::Padding;

/// A network that is being built, and a count for names and values.
struct Build {
    network: Network,
    count: usize,
}

impl Build {
    fn node(&mut self, operation: Operation, inputs: &[Value]) -> Value {
        self.count += 1;
        self.network.node(&format!("n{}", self.count), operation, inputs.iter().copied()).unwrap()
    }

    fn function(&mut self, activation: Activation, x: Value) -> Value {
        self.node(Operation::Function(activation), &[x])
    }

    fn binary(&mut self, operation: BinaryOperation, a: Value, b: Value) -> Value {
        self.node(Operation::Binary(operation), &[a, b])
    }

    /// Values that differ, from -1 to 1.
    fn constant(&mut self, shape: &[u32]) -> Value {
        self.count += 1;
        let start = self.count;
        let count = shape.iter().map(|&size| size as usize).product::<usize>();
        let values: Vec<f32> = (0..count).map(|index| ((index * 7 + start * 5) % 17) as f32 / 8.0 - 1.0).collect();
        self.network.constant(&format!("c{start}"), shape, values).unwrap()
    }

    fn number(&mut self, value: f32) -> Value {
        self.count += 1;
        self.network.constant(&format!("c{}", self.count), &[], vec![value]).unwrap()
    }

    fn convolution(&mut self, x: Value, weight: [u32; 4], groups: u32) -> Value {
        let (weight, bias) = (self.constant(&weight), self.constant(&weight[..1]));
        let operation = Operation::Conv2d { stride: 1.into(), padding: Padding::Same, dilation: 1.into(), groups };
        self.node(operation, &[x, weight, bias])
    }

    /// Planes that are so many times as high and as wide.
    fn resized(&mut self, x: Value, interpolation: Interpolation, [height, width]: [f32; 2]) -> Value {
        self.count += 1;
        let (region, name) = (self.constant(&[0]), format!("scales{}", self.count));
        let scales = self.network.constant(&name, &[4], vec![1.0, 1.0, height, width]).unwrap();
        let operation = Operation::Resize { coordinates: Coordinates::HalfPixel, interpolation, axes: Vec::new() };
        self.node(operation, &[x, region, scales])
    }

    /// The mean of each plane, resized to the plane.
    fn mean(&mut self, x: Value) -> Value {
        let small = self.node(Operation::GlobalPool(Reduction::Mean), &[x]);
        self.resized(small, Interpolation::Linear, [5.0, 6.0])
    }
}

/// The layers of a network that has input `x`, of four channels, and these outputs. What they compute must be what
/// they computed before.
fn layers(build: impl FnOnce(&mut Build, Value) -> Vec<Value>) -> Vec<Layer> {
    const SHAPE: [u32; 4] = [1, 4, 5, 6];
    let mut b = Build { network: Network::new(), count: 0 };
    let x = b.network.input("x", &SHAPE.map(Some));
    for (index, value) in build(&mut b, x).into_iter().enumerate() {
        b.network.output(&format!("y{index}"), value).unwrap();
    }
    let plain = resolve::resolve(&b.network.graph, &[("x".to_owned(), SHAPE.to_vec())]).unwrap();
    let mut simple = plain.clone();
    simplify(&mut simple, DType::F32);
    let values: Vec<f32> = (0..120_u16).map(|index| f32::from(index * 29 % 61) / 10.0 - 3.0).collect();
    let inputs = [("x", &SHAPE[..], &values[..])];
    let [expected, actual] =
        [&plain, &simple].map(|resolved| reference::run(resolved, DType::F32, &inputs, |_| Ok(())).unwrap());
    for (expected, actual) in expected.iter().zip(&actual) {
        assert_eq!((&expected.name, &expected.shape), (&actual.name, &actual.shape));
        for (right, value) in expected.values.iter().zip(&actual.values) {
            assert!((right - value).abs() <= 1e-5 * (1.0 + right.abs()), "{value} is not {right}: {:?}", simple.layers);
        }
    }
    simple.layers.into_iter().map(|layer| layer.layer).collect()
}

fn activation(layer: &Layer) -> Activation {
    layer.describe().activation()
}

#[test]
fn a_layer_takes_in_the_function_behind_it() {
    let with = |function| {
        layers(|b, x| {
            vec![{
                let y = b.convolution(x, [3, 4, 3, 3], 1);
                b.function(function, y)
            }]
        })
    };
    assert_eq!(with(Activation::Relu).iter().map(activation).collect::<Vec<_>>(), [Activation::Relu]);
    // Its errors could not be bounded by what the layer is given.
    assert_eq!(with(Activation::Exp).len(), 2);
    // Two readers, and an output.
    let two = layers(|b, x| {
        let y = b.convolution(x, [3, 4, 3, 3], 1);
        vec![b.function(Activation::Relu, y), b.function(Activation::Tanh, y)]
    });
    assert_eq!(two.len(), 3);
    let output = layers(|b, x| {
        let y = b.convolution(x, [3, 4, 3, 3], 1);
        vec![y, b.function(Activation::Relu, y)]
    });
    assert_eq!(output.len(), 2);
}

#[test]
fn functions_in_a_row_are_one_where_there_is_one() {
    use Activation::{Clamp, HardSigmoid, HardSwish, HardSwishLinear, Linear, Relu, Relu6, Tanh};
    let two = |first, second| {
        layers(|b, x| {
            vec![{
                let y = b.function(first, x);
                b.function(second, y)
            }]
        })
    };
    for (first, second, both) in [
        (Relu, Relu6, Clamp(0.0, 6.0)),
        (Clamp(-1.0, 2.0), Clamp(1.0, 5.0), Clamp(1.0, 2.0)),
        // The second range is past the first.
        (Clamp(-1.0, 0.0), Clamp(1.0, 2.0), Clamp(1.0, 1.0)),
        (Linear(2.0, 1.0), Linear(0.5, 3.0), Linear(1.0, 3.5)),
        (Linear(0.5, 0.25), Clamp(0.0, 1.0), HardSigmoid(0.5, 0.25)),
        (HardSwish, Linear(2.0, 1.0), HardSwishLinear(2.0, 1.0)),
    ] {
        assert_eq!(two(first, second).iter().map(activation).collect::<Vec<_>>(), [both], "{first:?} {second:?}");
    }
    for (first, second) in [(Tanh, Relu), (Relu, Tanh), (Linear(2.0, 1.0), Relu)] {
        assert_eq!(two(first, second).len(), 2, "{first:?} {second:?}");
    }
}

#[test]
fn a_function_that_changes_nothing_goes() {
    let between = layers(|b, x| {
        let one = b.number(1.0);
        let y = b.function(Activation::Exp, x);
        let same = b.binary(BinaryOperation::Mul, y, one);
        // Another reader of what is before it, and two of it.
        vec![b.function(Activation::Floor, y), b.function(Activation::Exp, same), b.function(Activation::Ceil, same)]
    });
    assert_eq!(between.len(), 4);
    // An output must be written.
    let output = layers(|b, x| {
        let one = b.number(1.0);
        vec![b.binary(BinaryOperation::Mul, x, one)]
    });
    assert_eq!(output.len(), 1);
}

#[test]
fn functions_that_are_written_out_are_recognised() {
    use Activation::{Clamp, Erf, Gelu, HardSigmoid, HardSwish, Linear, Mish, Relu6, Sigmoid, Silu, Softplus, Tanh};
    let product = |functions: &[Activation], factor: Option<f32>| {
        layers(|b, x| {
            let gate = functions.iter().fold(x, |value, &function| b.function(function, value));
            let own = match factor {
                Some(factor) => {
                    let factor = b.number(factor);
                    b.binary(BinaryOperation::Mul, x, factor)
                }
                None => x,
            };
            vec![b.binary(BinaryOperation::Mul, own, gate)]
        })
    };
    let gelu = [Linear(std::f32::consts::FRAC_1_SQRT_2, 0.0), Erf, Linear(1.0, 1.0)];
    for (functions, factor, name) in [
        (&[Sigmoid][..], None, Silu),
        (&[Softplus, Tanh], None, Mish),
        (&[HardSigmoid(1.0 / 6.0, 0.5)], None, HardSwish),
        (&[Linear(1.0, 3.0), Relu6, Linear(1.0 / 6.0, 0.0)], None, HardSwish),
        (&[Linear(1.0, 3.0), Clamp(0.0, 6.0)], Some(1.0 / 6.0), HardSwish),
        (&gelu, Some(0.5), Gelu),
    ] {
        let found = product(functions, factor);
        assert_eq!(found.iter().map(activation).collect::<Vec<_>>(), [name], "{functions:?}");
    }
    for functions in [&[Tanh][..], &[HardSigmoid(0.2, 0.5)], &[Linear(1.0, 2.0), Relu6]] {
        assert!(product(functions, None).len() > 1, "{functions:?}");
    }
    // Somebody else reads the gate.
    let read = layers(|b, x| {
        let gate = b.function(Sigmoid, x);
        vec![gate, b.binary(BinaryOperation::Mul, x, gate)]
    });
    assert_eq!(read.len(), 2);
}

#[test]
fn a_convolution_takes_in_factors_and_summands() {
    let line = layers(|b, x| {
        let y = b.convolution(x, [3, 4, 3, 3], 1);
        let (two, one) = (b.number(2.0), b.number(1.0));
        let y = b.binary(BinaryOperation::Mul, y, two);
        let y = b.binary(BinaryOperation::Add, y, one);
        vec![b.function(Activation::Relu, y)]
    });
    assert_eq!(line.iter().map(activation).collect::<Vec<_>>(), [Activation::Relu]);
    let norm = |is_read: bool| {
        layers(|b, x| {
            let y = b.convolution(x, [4, 2, 3, 3], 2);
            let (scale, shift) = (b.constant(&[4, 1, 1]), b.constant(&[1, 4, 1, 1]));
            let z = b.binary(BinaryOperation::Mul, y, scale);
            let z = b.binary(BinaryOperation::Sub, z, shift);
            if is_read { vec![z, y] } else { vec![z] }
        })
    };
    assert_eq!((norm(false).len(), norm(true).len()), (1, 2));
    // A transposed one, whose weights are in another order.
    let transposed = layers(|b, x| {
        let weight = b.constant(&[4, 3, 2, 2]);
        let operation = Operation::ConvTranspose2d {
            stride: 2.into(),
            padding: Padding::Valid,
            output_padding: 0.into(),
            output_size: None,
            dilation: 1.into(),
            groups: 2,
        };
        let y = b.node(operation, &[x, weight]);
        let number = b.number(3.0);
        vec![b.binary(BinaryOperation::Mul, y, number)]
    });
    assert_eq!(transposed.len(), 1);
    // Behind a function, a factor cannot go into weights.
    let behind = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 1, 1], 1);
        let y = b.function(Activation::Tanh, y);
        let scale = b.constant(&[4, 1, 1]);
        vec![b.binary(BinaryOperation::Mul, y, scale)]
    });
    assert_eq!(behind.len(), 2);
}

#[test]
fn a_sum_becomes_a_residual() {
    let residuals = |layers: &[Layer]| {
        layers
            .iter()
            .map(|layer| matches!(layer, Layer::Conv2d(geometry) if geometry.residual.is_some()))
            .collect::<Vec<_>>()
    };
    let own = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 3, 3], 1);
        let sum = b.binary(BinaryOperation::Add, x, y);
        vec![b.function(Activation::Relu, sum)]
    });
    assert_eq!(residuals(&own), [true]);
    assert_eq!(activation(&own[0]), Activation::Relu);
    // The later of two convolutions takes the other's result.
    let two = layers(|b, x| {
        let (y, z) = (b.convolution(x, [4, 4, 3, 3], 1), b.convolution(x, [4, 4, 1, 1], 1));
        vec![b.binary(BinaryOperation::Add, z, y)]
    });
    assert_eq!(residuals(&two), [false, true]);
    // One channel for all does not have the output's shape; a function is between; somebody else reads it.
    let broadcast = layers(|b, x| {
        let y = b.convolution(x, [1, 4, 3, 3], 1);
        vec![b.binary(BinaryOperation::Add, x, y)]
    });
    let function = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 3, 3], 1);
        let y = b.function(Activation::Tanh, y);
        vec![b.binary(BinaryOperation::Add, x, y)]
    });
    let read = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 3, 3], 1);
        vec![b.binary(BinaryOperation::Add, x, y), y]
    });
    for other in [broadcast, function, read] {
        assert_eq!(residuals(&other), [false, false]);
    }
    // What is resized takes one too.
    let resized = layers(|b, x| {
        let y = b.mean(x);
        vec![b.binary(BinaryOperation::Add, x, y)]
    });
    assert!(matches!(resized[..], [_, Layer::Resize2d(Resize2d { residual: true, .. })]), "{resized:?}");
    // Of two layers, that which can take the function behind the sum as well.
    let convolution_and_resized = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 1, 1], 1);
        let z = b.mean(x);
        let sum = b.binary(BinaryOperation::Add, y, z);
        vec![b.function(Activation::Relu, sum)]
    });
    let with_function = layers(|b, x| {
        let (y, z) = (b.convolution(x, [4, 4, 1, 1], 1), b.convolution(x, [4, 4, 3, 3], 1));
        let z = b.function(Activation::Relu, z);
        let sum = b.binary(BinaryOperation::Add, y, z);
        vec![b.function(Activation::Relu6, sum)]
    });
    for layers in [convolution_and_resized, with_function] {
        let Some(Layer::Conv2d(last)) = layers.last() else { panic!("{layers:?}") };
        assert_eq!(last.residual, Residual::BeforeActivation, "{layers:?}");
    }
    // Behind a ramp it is added last, and then nothing follows it.
    let last = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 3, 3], 1);
        let y = b.function(Activation::Relu, y);
        let sum = b.binary(BinaryOperation::Add, x, y);
        vec![b.function(Activation::Relu6, sum)]
    });
    assert_eq!(residuals(&last), [true, false]);
    let Layer::Conv2d(geometry) = last[0] else { panic!("{last:?}") };
    assert_eq!((geometry.residual, geometry.activation), (Residual::AfterActivation, Activation::Relu));
}

#[test]
fn a_convolution_takes_in_the_scale_of_its_input() {
    let scaled = |layers: &[Layer]| {
        layers.iter().filter(|layer| matches!(layer, Layer::Conv2d(geometry) if geometry.input_scale)).count()
    };
    // The factor on either side, with and without a residual.
    for (side, is_sum) in [(0, false), (1, true)] {
        let squeezed = layers(|b, x| {
            let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let [first, second] = if side == 0 { [scale, x] } else { [x, scale] };
            let product = b.binary(BinaryOperation::Mul, first, second);
            let y = b.convolution(product, [4, 4, 1, 1], 1);
            vec![if is_sum { b.binary(BinaryOperation::Add, y, x) } else { y }]
        });
        assert_eq!((squeezed.len(), scaled(&squeezed)), (2, 1));
    }
    // What is behind the convolution still goes into its weights.
    let behind = layers(|b, x| {
        let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
        let product = b.binary(BinaryOperation::Mul, x, scale);
        let y = b.convolution(product, [4, 4, 1, 1], 1);
        let (factors, shifts) = (b.constant(&[4, 1, 1]), b.constant(&[4, 1, 1]));
        let y = b.binary(BinaryOperation::Mul, y, factors);
        let y = b.binary(BinaryOperation::Add, y, shifts);
        vec![b.function(Activation::Relu, y)]
    });
    assert_eq!((behind.len(), scaled(&behind)), (2, 1));
    // Of another operation, of a larger filter, of one number for all channels, and where somebody else reads the product.
    let other = |operation, weight: [u32; 4], is_read: bool, is_one: bool| {
        layers(|b, x| {
            let pooled = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let scale = if is_one { b.convolution(pooled, [1, 4, 1, 1], 1) } else { pooled };
            let product = b.binary(operation, x, scale);
            let y = b.convolution(product, weight, 1);
            if is_read { vec![y, product] } else { vec![y] }
        })
    };
    let (mul, dense) = (BinaryOperation::Mul, [3, 4, 1, 1]);
    assert_eq!(scaled(&other(mul, dense, false, false)), 1);
    for (operation, weight, is_read, is_one) in [
        (BinaryOperation::Add, dense, false, false),
        (mul, [3, 4, 3, 3], false, false),
        (mul, dense, true, false),
        (mul, dense, false, true),
    ] {
        assert_eq!(
            scaled(&other(operation, weight, is_read, is_one)),
            0,
            "{operation:?} {weight:?} {is_read} {is_one}"
        );
    }
}

#[test]
fn a_product_and_a_sum_are_one_layer() {
    let sum = |is_read: bool, is_own: bool| {
        layers(|b, x| {
            let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let y = b.binary(BinaryOperation::Mul, x, scale);
            let other = if is_own { x } else { b.function(Activation::Exp, x) };
            let sum = b.binary(BinaryOperation::Add, y, other);
            let z = b.function(Activation::Relu, sum);
            if is_read { vec![z, y] } else { vec![z] }
        })
    };
    let binaries = |layers: &[Layer]| layers.iter().filter(|layer| matches!(layer, Layer::Binary(_))).count();
    for is_own in [true, false] {
        assert_eq!((binaries(&sum(false, is_own)), binaries(&sum(true, is_own))), (1, 2));
    }
    // Of a function, and of a tensor that is repeated, there is no residual.
    let functions = layers(|b, x| {
        let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
        let y = b.binary(BinaryOperation::Mul, x, scale);
        let y = b.function(Activation::Tanh, y);
        vec![b.binary(BinaryOperation::Add, y, x)]
    });
    let repeated = layers(|b, x| {
        let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
        let y = b.binary(BinaryOperation::Mul, scale, scale);
        vec![b.binary(BinaryOperation::Add, y, x)]
    });
    assert_eq!([functions, repeated].map(|layers| binaries(&layers)), [2, 2]);
}

#[test]
fn a_convolution_comes_before_its_planes_are_enlarged() {
    let resized = |factor: f32, weight: [u32; 4], interpolation, function, residual: bool| {
        layers(|b, x| {
            let large = b.resized(x, interpolation, [factor, 1.5 * factor]);
            let y = b.convolution(large, weight, 1);
            let y = b.function(function, y);
            vec![if residual { b.binary(BinaryOperation::Add, y, large) } else { y }]
        })
    };
    let comes_first = |layers: &[Layer]| matches!(layers, [Layer::Conv2d(_), Layer::Resize2d(_)]);
    let cubic = Interpolation::Cubic { coefficient: -0.75, exclude_outside: true };
    let (none, dense) = (Activation::None, [3, 4, 1, 1]);
    for interpolation in [Interpolation::Linear, Interpolation::Nearest(Nearest::Floor), cubic] {
        let enlarged = resized(2.0, dense, interpolation, none, false);
        assert!(comes_first(&enlarged), "{enlarged:?}");
    }
    // There would be more to enlarge.
    assert!(!comes_first(&resized(2.0, [5, 4, 1, 1], Interpolation::Linear, none, false)));
    // What is added to its result is added behind both.
    let summed = layers(|b, x| {
        let [large, other] =
            [x, b.function(Activation::Exp, x)].map(|small| b.resized(small, Interpolation::Linear, [2.0; 2]));
        let y = b.convolution(large, [4, 4, 1, 1], 1);
        vec![b.binary(BinaryOperation::Add, y, other)]
    });
    let [.., Layer::Conv2d(convolution), _, Layer::Resize2d(resize)] = summed[..] else { panic!("{summed:?}") };
    assert_eq!((convolution.residual, resize.residual), (Residual::None, true));
    // Planes that are seen in another shape are others.
    let reshaped = layers(|b, x| {
        let large = b.resized(x, Interpolation::Linear, [2.0; 2]);
        let shape = b.network.integers("shape", &[4], vec![1, 8, 5, 12]).unwrap();
        let seen = b.node(Operation::Reshape { zero_is_zero: false }, &[large, shape]);
        vec![b.convolution(seen, [3, 8, 1, 1], 1)]
    });
    assert!(!comes_first(&reshaped), "{reshaped:?}");
    // Of a larger filter, with a function behind it, of fewer pixels, and where somebody else reads the planes.
    for (factor, weight, function, residual) in [
        (2.0, [3, 4, 3, 3], none, false),
        (2.0, dense, Activation::Relu, false),
        (0.5, dense, none, false),
        (2.0, [4, 4, 1, 1], none, true),
    ] {
        let others = resized(factor, weight, Interpolation::Linear, function, residual);
        assert!(!comes_first(&others), "{others:?}");
    }
}

#[test]
fn two_layers_of_one_pixel_are_a_perceptron() {
    let excited = |hidden: u32, is_read: bool| {
        layers(|b, x| {
            let y = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let y = b.convolution(y, [hidden, 4, 1, 1], 1);
            let y = b.function(Activation::Relu, y);
            let z = b.convolution(y, [3, hidden, 1, 1], 1);
            let z = b.function(Activation::Sigmoid, z);
            if is_read { vec![z, y] } else { vec![z] }
        })
    };
    let [_, Layer::Perceptron(both)] = excited(2, false)[..] else { panic!("no perceptron") };
    assert_eq!((both.in_features, both.hidden_features, both.out_features), (4, 2, 3));
    assert_eq!((both.hidden_activation, both.activation), (Activation::Relu, Activation::Sigmoid));
    // Where somebody else reads what is between them, and where one workgroup would have too much to do.
    assert_eq!([excited(2, true), excited(1 << 13, false)].map(|layers| layers.len()), [3, 3]);
    assert_eq!([1 << 11, (1 << 11) + 1].map(|hidden| excited(hidden, false).len()), [2, 3]);
    // Where what is between them is seen in another shape: of more images, or of fewer.
    let reshaped = |images: [u32; 3], [hidden, in_features]: [u32; 2]| {
        let mut b = Build { network: Network::new(), count: 0 };
        let [first, second] = [0, 1].map(|at| [images[at], images[at + 1]]);
        let x = b.network.input("x", &[first[0], 4, 1, 1].map(Some));
        let y = b.convolution(x, [hidden, 4, 1, 1], 1);
        let shape = [second[0], in_features, 1, 1].map(i64::from).to_vec();
        let shape = b.network.integers("shape", &[4], shape).unwrap();
        let y = b.node(Operation::Reshape { zero_is_zero: false }, &[y, shape]);
        let z = b.convolution(y, [3, in_features, 1, 1], 1);
        b.network.output("z", z).unwrap();
        let mut resolved = resolve::resolve(&b.network.graph, &[("x".to_owned(), vec![first[0], 4, 1, 1])]).unwrap();
        simplify(&mut resolved, DType::F32);
        resolved.layers.len()
    };
    assert_eq!(reshaped([2, 1, 1], [4, 8]), 2);
    assert_eq!(reshaped([1, 2, 2], [8, 4]), 2);
    // Of many images.
    assert_eq!([8, 9].map(|images| reshaped([images, images, images], [4, 4])), [1, 2]);
    // Of more than one pixel.
    let wide = layers(|b, x| {
        let y = b.convolution(x, [2, 4, 1, 1], 1);
        vec![b.convolution(y, [3, 2, 1, 1], 1)]
    });
    assert_eq!(wide.len(), 2);
}

#[test]
fn depthwise_and_pointwise_become_separable() {
    let two = |is_read: bool, groups: u32| {
        layers(|b, x| {
            let y = b.convolution(x, [4, 4 / groups, 3, 3], groups);
            let y = b.function(Activation::Relu6, y);
            let z = b.convolution(y, [3, 4, 1, 1], 1);
            if is_read { vec![z, y] } else { vec![z] }
        })
    };
    assert!(matches!(two(false, 4)[..], [Layer::SeparableConv2d(_)]));
    assert_eq!([two(true, 4), two(false, 2)].map(|layers| layers.len()), [2, 2]);
}

#[test]
fn joined_layers_write_where_they_are_joined() {
    let joined = |is_read: bool, reads_itself: bool| {
        layers(|b, x| {
            let y = b.convolution(x, [4, 4, 3, 3], 1);
            let z = b.convolution(if reads_itself { y } else { x }, [2, 4, 3, 3], 1);
            let joined = b.node(Operation::Concat { axis: 1 }, &[y, z]);
            if is_read { vec![joined, y] } else { vec![joined] }
        })
    };
    assert_eq!(joined(false, false).len(), 2);
    // What is an output by itself is copied; and no layer may read what it writes to.
    assert_eq!([joined(true, false), joined(false, true)].map(|layers| layers.len()), [3, 3]);
}

#[test]
fn what_nobody_reads_goes() {
    let unread = layers(|b, x| {
        let y = b.convolution(x, [4, 4, 3, 3], 1);
        b.function(Activation::Exp, y);
        vec![b.function(Activation::Exp, x)]
    });
    assert_eq!(unread.len(), 1);
}
