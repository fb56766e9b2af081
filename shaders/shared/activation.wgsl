// activation: the functions that may follow a sum. They are numbered as in src/activation.rs, whose `parameters` are `a` and
// `b` here.
//
// Comparisons, and not min and max, let a NaN pass through. WGSL's own tanh may be off by 1e-5 and exp(x) - 1 loses all
// digits near 0, so both are computed here.

fn activate(x: f32, activation: u32, a: f32, b: f32) -> f32 {
    switch activation {
        case 1u: { return limit(x, a, b); }
        case 2u: { return select(x, x * a, x < 0.0); }
        case 3u: { return x / (1.0 + exp(-x)); }
        case 4u: { return hard_swish(x); }
        case 5u: { return sigmoid(x); }
        case 6u: { return hyperbolic_tangent(x); }
        case 7u: { return limit(x * a + b, 0.0, 1.0); }
        case 8u: { return select(x, a * exponential_less_one(x), x < 0.0); }
        case 9u: { return 0.5 * x * (1.0 + error_function(x * 0.7071067811865476)); }
        case 10u: { return x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x)); }
        case 11u: { return softplus(x); }
        case 12u: { return x * hyperbolic_tangent(softplus(x)); }
        case 13u: { return x * a + b; }
        case 14u: { return error_function(x); }
        case 15u: { return exp(x); }
        case 16u: { return log(x); }
        case 17u: { return sqrt(x); }
        case 18u: { return abs(x); }
        case 19u: { return 1.0 / x; }
        case 20u: { return floor(x); }
        case 21u: { return ceil(x); }
        case 22u: { return hard_swish(x) * a + b; }
        default: { return x; }
    }
}

fn limit(x: f32, low: f32, high: f32) -> f32 {
    let raised = select(x, low, x < low);
    return select(raised, high, x > high);
}

fn hard_swish(x: f32) -> f32 { return select(x * (min(x + 3.0, 6.0) / 6.0), 0.0, x <= -3.0); }

fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }

// exp(x) - 1: near 0 by its series, to the term that is the last one to matter.
fn exponential_less_one(x: f32) -> f32 {
    let series = x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x / 720.0)))));
    return select(exp(x) - 1.0, series, abs(x) < 0.25);
}

// Past 10 it is 1 to the last digit, and exp may overflow.
fn hyperbolic_tangent(x: f32) -> f32 {
    let raised = exponential_less_one(2.0 * select(abs(x), 10.0, abs(x) > 10.0));
    return sign_of(x) * (raised / (raised + 2.0));
}

// log(1 + exp(x)), which neither overflows nor loses what is added to 1.
fn softplus(x: f32) -> f32 {
    let small = exp(-abs(x));
    let sum = 1.0 + small;
    // What rounding took from the sum is put back: Higham, Accuracy and Stability of Numerical Algorithms, problem 1.5.
    let logarithm = select(log(sum) * small / (sum - 1.0), small, sum == 1.0);
    return select(logarithm, x + logarithm, x > 0.0);
}

// Near 0 by its series, elsewhere by Abramowitz and Stegun, Handbook of Mathematical Functions, formula 7.1.26, which is
// off by at most 1.5e-7.
fn error_function(x: f32) -> f32 {
    let size = abs(x);
    let square = x * x;
    let series = x * 1.1283791670955126 * (1.0 - square * (1.0 / 3.0 - square * (1.0 / 10.0 - square * (1.0 / 42.0 - square * (1.0 / 216.0 - square / 1320.0)))));
    let t = 1.0 / (1.0 + 0.3275911 * size);
    let polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return select(sign_of(x) * (1.0 - polynomial * exp(-size * size)), series, size < 0.5);
}

// 1 or -1, or a NaN's own.
fn sign_of(x: f32) -> f32 { return select(select(x, 1.0, x >= 0.0), -1.0, x < 0.0); }
