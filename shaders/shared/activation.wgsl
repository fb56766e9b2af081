// activation: the functions that may follow a sum. They are numbered as in src/activation.rs, whose `parameters` are `a` and
// `b` here.
//
// WGSL's own tanh may be off by 1e-5 and exp(x) - 1 loses all digits near 0, so both are computed here.

// That of a NaN is a NaN. A min or a max may lose it, and NVIDIA's compiler also makes these of comparisons.
fn activate(x: f32, activation: u32, a: f32, b: f32) -> f32 {
    if activation == 0u { return x; }
    return select(activation_of(x, activation, a, b), nan(), is_nan(x));
}

fn activation_of(x: f32, activation: u32, a: f32, b: f32) -> f32 {
    switch activation {
        case 1u: { return limit(x, a, b); }
        case 2u: { return select(x, x * a, x < 0.0); }
        case 3u: { return x / (1.0 + exp(-x)); }
        case 4u: { return hard_swish(x); }
        case 5u: { return sigmoid(x); }
        case 6u: { return hyperbolic_tangent(x); }
        case 7u: { return hard_sigmoid(x * a + b); }
        case 8u: { return select(x, a * exponential_less_one(x), x < 0.0); }
        case 9u: { return gelu(x); }
        case 10u: { return x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x)); }
        case 11u: { return softplus(x); }
        case 12u: { return mish(x); }
        case 13u: { return x * a + b; }
        case 14u: { return error_function(x); }
        case 15u: { return exp(x); }
        case 16u: { return logarithm(x); }
        case 17u: { return sqrt(x); }
        case 18u: { return abs(x); }
        case 19u: { return 1.0 / x; }
        case 20u: { return floor(x); }
        case 21u: { return ceil(x); }
        case 22u: { return hard_swish(x) * a + b; }
        default: { return x; }
    }
}

fn limit(x: f32, low: f32, high: f32) -> f32 { return min(max(x, low), high); }

// A NaN may also be an infinity times a slope of 0.
fn hard_sigmoid(x: f32) -> f32 { return select(limit(x, 0.0, 1.0), x, is_nan(x)); }

fn hard_swish(x: f32) -> f32 { return select(x * (min(x + 3.0, 6.0) / 6.0), 0.0, x <= -3.0); }

fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }

// WGSL leaves open what that of a number below 0 is, and its own may miss that of 0.
fn logarithm(x: f32) -> f32 {
    // The bits of minus infinity. Not from a constant: WGSL refuses one that the compiler knows of.
    var bits = 0xff800000u;
    if x > 0.0 { return log(x); }
    return select(nan(), bitcast<f32>(bits), x == 0.0);
}

// exp(x) - 1: near 0 by its series, to the term that is the last one to matter.
fn exponential_less_one(x: f32) -> f32 {
    let series = x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0
        + x * (1.0 / 720.0 + x * (1.0 / 5040.0 + x / 40320.0)))))));
    return select(exp(x) - 1.0, series, abs(x) < 0.5);
}

// Past 10 it is 1 to the last digit, and exp may overflow.
fn hyperbolic_tangent(x: f32) -> f32 {
    let raised = exponential_less_one(2.0 * select(abs(x), 10.0, abs(x) > 10.0));
    return sign_of(x) * (raised / (raised + 2.0));
}

// log(1 + exp(x)) is max(x, 0) + log(1 + s), s being exp(-|x|). WGSL's log may be off by 2^-21 where its result is near 0,
// so that of 1 + s is computed as twice the inverse hyperbolic tangent of s / (2 + s), which is at most 1/3, by its series.
fn softplus(x: f32) -> f32 {
    let small = exp(-abs(x));
    let z = small / (2.0 + small);
    let square = z * z;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square * (1.0 / 9.0
        + square * (1.0 / 11.0 + square * (1.0 / 13.0 + square / 15.0))))));
    let logarithm = 2.0 * z * series;
    return select(logarithm, x + logarithm, x > 0.0);
}

// x tanh(log(1 + e)), e being exp(x), is x n / (n + 2), n being e (e + 2). Beyond the limits its factor is 1 or 0.
fn mish(x: f32) -> f32 {
    let e = exp(limit(x, -200.0, 20.0));
    let n = e * (e + 2.0);
    return select(x, -200.0, x < -200.0) * (n / (n + 2.0));
}

// Near 0 by its series, elsewhere by its complement.
fn error_function(x: f32) -> f32 {
    let square = x * x;
    let series = x * 1.1283791670955126 * (1.0 - square * (1.0 / 3.0 - square * (1.0 / 10.0 - square * (1.0 / 42.0
        - square * (1.0 / 216.0 - square / 1320.0)))));
    return select(sign_of(x) * (1.0 - complement_of_error_function(abs(x))), series, abs(x) < 0.5);
}

// Of a number that is not negative. The form is that of Press et al., Numerical Recipes, section 6.2, whose relative error is
// small in the tail too; the polynomial was fitted to 1e-7.
fn complement_of_error_function(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = -1.26549399 + t * (0.999606013 + t * (0.377980918 + t * (0.0772511214 + t * (-0.127350718
        + t * (0.167049542 + t * (-1.0007509 + t * (1.3890574 + t * (-0.780854642 + t * 0.163505271))))))));
    return t * exp(polynomial - x * x);
}

// x times the share of the normal distribution that lies below it.
fn gelu(x: f32) -> f32 {
    let tail = 0.5 * complement_of_error_function(abs(x) * 0.7071067811865476);
    return x * select(1.0 - tail, tail, x < 0.0);
}

fn sign_of(x: f32) -> f32 { return select(1.0, -1.0, x < 0.0); }
