//! Loops over constants, written out: the text of each round by itself, with the number of the round in it.

use std::ops::Range;

use crate::constants::{Constants, is_blank, tokens};

/// No loop becomes longer than this many statements: more than any tile in registers has, and not so many that a driver
/// takes seconds to compile them.
const MAXIMUM_STATEMENTS: usize = 2048;

/// A shader with each `for (var i = A; i < B; i++) { … }` written out of which A and B are constant: from the innermost
/// loop outwards, and only as long as it does not become too long. A loop stays as it is if its variable is changed or
/// declared again within, if a `break` or a `continue` is in it, or if a loop stays in it: what is as long as a tensor is
/// not to be there many times.
pub(crate) fn write_out(wgsl: &str) -> String {
    let tokens = tokens(wgsl);
    written_out(&tokens, &Constants::of(&tokens)).0
}

/// The text, and whether what is in it keeps a loop around it as it is.
fn written_out(tokens: &[&str], constants: &Constants<'_>) -> (String, bool) {
    let (mut text, mut keeps) = (String::new(), false);
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        let Some(Loop { header, body, behind }) = Loop::at(rest) else {
            keeps |= ["break", "continue", "loop", "while"].contains(first);
            text.push_str(first);
            rest = after;
            continue;
        };
        let (body, is_kept) = written_out(body, constants);
        let rounds = rounds(header, constants).filter(|_| !is_kept);
        if let Some(written) = rounds.and_then(|(variable, rounds)| repeated(&body, variable, rounds)) {
            text.push_str(&written);
        } else {
            keeps = true;
            text.extend(["for (", &header.concat(), ") {", &body, "}"]);
        }
        rest = behind;
    }
    (text, keeps)
}

/// A loop at the start of some tokens.
struct Loop<'a, 'b> {
    /// What is in its parentheses.
    header: &'b [&'a str],
    /// What is in its braces.
    body: &'b [&'a str],
    /// What follows it.
    behind: &'b [&'a str],
}

impl<'a, 'b> Loop<'a, 'b> {
    fn at(tokens: &'b [&'a str]) -> Option<Self> {
        let ["for", rest @ ..] = tokens else { return None };
        let (header, rest) = between(rest, ["(", ")"])?;
        let (body, behind) = between(rest, ["{", "}"])?;
        Some(Self { header, body, behind })
    }
}

/// What stands between two brackets at the start of some tokens, and what follows them.
fn between<'a, 'b>(tokens: &'b [&'a str], [open, close]: [&str; 2]) -> Option<(&'b [&'a str], &'b [&'a str])> {
    let start = tokens.iter().position(|token| !is_blank(token)).filter(|&start| tokens[start] == open)?;
    let mut depth = 0;
    let end = tokens.iter().skip(start).position(|token| {
        depth += usize::from(*token == open);
        depth -= usize::from(*token == close);
        depth == 0
    })?;
    Some((&tokens[start + 1..start + end], &tokens[start + end + 1..]))
}

/// The variable of a loop and the numbers that it counts through, if they are constant.
fn rounds<'a>(header: &[&'a str], constants: &Constants<'_>) -> Option<(&'a str, Range<u32>)> {
    let code: Vec<&str> = header.iter().copied().filter(|token| !is_blank(token)).collect();
    let parts: Vec<&[&str]> = code.split(|token| *token == ";").collect();
    let [["var", variable, "=", first @ ..], [compared, "<", end @ ..], [counted, "+", "+"]] = parts[..] else {
        return None;
    };
    // A number without a suffix would be an `i32`.
    let is_u32 =
        |token: &&str| !token.ends_with(|c: char| c.is_ascii_digit()) || token.starts_with(char::is_alphabetic);
    if compared != variable || counted != variable || !first.iter().all(is_u32) {
        return None;
    }
    Some((variable, constants.value(first)?..constants.value(end)?))
}

/// A body for each of these rounds, each in a block of its own; none if it cannot be repeated so.
fn repeated(body: &str, variable: &str, rounds: Range<u32>) -> Option<String> {
    // Comments need not be said again.
    let tokens: Vec<&str> = tokens(body).into_iter().filter(|token| !token.starts_with("//")).collect();
    let code: Vec<&str> = tokens.iter().copied().filter(|token| !is_blank(token)).collect();
    let statements = code.iter().filter(|token| **token == ";").count();
    let is_long = statements.saturating_mul(rounds.len()) > MAXIMUM_STATEMENTS;
    let is_declared = code.windows(2).any(|pair| pair[1] == variable && ["let", "var", "const"].contains(&pair[0]));
    let is_changed = code.windows(3).any(|three| {
        let assigns = three[1] == "=" && three[2] != "=";
        three[0] == variable && (assigns || ["++", "--", "+=", "-=", "*="].contains(&three[1..].concat().as_str()))
    });
    if is_long || is_declared || is_changed {
        return None;
    }
    let mut text = String::new();
    for round in rounds {
        text.push('{');
        let number = format!("{round}u");
        let mut before = "";
        for token in &tokens {
            // A member of the same name is something else.
            text.push_str(if *token == variable && before != "." { &number } else { token });
            before = token;
        }
        text.push_str("}\n");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::{MAXIMUM_STATEMENTS, write_out};

    /// What becomes of a body, with one blank between words.
    fn written(body: &str) -> String {
        let text = write_out(&format!("const N: u32 = 2u;\nfn main() {{\n{body}\n}}"));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.strip_prefix("const N: u32 = 2u; fn main() { ").unwrap().strip_suffix(" }").unwrap().to_owned()
    }

    #[test]
    fn rounds_stand_one_after_the_other() {
        assert_eq!(
            written("for (var i = 0u; i < N; i++) { a[i] = b.i + bi; }"),
            "{ a[0u] = b.i + bi; } { a[1u] = b.i + bi; }"
        );
        assert_eq!(written("for (var i = N; i < 2u * N - 1u; i++) {\n    f(i);  // one\n}"), "{ f(2u); }");
        assert_eq!(written("x(); for (var i = N; i < N; i++) { f(i); } y();"), "x(); y();");
        assert_eq!(
            written("for (var i = 0u; i < N; i++) { for (var j = 1u; j < N; j++) { f(i, j); } }"),
            "{ { f(0u, 1u); } } { { f(1u, 1u); } }"
        );
        assert_eq!(
            written("for (var i = 0u; i < N; i++) { if i == 1u { return; } }"),
            "{ if 0u == 1u { return; } } { if 1u == 1u { return; } }"
        );
    }

    #[test]
    fn some_loops_stay() {
        for body in [
            "for (var i = 0u; i < n; i++) { f(i); }",
            "for (var i = n; i < N; i++) { f(i); }",
            "for (var i = 0; i < 2; i++) { f(i); }",
            "for (var i = 0u; i <= N; i++) { f(i); }",
            "for (var i = 0u; i < N; i += 2u) { f(i); }",
            "for (var i = 0u; j < N; i++) { f(i); }",
            "for (var i = 0u; i < N; i++) { if f(i) { continue; } g(); }",
            "for (var i = 0u; i < N; i++) { if f(i) { break; } g(); }",
            "for (var i = 0u; i < N; i++) { let i = 3u; f(i); }",
            "for (var i = 0u; i < N; i++) { for (var i = 0u; i < n; i++) { f(i); } }",
            "for (var i = 0u; i < N; i++) { i++; }",
            "for (var i = 0u; i < N; i++) { i = 1u; }",
            "for (var i = 0u; i < N; i++) { i += 1u; }",
        ] {
            assert_eq!(written(body), body);
        }
        let half = MAXIMUM_STATEMENTS / 2;
        let of_length = |count: usize| written(&format!("for (var i = 0u; i < N; i++) {{ {}}}", "f(); ".repeat(count)));
        assert!(of_length(half).starts_with("{ f();") && of_length(half + 1).starts_with("for (var i = 0u;"));
    }

    #[test]
    fn a_loop_inside_is_written_out_where_the_one_around_it_stays() {
        assert_eq!(
            written("for (var i = 0u; i < n; i++) { for (var j = 0u; j < N; j++) { f(i, j); } if g(i) { break; } }"),
            "for (var i = 0u; i < n; i++) { { f(i, 0u); } { f(i, 1u); } if g(i) { break; } }"
        );
        let around = "for (var i = 0u; i < N; i++) { for (var j = 0u; j < n; j++) { g(i, j); } }";
        assert_eq!(written(around), around);
    }
}
