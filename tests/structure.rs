//! How the source's modules import each other: down only, without a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The modules of a crate by name, such as `gpu::plan`, each with its code; the root's name is empty.
type Modules = BTreeMap<String, String>;

/// Which modules each module imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn join(module: &str, child: &str) -> String {
    if module.is_empty() { child.to_owned() } else { format!("{module}::{child}") }
}

/// Adds the modules of a folder, which is the folder of a module, but not those of other crates in `bin`.
fn add_modules(modules: &mut Modules, folder: &Path, module: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() && stem != "bin" {
            add_modules(modules, &path, &join(module, stem));
        } else if path.is_file() {
            let name = if ["lib", "main", "mod"].contains(&stem) { module.to_owned() } else { join(module, stem) };
            modules.insert(name, code(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn modules(folder: &str) -> Modules {
    let mut modules = Modules::new();
    add_modules(&mut modules, Path::new(folder), "");
    modules
}

/// A file without its comments and its tests.
fn code(source: &str) -> String {
    let mut kept = String::new();
    let mut lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.extend([line, "\n"]);
        } else if lines.next().is_some_and(|item| !item.ends_with(';')) {
            // The end of an item is where the indentation is back.
            lines.find(|line| line.starts_with('}'));
        }
    }
    kept
}

/// Names, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if is_name(first) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

/// Reads the path that starts at a token, with all that its braces name, and returns the tokens behind it.
fn read_paths<'a, 'b>(tokens: &'b [&'a str], path: &[&'a str], found: &mut Vec<Vec<&'a str>>) -> &'b [&'a str] {
    match tokens {
        ["{", rest @ ..] => {
            let mut rest = rest;
            while let [first, after @ ..] = rest {
                match *first {
                    "}" => return after,
                    "," => rest = after,
                    _ => rest = read_paths(rest, path, found),
                }
            }
            rest
        }
        [name, "::", rest @ ..] => read_paths(rest, &[path, &[name]].concat(), found),
        [name, "as", _, rest @ ..] | [name, rest @ ..] => {
            found.push([path, &[name]].concat());
            rest
        }
        [] => tokens,
    }
}

/// Every path of a module's code that starts at the crate or at a parent.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let is_first = index == 0 || tokens[index - 1] != "::";
        // `pub(in super::super)` says who may import, and imports nothing.
        let is_visibility = tokens[..index].ends_with(&["(", "in"]);
        if is_first && !is_visibility && ["crate", "super"].contains(&pair[0]) && pair[1] == "::" {
            read_paths(&tokens[index..], &[], &mut found);
        }
    }
    found
}

/// The module that a path within a module leads to: the deepest that there is.
fn resolve(modules: &Modules, module: &str, path: &[&str]) -> String {
    let mut names: Vec<&str> = if path[0] == "crate" { Vec::new() } else { module.split("::").collect() };
    for name in path {
        match *name {
            "crate" | "self" => {}
            "super" => drop(names.pop()),
            name => names.push(name),
        }
    }
    while !modules.contains_key(&names.join("::")) {
        names.pop();
    }
    names.join("::")
}

/// What each module imports, the root aside. A folder's `mod.rs` imports all that it declares.
fn imports(modules: &Modules) -> Imports {
    let of = |(module, code): (&String, &String)| {
        let named = paths(code).into_iter().map(|path| resolve(modules, module, &path));
        let tokens = tokens(code);
        let declared = tokens.windows(3).filter(|three| three[0] == "mod" && three[2] == ";");
        let declared = declared.map(|three| join(module, three[1]));
        let all = named.chain(declared).filter(|import| import != module);
        (module.clone(), all.collect())
    };
    modules.iter().filter(|(module, _)| !module.is_empty()).map(of).collect()
}

/// A circle that goes on from these modules, each of which imports the next; none if there is none.
fn circle(imports: &Imports, path: &[&str], done: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let (last, before) = path.split_last()?;
    if let Some(start) = before.iter().position(|module| module == last) {
        return Some(path[start..].iter().copied().map(str::to_owned).collect());
    }
    if done.contains(*last) {
        return None;
    }
    let found = imports[*last].iter().find_map(|next| circle(imports, &[path, &[next]].concat(), done));
    done.insert((*last).to_owned());
    found
}

/// Asserts that no module imports the root, and that none imports itself by way of others.
fn check(folder: &str) {
    let imports = imports(&modules(folder));
    assert!(imports.len() > 5, "{folder} has few modules: {imports:?}");
    for (module, imported) in &imports {
        assert!(!imported.contains(""), "{module} imports the root of {folder}");
    }
    let mut done = BTreeSet::new();
    for module in imports.keys() {
        let circle = circle(&imports, &[module], &mut done);
        assert!(circle.is_none(), "a circle in {folder}: {}", circle.unwrap_or_default().join(" -> "));
    }
}

#[test]
fn the_librarys_modules_import_each_other_without_a_circle() {
    check(SOURCE);
}

#[test]
fn the_commands_modules_import_each_other_without_a_circle() {
    check(&format!("{SOURCE}/bin/sepconv"));
}

#[test]
fn what_runs_programs_knows_no_layer() {
    let imports = imports(&modules(SOURCE));
    let gpu: Vec<_> = imports.iter().filter(|(module, _)| module.starts_with("gpu")).collect();
    assert!(gpu.len() > 5, "{gpu:?}");
    for (module, imported) in gpu {
        for import in imported {
            let top = import.split("::").next().unwrap_or_default();
            let above = ["conv", "geometry", "layer", "kernels", "planner", "separable", "pool", "tuning"];
            assert!(!above.contains(&top), "{module} imports {import}");
        }
    }
}

/// The checks must be able to fail.
#[test]
fn a_circle_is_found() {
    let modules = |files: &[(&str, &str)]| {
        let module = |&(name, source): &(&str, &str)| (name.to_owned(), code(source));
        files.iter().map(module).chain([(String::new(), String::new())]).collect::<Modules>()
    };
    let found = |files: &[(&str, &str)]| {
        let imports = imports(&modules(files));
        imports.keys().find_map(|module| circle(&imports, &[module], &mut BTreeSet::new()))
    };
    let a = ("a", "use crate::b::{Two, c::One as Other};\n");
    let nothing: Option<Vec<String>> = None;
    assert_eq!(found(&[a, ("b", "mod c;\n"), ("b::c", "pub struct One;\n")]), nothing);
    let child = ("b::c", "fn f() -> super::Two { todo!() }\n");
    assert_eq!(found(&[a, ("b", "mod c;\n"), child]).unwrap(), ["b", "b::c", "b"]);
    assert_eq!(found(&[a, ("b", ""), ("b::c", "use crate::{d, a::*};\n"), ("d", "")]).unwrap(), ["a", "b::c", "a"]);
    let tests = "pub(in crate::b) struct A;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n// crate::b\n";
    assert_eq!(found(&[("a", tests), ("b", "use crate::a::A;\n")]), nothing);
}
