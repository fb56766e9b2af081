//! Arguments as text, in PyTorch's words: what the command takes, and what JavaScript's values look like when written
//! out.

use std::str::FromStr;

use crate::activation::Activation;
use crate::dtype::DType;
use crate::residual::Residual;
use crate::rounding::Rounding;
use crate::size::{Padding, PaddingMode, Size};

/// A word as it is compared: `SAME_LOWER`, `same-lower` and `SameLower` are one.
#[must_use]
pub fn word(text: &str) -> String {
    let parts = text.trim().split(['-', '_', ' ']);
    // A separator stands between two parts, and not before or after them.
    let joined = if parts.clone().any(str::is_empty) { text.to_owned() } else { parts.collect() };
    joined.to_lowercase()
}

/// One whole number that fits in 32 bits.
///
/// # Errors
/// What it must be.
pub fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (digits, text.parse()) {
        (true, Ok(number)) => Ok(number),
        (true, Err(_)) => Err(format!("a number may be at most {}", u32::MAX)),
        (false, _) => Err("it must be a whole number, in digits alone".to_owned()),
    }
}

/// `true` or `false`.
///
/// # Errors
/// What it must be.
pub fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "it must be true or false".to_owned())
}

/// Whole numbers with commas between them.
///
/// # Errors
/// What it must be.
pub fn numbers(text: &str) -> Result<Vec<u32>, String> {
    text.split(',').map(number).collect()
}

/// One number or height,width.
///
/// # Errors
/// What it must be.
pub fn size(text: &str) -> Result<Size, String> {
    match numbers(text)?[..] {
        [both] => Ok(both.into()),
        [height, width] => Ok([height, width].into()),
        ref list => Err(format!("it has {} numbers; it must have 1, or 2 for height,width", list.len())),
    }
}

/// One number, height,width, top,left,bottom,right, or `same`, `same-lower` or `valid`.
///
/// # Errors
/// What it must be.
pub fn padding(text: &str) -> Result<Padding, String> {
    match word(text).as_str() {
        "same" | "sameupper" => return Ok(Padding::Same),
        "samelower" => return Ok(Padding::SameLower),
        "valid" => return Ok(Padding::Valid),
        _ => {}
    }
    let list = numbers(text).map_err(|error| format!("{error}; or same, same-lower, valid"))?;
    match list[..] {
        [all] => Ok(all.into()),
        [height, width] => Ok([height, width].into()),
        [top, left, bottom, right] => Ok([top, left, bottom, right].into()),
        _ => Err(format!(
            "it has {} numbers; it must have 1, 2 for height,width, or 4 for top,left,bottom,right",
            list.len()
        )),
    }
}

/// `zeros`, `reflect`, `replicate` or `circular`.
///
/// # Errors
/// What it must be.
pub fn padding_mode(text: &str) -> Result<PaddingMode, String> {
    match word(text).as_str() {
        "zeros" => Ok(PaddingMode::Zeros),
        "reflect" => Ok(PaddingMode::Reflect),
        "replicate" => Ok(PaddingMode::Replicate),
        "circular" => Ok(PaddingMode::Circular),
        _ => Err("it must be zeros, reflect, replicate or circular".to_owned()),
    }
}

/// `fast` or `exact`.
///
/// # Errors
/// What it must be.
pub fn rounding(text: &str) -> Result<Rounding, String> {
    match word(text).as_str() {
        "fast" => Ok(Rounding::Fast),
        "exact" => Ok(Rounding::Exact),
        _ => Err("it must be fast or exact".to_owned()),
    }
}

/// `true`, `false`, or `after-activation`.
///
/// # Errors
/// What it must be.
pub fn residual(text: &str) -> Result<Residual, String> {
    match word(text).as_str() {
        "afteractivation" => Ok(Residual::AfterActivation),
        _ => flag(text).map(Residual::from).map_err(|_| "it must be true, false or after-activation".to_owned()),
    }
}

/// What tensors hold: `f32` or `f16`.
///
/// # Errors
/// What it must be.
pub fn dtype(text: &str) -> Result<DType, String> {
    match word(text).as_str() {
        "f32" => Ok(DType::F32),
        "f16" => Ok(DType::F16),
        _ => Err("it must be f32 or f16".to_owned()),
    }
}

/// The slope of PyTorch's `LeakyReLU`.
const LEAKY_SLOPE: f32 = 0.01;

/// A number that an `f32` holds; infinity only where it is written out.
fn float(text: &str) -> Result<f32, String> {
    let text = text.trim();
    match f32::from_str(text) {
        Ok(number) if number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) => {
            Err(format!("{text} is past the largest f32, {:e}", f32::MAX))
        }
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{text:?} is not a number")),
    }
}

/// A function's name, with its numbers behind `=`.
///
/// # Errors
/// What it must be.
pub fn activation(text: &str) -> Result<Activation, String> {
    let (name, numbers) = text.split_once('=').map_or((text, None), |(name, numbers)| (name, Some(numbers)));
    match (word(name).as_str(), numbers) {
        (name, None) => match name {
            "none" => Ok(Activation::None),
            "relu" => Ok(Activation::Relu),
            "relu6" => Ok(Activation::Relu6),
            "silu" | "swish" => Ok(Activation::Silu),
            "hardswish" => Ok(Activation::HardSwish),
            "leakyrelu" => Ok(Activation::LeakyRelu(LEAKY_SLOPE)),
            "sigmoid" => Ok(Activation::Sigmoid),
            "tanh" => Ok(Activation::Tanh),
            "hardsigmoid" => Ok(Activation::HardSigmoid(1.0 / 6.0, 0.5)),
            "elu" => Ok(Activation::Elu(1.0)),
            "gelu" => Ok(Activation::Gelu),
            "softplus" => Ok(Activation::Softplus),
            "mish" => Ok(Activation::Mish),
            _ => Err(
                "it must be none, relu, relu6, silu, hardswish, leaky-relu, sigmoid, tanh, hardsigmoid, elu, gelu, \
                      softplus, mish or clamp=LOW,HIGH"
                    .to_owned(),
            ),
        },
        ("leakyrelu", Some(slope)) => Ok(Activation::LeakyRelu(float(slope)?)),
        ("elu", Some(scale)) => Ok(Activation::Elu(float(scale)?)),
        ("clamp", Some(limits)) => {
            let (low, high) = limits.split_once(',').ok_or("clamp takes two numbers: clamp=LOW,HIGH")?;
            Ok(Activation::Clamp(float(low)?, float(high)?))
        }
        (_, Some(_)) => Err(format!("{name:?} takes no numbers; leaky-relu=SLOPE, elu=SCALE and clamp=LOW,HIGH do")),
    }
}

/// A shape of exactly four sizes.
///
/// # Errors
/// What it must be.
pub fn shape(text: &str) -> Result<[u32; 4], String> {
    let list = numbers(text)?;
    let count = list.len();
    list.try_into().map_err(|_| format!("it has {count} sizes; it must have 4"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(size("2"), Ok(2.into()));
        assert_eq!(size("1,2"), Ok([1, 2].into()));
        assert_eq!(padding("1,0,2,3"), Ok([1, 0, 2, 3].into()));
        for text in ["same-lower", "SAME_LOWER", "SameLower", " same_lower "] {
            assert_eq!(padding(text), Ok(Padding::SameLower), "{text:?}");
        }
        for text in ["SAME", "Same", "SAME_UPPER"] {
            assert_eq!(padding(text), Ok(Padding::Same), "{text:?}");
        }
        assert_eq!((size("1, 3"), size(" 2 ")), (Ok([1, 3].into()), Ok(2.into())));
        assert_eq!(padding("1, 0 ,2, 3"), Ok([1, 0, 2, 3].into()));
        assert_eq!(shape("1, 3, 64, 64"), Ok([1, 3, 64, 64]));
        assert_eq!(padding_mode("Reflect"), Ok(PaddingMode::Reflect));
        assert_eq!(rounding("EXACT"), Ok(Rounding::Exact));
        for text in ["ReLU", "relu", "RELU"] {
            assert_eq!(activation(text), Ok(Activation::Relu), "{text:?}");
        }
        for text in ["leaky_relu", "LeakyReLU", "leaky-relu", "leaky_relu=0.01"] {
            assert_eq!(activation(text), Ok(Activation::LeakyRelu(0.01)), "{text:?}");
        }
        for (text, expected) in [
            ("ReLU6", Activation::Relu6),
            ("SiLU", Activation::Silu),
            ("swish", Activation::Silu),
            ("hard_swish", Activation::HardSwish),
            ("Clamp = 0, 6", Activation::Clamp(0.0, 6.0)),
            ("Sigmoid", Activation::Sigmoid),
            ("Tanh", Activation::Tanh),
            ("hard_sigmoid", Activation::HardSigmoid(1.0 / 6.0, 0.5)),
            ("HardSigmoid", Activation::HardSigmoid(1.0 / 6.0, 0.5)),
            ("ELU", Activation::Elu(1.0)),
            ("elu = 0.5", Activation::Elu(0.5)),
            ("GELU", Activation::Gelu),
            ("SoftPlus", Activation::Softplus),
            ("mish", Activation::Mish),
        ] {
            assert_eq!(activation(text), Ok(expected), "{text:?}");
        }
        assert_eq!(shape("1,3,64,64"), Ok([1, 3, 64, 64]));
        assert_eq!(activation("clamp=-1,0.5"), Ok(Activation::Clamp(-1.0, 0.5)));
        assert_eq!(activation("leaky-relu"), Ok(Activation::LeakyRelu(0.01)));
        assert_eq!(activation("clamp=-inf,6"), Ok(Activation::Clamp(f32::NEG_INFINITY, 6.0)));
        assert_eq!(number("4294967295"), Ok(u32::MAX));
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        let long = "9".repeat(400);
        for text in ["", "-1", "+1", "1.5", "1e3", "0x10", "1,,2", ",", "1,", "4294967296", "١", &long] {
            assert!(number(text).is_err(), "{text:?}");
            assert!(size(text).is_err() && padding(text).is_err(), "{text:?}");
        }
        for text in ["1,2,3", "1,2,3,4,5"] {
            assert!(size(text).is_err() && padding(text).is_err() && shape(text).is_err(), "{text:?}");
        }
        for text in [
            "-relu",
            "relu_",
            "leaky--relu",
            "clamp",
            "clamp=1",
            "clamp=a,b",
            "clamp=0,1e39",
            "leaky-relu=-1e99",
            "relu=1",
            "tanh=1",
            "hardsigmoid=0.2,0.5",
            "elu=",
            "elu=1,2",
            "elu=1e39",
            "leaky-relu=",
            "=",
            "",
        ] {
            assert!(activation(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*", numbers in "[-+0-9,.=ex ]{0,40}") {
            for text in [text, numbers] {
                let _ = (number(&text), size(&text), padding(&text), padding_mode(&text));
                let _ = (activation(&text), shape(&text));
            }
        }
    }
}
