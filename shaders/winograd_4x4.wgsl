// winograd_4x4: a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(4 x 4, 3 x 3): 36 products, not 144.
//
// Formula    As winograd's, for each tile of 4 x 4 outputs, x its 6 x 6 inputs. Its transforms are those for the points
//            0, 1, -1, 2, -2 and infinity.
// Source     Lavin and Gray, Fast algorithms for convolutional neural networks, 2016, section 4.2
// Mapping    As winograd's, with 36 places in a tile: see there, and shared/transforms.wgsl.
// Traffic    The transformed input has 2.25 times the input's values, the sums 2.25 times the output's. Each is written
//            once. The product reads the one, and transform_output the other, once.
// Error      At most about (C + 20 + 3) * 2^-24 * |A^T| [ sum over c of (|G| |w| |G^T|) * (|B^T| |x| |B|) ] |A|, for C
//            input channels per group. The largest sums of a row of |A^T|, |G| and |B^T| are 19, 1 and 10: so at most
//            36,100 times the sum over c of max |w| max |x|, both over one tile and one filter, where winograd has 81.
//            That is why nothing chooses it by itself.
// Needs      What winograd needs, and to be asked for.
// Bound by   The product for many channels; memory for few.
// Rust row   src/kernels/winograd_4x4.rs

const OUTPUTS: u32 = 4u;  // of a tile, on each side

fn filter_transform(a: f32, b: f32, c: f32) -> Line {
    let even = 1.0 / 24.0 * a + 1.0 / 6.0 * c;
    let odd = 1.0 / 12.0 * b;
    return Line(0.25 * a, -1.0 / 6.0 * (a + c + b), -1.0 / 6.0 * (a + c - b), even + odd, even - odd, c);
}

fn input_transform(x: Line) -> Line {
    let even = x[4] - 4.0 * x[2];
    let odd = x[3] - 4.0 * x[1];
    let even_of_2 = x[4] - x[2];
    let odd_of_2 = 2.0 * (x[3] - x[1]);
    return Line(
        4.0 * x[0] - 5.0 * x[2] + x[4], even + odd, even - odd,
        even_of_2 + odd_of_2, even_of_2 - odd_of_2, 4.0 * x[1] - 5.0 * x[3] + x[5],
    );
}

fn output_transform(m: Line) -> OutputLine {
    let even = m[1] + m[2];
    let odd = m[1] - m[2];
    let even_of_2 = m[3] + m[4];
    let odd_of_2 = m[3] - m[4];
    return OutputLine(
        m[0] + even + even_of_2, odd + 2.0 * odd_of_2, even + 4.0 * even_of_2, odd + 8.0 * odd_of_2 + m[5],
    );
}
