//! `Shader`: a kernel's WGSL (its own file and the shared parts that it takes), and the constants put into it.

use crate::dtype::DType;

/// A shader. Its constants have the defaults of its text.
#[derive(Debug, Clone, Copy)]
pub struct Shader {
    /// Its name, and that of its file in `shaders/`.
    pub name: &'static str,
    /// The text of its own file.
    pub own: &'static str,
    /// The shared parts that it takes: see `part`.
    pub parts: &'static [&'static [&'static str]],
}

/// Shaders are told apart by name.
impl PartialEq for Shader {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Shader {
    /// The whole text. Declarations in WGSL need no order, so joining the files is enough. Its own file comes first and
    /// keeps its line numbers.
    #[must_use]
    pub fn wgsl(&self) -> String {
        let parts = self.parts.iter().copied().flatten().copied();
        std::iter::once(self.own).chain(parts).collect::<Vec<_>>().join("\n")
    }
}

/// What shaders share: the files of `shaders/shared/`.
pub mod part {
    macro_rules! parts {
        ($($name:ident $file:literal)*) => {
            $(
                #[doc = concat!("`shaders/", $file, "`")]
                pub const $name: &str = include_str!(concat!("../shaders/", $file));
            )*
        };
    }

    parts! {
        EXTENT "shared/extent.wgsl"
        ELEMENT "shared/element.wgsl"
        INPUT "shared/input.wgsl"
        INPUT_SCALE "shared/input_scale.wgsl"
        WEIGHT "shared/weight.wgsl"
        OUTPUT "shared/output.wgsl"
        VALUES "shared/values.wgsl"
        NAN "shared/nan.wgsl"
        TEAM "shared/team.wgsl"
        WINDOW "shared/window.wgsl"
        SOURCE "shared/source.wgsl"
        PADDING "shared/padding.wgsl"
        ACTIVATION "shared/activation.wgsl"
        START "shared/start.wgsl"
        EPILOGUE "shared/epilogue.wgsl"
        FOURS "shared/fours.wgsl"
        BETWEEN "shared/between.wgsl"
        REGISTER_TILE "shared/register_tile.wgsl"
        WORKGROUP_TILE "shared/workgroup_tile.wgsl"
        PACKED_WEIGHT "shared/packed_weight.wgsl"
        PIXELS "shared/pixels.wgsl"
        TRANSFORMS "shared/transforms.wgsl"
        GATHER "software/shared/gather.wgsl"
        SIXTEEN "software/shared/sixteen.wgsl"
    }
}

/// What the tensors hold that a shader reads and writes: see `shaders/shared/element.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Elements {
    /// The tensor at binding 1.
    pub input: DType,
    /// The tensor at binding 5.
    pub output: DType,
    /// The others.
    pub others: DType,
}

impl Elements {
    /// All the same.
    #[must_use]
    pub fn all(dtype: DType) -> Self {
        Self { input: dtype, output: dtype, others: dtype }
    }

    /// What the tensor at a binding holds.
    #[must_use]
    pub fn at(self, binding: u32) -> DType {
        match binding {
            1 => self.input,
            5 => self.output,
            _ => self.others,
        }
    }

    /// A shader whose tensors hold this. Every line stays where it was.
    #[must_use]
    pub fn put_into(self, wgsl: &str) -> String {
        let Self { input, output, others } = self;
        let names = [("InputElement", input), ("OutputElement", output), ("Element", others)];
        let typed = names.iter().fold(wgsl.to_owned(), |text, (name, dtype)| {
            text.replace(&format!("alias {name} = f32;"), &format!("alias {name} = {dtype};"))
        });
        // A directive comes before all declarations.
        if names.iter().any(|(_, dtype)| *dtype == DType::F16) { format!("enable f16;  {typed}") } else { typed }
    }
}

/// Replaces the values of `const NAME: TYPE = value;` in a shader. Every line stays where it was.
///
/// A `bool` constant becomes true for any value but 0. Where it is false, a line that is `if NAME { … }` and no more becomes empty:
/// what only it reads need not be bound. No such line may have an `else` behind it.
///
/// # Panics
/// If a name is not declared exactly once. The names come from this crate's own kernels, which its tests walk.
#[must_use]
pub fn specialise(wgsl: &str, constants: &[(&str, u32)]) -> String {
    let mut lines: Vec<String> = wgsl.lines().map(str::to_owned).collect();
    for (name, value) in constants {
        let prefix = format!("const {name}: ");
        let mut declarations = lines.iter_mut().filter(|line| line.starts_with(&prefix));
        let line = declarations.next().unwrap_or_else(|| panic!("the shader declares no constant {name}"));
        assert!(declarations.next().is_none(), "the shader declares {name} more than once");
        let (declaration, rest) = line.split_once(" = ").unwrap_or_else(|| panic!("{name} has no value"));
        let (_, comment) = rest.split_once(';').unwrap_or_else(|| panic!("{name} does not end in its line"));
        let is_bool = declaration.ends_with("bool");
        let text = if is_bool { (*value != 0).to_string() } else { format!("{value}u") };
        *line = format!("{declaration} = {text};{comment}");
        if is_bool && *value == 0 {
            let start = format!("if {name} {{");
            let is_whole = |line: &str| line.ends_with('}') && line.matches('{').count() == 1;
            let dead = lines.iter_mut().filter(|line| line.trim().starts_with(&start) && is_whole(line));
            dead.for_each(String::clear);
        }
    }
    lines.join("\n") + "\n"
}

/// A number that tells texts apart: FNV-1a, the same on every system and in every version of Rust.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::{DType, Elements, specialise};

    #[test]
    fn only_the_named_values_change() {
        let wgsl = "const A: u32 = 3u;  // a\nconst AB: u32 = A * 2u;\nconst C: bool = true;\n";
        let expected = "const A: u32 = 7u;  // a\nconst AB: u32 = A * 2u;\nconst C: bool = false;\n";
        assert_eq!(specialise(wgsl, &[("A", 7), ("C", 0)]), expected);
    }

    #[test]
    fn what_a_false_constant_skips_goes() {
        let body = "    if C { x += y[0]; }\n    if C {\n    if C { a(); } else { b(); }\n    if CD { c(); }\n";
        let wgsl = format!("const C: bool = true;\n{body}");
        assert_eq!(specialise(&wgsl, &[("C", 1)]), wgsl);
        let expected = format!("const C: bool = false;\n{}", body.replacen("    if C { x += y[0]; }", "", 1));
        assert_eq!(specialise(&wgsl, &[("C", 0)]), expected);
    }

    #[test]
    fn each_tensor_has_its_type() {
        let wgsl = "// x\nalias InputElement = f32;  // in\nalias OutputElement = f32;\nalias Element = f32;\n";
        let elements = Elements { input: DType::F16, ..Elements::default() };
        assert_eq!(elements.put_into(wgsl), format!("enable f16;  {}", wgsl.replacen("f32", "f16", 1)));
        assert_eq!(Elements::all(DType::F16).put_into(wgsl), format!("enable f16;  {}", wgsl.replace("f32", "f16")));
        assert_eq!(Elements::default().put_into(wgsl), wgsl);
        assert_eq!([1, 2, 5, 6].map(|binding| elements.at(binding) == DType::F16), [true, false, false, false]);
    }

    #[test]
    #[should_panic(expected = "declares no constant B")]
    fn a_constant_that_is_not_there_is_a_bug() {
        let _ = specialise("const A: u32 = 3u;\n", &[("B", 1)]);
    }

    #[test]
    #[should_panic(expected = "declares A more than once")]
    fn a_constant_declared_twice_is_a_bug() {
        let _ = specialise("const A: u32 = 3u;\nconst A: u32 = 4u;\n", &[("A", 1)]);
    }
}
