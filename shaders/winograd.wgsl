// winograd: a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(2 x 2, 3 x 3): 16 products, not 36.
//
// Formula    y = A^T [ sum over c of (G w G^T) * (B^T x B) ] A for each tile of 2 x 2 outputs, x its 4 x 4 inputs, *
//            value by value; then act(b[o] + r[n,o,i,j] + y)
// Source     Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional
//            neural networks, 2016
// Mapping    Three entry points, in shared/transforms.wgsl. One invocation: a filter of one input channel
//            (transform_filter, when weights are packed), a tile of an input channel (transform_input), a tile of an
//            output channel (transform_output).
//            Between the last two, whatever kernel is best for it makes the sums, as a 1 x 1 convolution of 16 times as
//            many groups: one for each of the 16 places in a tile. A transformed tensor has 16 planes, one for each
//            place; an invocation has the same index in all of them.
//            On GPUs there are always a multiple of 4 tiles, so that the product can take them in fours. A step may have
//            some of the rows of tiles of an image, so that what is transformed stays in a cache.
// Traffic    The transformed input has 4 times the input's values, the sums 4 times the output's. Each is written once.
//            The product reads the one, and transform_output the other, once.
// Error      At most about (C + 10 + 3) * 2^-24 * |A^T| [ sum over c of (|G| |w| |G^T|) * (|B^T| |x| |B|) ] |A|, for C
//            input channels per group. The largest sums of a row of |A^T|, |G| and |B^T| are 3, 1.5 and 2: so at most
//            81 times the sum over c of max |w| max |x|, both over one tile and one filter.
// Needs      Rounding fast, since its errors may pass a sum's bound; stride 1, dilation 1; 16 input and 16 output channels
//            per group; a buffer and a binding that hold the transformed weights, or one transformed image.
// Bound by   The product for many channels; memory for few.
// Rust row   src/kernels/winograd.rs

const OUTPUTS: u32 = 2u;  // of a tile, on each side

fn filter_transform(a: f32, b: f32, c: f32) -> Line {
    return Line(a, 0.5 * (a + b + c), 0.5 * (a - b + c), c);
}

fn input_transform(x: Line) -> Line {
    return Line(x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]);
}

fn output_transform(m: Line) -> OutputLine {
    return OutputLine(m[0] + m[1] + m[2], m[1] - m[2] - m[3]);
}
