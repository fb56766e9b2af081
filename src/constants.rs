//! `Constants`: the values of a shader's `const`s, and of expressions of them.

use std::collections::HashMap;

/// A text as names and numbers, blanks, comments, and every other character by itself. Joined, they are the text.
pub(crate) fn tokens(wgsl: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = wgsl;
    while let Some(first) = rest.chars().next() {
        let until = |ends: &dyn Fn(char) -> bool| rest.find(ends).unwrap_or(rest.len());
        let length = match first {
            _ if is_word(first) => until(&|c| !is_word(c)),
            _ if first.is_whitespace() => until(&|c| !c.is_whitespace()),
            _ if rest.starts_with("//") => until(&|c| c == '\n'),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// Whether a token is a blank or a comment.
pub(crate) fn is_blank(token: &str) -> bool {
    token.starts_with(char::is_whitespace) || token.starts_with("//")
}

/// The constants of type `u32` that a shader declares, each with the tokens of its value.
pub(crate) struct Constants<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> Constants<'a> {
    /// Those of a shader's tokens.
    pub(crate) fn of(tokens: &[&'a str]) -> Self {
        let code: Vec<&str> = tokens.iter().copied().filter(|token| !is_blank(token)).collect();
        let declarations = code.windows(5).enumerate().filter_map(|(index, declaration)| match declaration {
            ["const", name, ":", "u32", "="] => {
                let value = code[index + 5..].iter().copied().take_while(|token| *token != ";");
                Some((*name, value.collect()))
            }
            _ => None,
        });
        Self(declarations.collect())
    }

    /// The value of an expression; none if it is not constant, or not of whole numbers, their sums, products and the
    /// like.
    pub(crate) fn value(&self, expression: &[&str]) -> Option<u32> {
        let code: Vec<&str> = expression.iter().copied().filter(|token| !is_blank(token)).collect();
        let mut rest = code.as_slice();
        let value = self.sum(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    fn sum(&self, rest: &mut &[&str]) -> Option<u32> {
        let mut value = self.product(rest)?;
        while let Some(operator) = take(rest, &["+", "-"]) {
            let next = self.product(rest)?;
            value = if operator == "+" { value.checked_add(next) } else { value.checked_sub(next) }?;
        }
        Some(value)
    }

    fn product(&self, rest: &mut &[&str]) -> Option<u32> {
        let mut value = self.operand(rest)?;
        while let Some(operator) = take(rest, &["*", "/", "%"]) {
            let next = self.operand(rest)?;
            value = match operator {
                "*" => value.checked_mul(next),
                "/" => value.checked_div(next),
                _ => value.checked_rem(next),
            }?;
        }
        Some(value)
    }

    fn operand(&self, rest: &mut &[&str]) -> Option<u32> {
        let (first, after) = rest.split_first()?;
        *rest = after;
        let of_two = match *first {
            "(" => None,
            "min" => Some(u32::min as fn(u32, u32) -> u32),
            "max" => Some(u32::max as fn(u32, u32) -> u32),
            number if number.starts_with(|c: char| c.is_ascii_digit()) => {
                return number.strip_suffix('u').unwrap_or(number).parse().ok();
            }
            name => return self.value(self.0.get(name)?),
        };
        if of_two.is_some() {
            take(rest, &["("])?;
        }
        let mut value = self.sum(rest)?;
        if let Some(of_two) = of_two {
            take(rest, &[","])?;
            value = of_two(value, self.sum(rest)?);
        }
        take(rest, &[")"])?;
        Some(value)
    }
}

/// Takes the next token if it is one of these.
fn take<'a>(rest: &mut &[&'a str], expected: &[&str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    let is_expected = expected.contains(first);
    if is_expected {
        *rest = after;
    }
    is_expected.then_some(*first)
}

/// How many invocations a workgroup has along x, y and z where a shader begins at this function; none if its text does
/// not say so in constants.
#[cfg(feature = "unstable")]
pub(crate) fn workgroup(wgsl: &str, entry_point: &str) -> Option<[u32; 3]> {
    let tokens = tokens(wgsl);
    let constants = Constants::of(&tokens);
    let code: Vec<&str> = tokens.into_iter().filter(|token| !is_blank(token)).collect();
    let function = code.windows(2).position(|pair| pair == ["fn", entry_point])?;
    let sizes = 2 + code[..function].windows(2).rposition(|pair| pair == ["workgroup_size", "("])?;
    let mut workgroup = [1; 3];
    let mut rest = &code[sizes..function];
    for size in &mut workgroup {
        *size = constants.sum(&mut rest)?;
        match take(&mut rest, &[",", ")"])? {
            "," => {}
            _ => return Some(workgroup),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Constants, tokens};

    #[test]
    fn tokens_are_the_text() {
        let text = "let a = b.c[3u] + 1.5; // a word\n  x";
        assert_eq!(tokens(text).concat(), text);
        let expected = ["let", " ", "a", " ", "=", " ", "b", ".", "c", "[", "3u", "]"];
        assert_eq!(tokens(text)[..12], expected);
        assert_eq!(tokens(text)[18..], [";", " ", "// a word", "\n  ", "x"]);
    }

    #[test]
    fn expressions_have_values() {
        let wgsl = "const A: u32 = 7u;  // seven\nconst B: u32 = (A - 1u) * 2u + 10u / 4u % 3u;\nconst C: bool = true;";
        let tokens_of = tokens(wgsl);
        let constants = Constants::of(&tokens_of);
        for (expression, value) in [
            ("4u", Some(4)),
            ("12", Some(12)),
            ("B", Some(14)),
            ("min(A, B) + max(2u, 1u + 2u)", Some(10)),
            ("A - 2u - 1u", Some(4)),
            ("(A)", Some(7)),
            ("A - B", None),
            ("A / (7u - A)", None),
            ("C", None),
            ("extent.width", None),
            ("A < B", None),
            ("A B", None),
            ("(A", None),
            ("4294967296u", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(constants.value(&tokens(expression)), value, "{expression}");
        }
    }

    #[cfg(feature = "unstable")]
    #[test]
    fn a_workgroup_has_sizes() {
        use super::workgroup;

        let wgsl = "const A: u32 = 8u;\n@compute @workgroup_size(A * 2u, 4u) fn a() {}\n@workgroup_size(A)\n@compute\n\
                    fn b() {}\n@compute @workgroup_size(1, 2, A / 2) fn main() {}\nfn c() {}";
        assert_eq!(workgroup(wgsl, "a"), Some([16, 4, 1]));
        assert_eq!(workgroup(wgsl, "b"), Some([8, 1, 1]));
        assert_eq!(workgroup(wgsl, "main"), Some([1, 2, 4]));
        assert_eq!(workgroup(wgsl, "d"), None);
        assert_eq!(workgroup("@compute @workgroup_size(N) fn main() {}", "main"), None);
    }
}
