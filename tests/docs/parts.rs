//! The parts of `src/peer` import each other in one direction.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagrams::{after, ident, read, sources};

/// The parts that import each other: the handle has the address of the actor, and messages to the
/// actor are methods of the handle.
const MUTUAL: [(&str, &str); 1] = [("actor", "handle")];

type Paths = Vec<Vec<String>>;

/// Reads a tree of imports: `a::{b, c::d}` has the paths `a::b` and `a::c::d`. Returns the rest.
fn tree<'a>(mut text: &'a str, path: &mut Vec<String>, found: &mut Paths) -> &'a str {
    loop {
        let word = ident(text);
        path.push(word.to_owned());
        text = &text[word.len()..];
        let Some(rest) = text.strip_prefix("::") else {
            found.push(path.clone());
            return text;
        };
        text = rest;
        if let Some(rest) = text.strip_prefix('{') {
            return group(rest, path, found);
        }
    }
}

fn group<'a>(mut text: &'a str, path: &mut Vec<String>, found: &mut Paths) -> &'a str {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if text.is_empty() || text.starts_with('}') {
            return text.get(1..).unwrap_or_default();
        }
        let len = path.len();
        let rest = tree(text, path, found);
        path.truncate(len);
        // What a tree does not read, such as `as name` or `*`.
        text = rest.trim_start_matches(|c| !matches!(c, ',' | '}'));
    }
}

/// The paths that follow each `before` in the code.
fn paths(code: &str, before: &str) -> Paths {
    let mut found = Paths::new();
    for text in after(code, before) {
        match text.strip_prefix('{') {
            Some(text) => group(text, &mut Vec::new(), &mut found),
            None => tree(text, &mut Vec::new(), &mut found),
        };
    }
    found
}

/// `joining` of `src/peer/joining.rs` and of `src/peer/joining/retries.rs`.
fn part(path: &str) -> Option<&str> {
    Some(path.strip_prefix("src/peer/")?.split(['/', '.']).next().unwrap())
}

/// Which parts each part imports.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = sources();
    let parts: BTreeSet<&str> = files.iter().filter_map(|file| part(&file.path)).collect();
    // The part in which a public name of the module is defined.
    let names: BTreeMap<String, String> = paths(&read("src/peer.rs"), "self::")
        .into_iter()
        .map(|path| (path.last().unwrap().clone(), path[0].clone()))
        .collect();
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for file in &files {
        let Some(from) = part(&file.path) else { continue };
        let of = imports.entry(from.to_owned()).or_default();
        for path in paths(&file.code, "crate::").iter().filter(|path| path[0] == "peer") {
            let Some(name) = path.get(1) else { continue };
            let to = if parts.contains(name.as_str()) { name } else { &names[name] };
            of.insert(to.clone());
        }
        of.remove(from);
    }
    imports
}

#[test]
fn the_parts_of_a_peer_import_each_other_in_one_direction() {
    let imports = imports();
    let mut reached = imports.clone();
    loop {
        let mut more = false;
        for of in reached.values_mut() {
            let next: BTreeSet<_> = of.iter().flat_map(|to| &imports[to]).cloned().collect();
            let before = of.len();
            of.extend(next);
            more |= of.len() > before;
        }
        if !more {
            break;
        }
    }
    let mut circles = BTreeSet::new();
    for (from, of) in &reached {
        let back = of.iter().filter(|to| from < *to && reached[*to].contains(from));
        circles.extend(back.map(|to| (from.as_str(), to.as_str())));
    }
    assert_eq!(circles, MUTUAL.into(), "parts that import each other: {imports:#?}");
}
