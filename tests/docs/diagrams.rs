//! The pictures in `diagrams/` say what the code says, and the code keeps its layers and sizes.
//!
//! Each drawing is read as a set of lines and compared with a set computed from the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use actix_peer::{
    classic::{Phase, PhaseEvent},
    frame::{FrameHead, HEADER_LEN, TypeCode},
    link::{LinkPhase, LinkPhaseEvent},
};

/// Lines of code in one file: tests, comments and blank lines do not count.
const LONGEST_FILE: usize = 600;

/// Bytes of one picture.
const LARGEST_PICTURE: usize = 60_000;

/// Bytes of the picture of the page.
const LARGEST_SCREENSHOT: u64 = 200_000;

const PICTURES: [&str; 7] = ["actors", "connection", "frame", "journey", "layers", "link", "road"];

/// Drawn by an example from what it has measured. `kademlia` has its data beside it, which the
/// example's own tests compare.
const PLOTS: [&str; 2] = ["gossip", "kademlia"];

/// The pictures of a message on its way.
const JOURNEYS: [&str; 2] = ["journey", "road"];

type Set = BTreeSet<String>;

// ---- the drawings ----

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .replace("\r\n", "\n")
}

/// The lines of a drawing that say something, trimmed: no comments, no configuration.
fn drawing(name: &str) -> Vec<String> {
    let text = read(&format!("diagrams/{name}.mmd"));
    let text = text
        .strip_prefix("---\n")
        .and_then(|rest| Some(rest.split_once("\n---\n")?.1))
        .unwrap_or(&text);
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("%%"))
        .map(str::to_owned)
        .collect()
}

/// `a --> b` and `a -->|label| b` of a flowchart: from, label, to.
fn arrows(name: &str) -> Vec<(String, String, String)> {
    let arrow = |line: &String| {
        let (from, rest) = line.split_once(" <-->").or_else(|| line.split_once(" -->"))?;
        let (label, to) = rest
            .trim()
            .strip_prefix('|')
            .and_then(|rest| rest.split_once('|'))
            .unwrap_or(("", rest));
        Some((from.trim().to_owned(), label.trim_matches('"').to_owned(), to.trim().to_owned()))
    };
    drawing(name).iter().filter_map(arrow).collect()
}

/// Node ids of a flowchart with their labels, markup taken off.
fn nodes(name: &str) -> BTreeMap<String, String> {
    let mut nodes = BTreeMap::new();
    let text = drawing(name).join("\n");
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("\"`") {
        let id = before.rsplit('\n').next().unwrap().trim_end_matches(['[', '(']);
        let (label, tail) = after.split_once("`\"").expect("the end of a label");
        nodes.insert(id.trim().to_owned(), label.replace("**", ""));
        rest = tail;
    }
    nodes
}

fn words(text: &str) -> Set {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.chars().any(|c| c.is_ascii_alphabetic()))
        .map(str::to_owned)
        .collect()
}

/// Every word that a reader of the rendered drawing should see.
fn visible_words(name: &str) -> Set {
    let syntax: &[&str] = match name {
        "frame" => &["packet", "title"],
        "connection" | "link" => &["stateDiagram", "v2", "direction", "LR", "state"],
        _ => &[],
    };
    let shown_as: BTreeMap<_, _> = nodes(name);
    let mut seen = Set::new();
    let (mut in_label, lines) = (false, drawing(name));
    for line in &lines {
        let mut text = line.replace("<br/>", " ");
        if JOURNEYS.contains(&name) {
            // Message texts, notes, and participants under the name that they are shown with.
            text = match line.strip_prefix("participant ") {
                Some(who) => who.split(" as ").last().unwrap().to_owned(),
                None if line == "end" => continue,
                None if line.starts_with("box ") => line.split_once(") ").unwrap().1.to_owned(),
                None => line.split_once(": ").map_or(String::new(), |(_, text)| text.to_owned()),
            };
        } else if in_label || line.contains("\"`") {
            // A node: its label is seen, its id is not.
            in_label = !line.ends_with(['"', ')', ']']);
            text = line.split_once("\"`").map_or(line.as_str(), |(_, label)| label).to_owned();
        } else if !shown_as.is_empty() {
            text = text.split('|').nth(1).unwrap_or("").to_owned();
        }
        seen.extend(words(&text));
    }
    seen.retain(|word| !syntax.contains(&word.as_str()));
    seen
}

// ---- the code ----

pub(crate) struct File {
    pub(crate) path: String,
    /// Without tests and comments.
    pub(crate) code: String,
}

impl File {
    /// `session` of `src/session/open.rs` and of `src/session.rs`.
    fn module(&self) -> &str {
        self.path.trim_start_matches("src/").split(['/', '.']).next().unwrap()
    }
}

/// The ends of the paths of files and folders that are compiled for unit tests alone.
const ONLY_IN_TESTS: [&str; 5] = ["tests.rs", "tests", "models", "models.rs", "src/sync"];

pub(crate) fn sources() -> Vec<File> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory of sources") {
            let path = entry.unwrap().path();
            if ONLY_IN_TESTS.iter().any(|name| path.ends_with(name)) {
                continue;
            } else if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    found.sort();
    let file = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        File { code: code_of(&read(&name)), path: name }
    };
    found.into_iter().map(file).collect()
}

/// What is compiled: up to the tests at the end, without comments.
fn code_of(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end]
        .lines()
        .map(|line| {
            let comment = line.match_indices("//").find(|(at, _)| {
                let before = line[..*at].replace("\\\"", "").replace("'\"'", "");
                before.matches('"').count() % 2 == 0
            });
            comment.map_or(line, |(at, _)| &line[..at])
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn ident(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap()
}

/// What follows each `before` that begins a word.
pub(crate) fn after<'a>(code: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(before)
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .map(move |(at, found)| &code[at + found.len()..])
}

/// The modules that `code` names by `crate::`.
fn used_modules(code: &str) -> Set {
    used_behind(code, "crate::")
}

/// The items that `code` names behind `prefix`, alone or in a group.
fn used_behind(code: &str, prefix: &str) -> Set {
    let mut used = Set::new();
    for path in after(code, prefix) {
        let Some(group) = path.strip_prefix('{') else {
            used.insert(ident(path).to_owned());
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && is_word(c) => {
                    used.insert(ident(&group[at..]).to_owned());
                    start = false;
                }
                _ => {}
            }
        }
    }
    used
}

/// Modules without code.
const PROSE: [&str; 2] = ["guide", "prelude"];

/// The number in each module's first line, `//! Layer N: ...`.
fn layers() -> BTreeMap<String, u32> {
    let module = |line: &str| {
        let line = line.trim();
        let module = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?;
        Some(module.strip_suffix(';')?.to_owned())
    };
    let layer = |module: String| {
        let text = read(&format!("src/{module}.rs"));
        let number = text.strip_prefix("//! Layer ").and_then(|rest| ident(rest).parse().ok());
        (
            module.clone(),
            number.unwrap_or_else(|| panic!("src/{module}.rs does not begin with its layer")),
        )
    };
    let lib = read("src/lib.rs");
    let modules = lib.lines().filter_map(module).filter(|name| !PROSE.contains(&name.as_str()));
    modules.map(layer).collect()
}

/// Every `impl Actor for X`.
fn actors(files: &[File]) -> BTreeMap<String, &File> {
    files
        .iter()
        .flat_map(|file| {
            after(&file.code, "Actor for ").map(move |name| (ident(name).to_owned(), file))
        })
        .collect()
}

/// The type that a file is about: its actor, else its first public struct, else that of its parent module.
fn owner(file: &File, files: &[File], actors: &BTreeMap<String, &File>) -> String {
    let actor = actors.iter().find(|(_, of)| of.path == file.path).map(|(name, _)| name.as_str());
    actor
        .or_else(|| after(&file.code, "pub struct ").next().map(ident))
        .map(str::to_owned)
        .or_else(|| {
            let parent = format!("{}.rs", file.path.rsplit_once('/')?.0);
            let parent = files.iter().find(|other| other.path == parent)?;
            Some(owner(parent, files, actors))
        })
        .unwrap_or_else(|| file.path.clone())
}

/// `starter -> actor` for each actor that the node starts.
///
/// An actor that a free function of its own module starts is started by whoever names that function.
fn starts(files: &[File]) -> Set {
    let actors = actors(files);
    let mut starts = Set::new();
    for (actor, own) in &actors {
        for file in files {
            let made =
                [format!("{actor}::new("), format!("{actor}::create("), format!("{actor} {{")];
            for made in made.iter().flat_map(|made| file.code.match_indices(made.as_str())) {
                let (before, rest) = file.code.split_at(made.0);
                // One statement: up to the `;`, or to the end of the block for `create`.
                let statement = rest.split("\n}").next().unwrap();
                let started = made.1.ends_with("create(")
                    || statement.split(';').next().unwrap().contains(".start()");
                if before.ends_with(is_word)
                    || before.ends_with("for ")
                    || before.ends_with("struct ")
                    || !started
                {
                    continue;
                }
                let module = own.path.trim_end_matches(".rs");
                let is_own = |path: &str| {
                    path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '/']))
                };
                if !is_own(&file.path) {
                    starts.insert(format!("{} -> {actor}", owner(file, files, &actors)));
                    continue;
                }
                let function = ident(after(before, "fn ").last().unwrap_or_default());
                let callers = files.iter().filter(|file| !is_own(&file.path));
                let callers = callers
                    .filter(|file| after(&file.code, function).any(|rest| rest.starts_with('(')));
                starts.extend(
                    callers.map(|file| format!("{} -> {actor}", owner(file, files, &actors))),
                );
            }
        }
    }
    starts
}

/// `message -> actor` for each message that an actor of the node handles.
fn handled(files: &[File]) -> Set {
    let mut handled = Set::new();
    for file in files {
        for rest in after(&file.code, "Handler<") {
            let Some((message, actor)) = rest.split_once("> for ") else { continue };
            if !message.starts_with('$') && !message.contains('\n') {
                handled.insert(format!("{} -> {}", ident(message), ident(actor)));
            }
        }
    }
    let messages = read("src/peer/messages.rs");
    let list = messages.split_once("\nmessages! {\n").expect("the list of messages").1;
    let names = list.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = names.map(|line| ident(line.trim())).filter(|name| !name.is_empty());
    handled.extend(names.map(|name| format!("{name} -> PeerActor")));
    handled
}

/// `M` of each `Recipient<M>`: messages to actors that the application chooses.
fn to_the_application(files: &[File]) -> Set {
    let named = files.iter().flat_map(|file| after(&file.code, "Recipient<").map(ident));
    named.filter(|name| name.len() > 1).map(str::to_owned).collect()
}

/// Whether the code defines this function, type, variant or trait.
fn defined(files: &[File], name: &str) -> bool {
    let word = |rest: &str| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_word));
    ["fn ", "struct ", "enum ", "trait "]
        .iter()
        .any(|kind| files.iter().any(|file| after(&file.code, kind).any(word)))
        || handled(files).iter().any(|line| line.starts_with(&format!("{name} ->")))
}

// ---- the comparison ----

fn compare(what: &str, drawn: &Set, code: &Set) {
    let missing: Vec<_> = code.difference(drawn).collect();
    let invented: Vec<_> = drawn.difference(code).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{what}\n  drawn, but not in the code: {invented:#?}\n  in the code, but not drawn: {missing:#?}"
    );
    assert!(!drawn.is_empty(), "{what}: nothing was found");
}

#[test]
fn the_frame_is_drawn_as_it_is_written() {
    let mut drawn = Vec::new();
    for line in drawing("frame") {
        let Some((range, label)) = line.split_once(": ") else { continue };
        let (from, to) = range.split_once('-').expect("first-last");
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        drawn.push((from, to + 1 - from, label.trim_matches('"').to_owned()));
    }
    let [code, length, data] = drawn.as_slice() else { panic!("three fields, not {drawn:?}") };
    // Where the bytes of a field are: those that change with it.
    let zero = FrameHead::new(TypeCode::new(&[0; 4]), 0).to_bytes();
    let field = |head: FrameHead| {
        let bytes = head.to_bytes();
        let changed: Vec<usize> = (0..HEADER_LEN).filter(|at| bytes[*at] != zero[*at]).collect();
        (changed[0], changed.len())
    };
    let in_code =
        |name: &str, (from, len): (usize, usize)| format!("{name}: {len} bytes from {from}");
    let drawn_as = |field: &(usize, usize, String)| in_code(ident(&field.2), (field.0, field.1));
    let code_field = field(FrameHead::new(TypeCode::new(&[255; 4]), 0));
    let len_field = field(FrameHead::new(TypeCode::new(&[0; 4]), u32::MAX));
    compare(
        "diagrams/frame.mmd, fields of the header",
        &[code, length].map(drawn_as).into(),
        &[in_code("code", code_field), in_code("length", len_field)].into(),
    );
    assert_eq!(ident(&data.2), "data");
    assert_eq!(data.0, HEADER_LEN, "the data begins behind the header");
    for (_, len, label) in [code, length] {
        assert!(label.contains(&format!("{len} bytes")), "{label:?} does not say {len} bytes");
    }
    let big_endian = FrameHead::new(TypeCode::new(&[0; 4]), 1).to_bytes()[HEADER_LEN - 1] == 1;
    assert_eq!(length.2.contains("big-endian"), big_endian, "the order of the length's bytes");
}

/// The arrows of a drawing of phases, as `from -- event --> to`.
fn lives(name: &str) -> Set {
    let (mut outer, mut inside) = (None, Vec::new());
    let mut drawn = Set::new();
    for line in drawing(name) {
        if let Some(name) = line.strip_prefix("state ") {
            outer = Some((ident(name).to_owned(), true));
        } else if line == "}" {
            outer.as_mut().expect("an open box").1 = false;
        }
        let Some((from, rest)) = line.split_once(" --> ") else { continue };
        let (to, events) = rest.split_once(": ").unwrap_or((rest, ""));
        if outer.as_ref().is_some_and(|(_, open)| *open) {
            inside.extend(
                [from, to].iter().filter(|phase| **phase != "[*]").map(|phase| (*phase).to_owned()),
            );
        }
        // An arrow from the box is one from each phase in it.
        let boxed = outer.as_ref().is_some_and(|(name, _)| name == from);
        for from in if boxed { inside.clone() } else { vec![from.to_owned()] } {
            drawn.extend(events.split(", ").map(|event| match event {
                "" => format!("{from} --> {to}"),
                event => format!("{from} -- {event} --> {to}"),
            }));
        }
    }
    drawn
}

/// The same, of the code: a walk through every phase and every event.
macro_rules! lived {
    ($phase:ident, $event:ident) => {{
        let mut code = Set::new();
        for from in $phase::ALL {
            for event in $event::ALL {
                code.extend(from.next(event).map(|to| format!("{from:?} -- {event:?} --> {to:?}")));
            }
        }
        code.insert(format!("[*] --> {:?}", $phase::ALL[0]));
        code.insert(format!("{:?} --> [*]", $phase::ALL[$phase::ALL.len() - 1]));
        code
    }};
}

#[test]
fn the_life_of_a_connection_is_drawn_as_it_is_lived() {
    compare("diagrams/connection.mmd", &lives("connection"), &lived!(Phase, PhaseEvent));
}

#[test]
fn the_life_of_a_link_is_drawn_as_it_is_lived() {
    compare("diagrams/link.mmd", &lives("link"), &lived!(LinkPhase, LinkPhaseEvent));
}

/// The uses, `from --> to`, that do not follow from two or more others.
fn not_implied(uses: &Set) -> Set {
    let split = |line: &String| line.split_once(" --> ").map(|(a, b)| (a.to_owned(), b.to_owned()));
    let pairs: BTreeSet<_> = uses.iter().filter_map(split).collect();
    let mut all = pairs.clone();
    loop {
        let longer = |(a, b): &(String, String)| {
            let (a, b) = (a.clone(), b.clone());
            pairs.iter().filter(move |(c, _)| *c == b).map(move |(_, d)| (a.clone(), d.clone()))
        };
        let found: Vec<_> =
            all.iter().flat_map(longer).filter(|pair| !all.contains(pair)).collect();
        if found.is_empty() {
            break;
        }
        all.extend(found);
    }
    let implied = |(a, b): &&(String, String)| {
        pairs.iter().any(|(c, d)| c == a && d != b && all.contains(&(d.clone(), b.clone())))
    };
    pairs.iter().filter(|pair| !implied(pair)).map(|(a, b)| format!("{a} --> {b}")).collect()
}

#[test]
fn the_layers_are_drawn_as_they_are_used() {
    let layers = layers();
    let mut code = Set::new();
    for file in
        sources().iter().filter(|file| !PROSE.contains(&file.module()) && file.path != "src/lib.rs")
    {
        let module = file.module();
        for used in used_modules(&file.code).iter().filter(|used| *used != module) {
            assert!(
                layers.get(used).is_some_and(|used| used < &layers[module]),
                "{}: `crate::{used}` is not below {module}",
                file.path
            );
            code.insert(format!("{module} --> {used}"));
        }
    }
    let drawn =
        arrows("layers").into_iter().map(|(from, _, to)| format!("{from} --> {to}")).collect();
    compare("diagrams/layers.mmd, uses", &drawn, &not_implied(&code));
    let numbered =
        |(id, label): (String, String)| format!("{} = {id}", label.lines().next().unwrap());
    let drawn = nodes("layers").into_iter().map(numbered).collect();
    let code =
        layers.iter().map(|(module, layer)| format!("{layer} {module} = {module}")).collect();
    compare("diagrams/layers.mmd, layers", &drawn, &code);
}

/// The folders whose files import each other in one direction only.
const WITHOUT_CIRCLES: [&str; 5] = ["classic", "dispatch", "message", "reliable", "session"];

#[test]
fn the_files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let files = sources();
    for folder in WITHOUT_CIRCLES {
        let root = format!("src/{folder}.rs");
        let name = |file: &File| {
            let rest = file.path.strip_prefix("src/")?.strip_prefix(folder)?;
            Some(rest.strip_suffix(".rs")?.trim_start_matches('/').to_owned())
        };
        let names: Set = files.iter().filter_map(name).collect();
        // What is no file is defined in the root, whose name is empty here.
        let file_of = |item: &String| if names.contains(item) { item } else { "" }.to_owned();
        let mut uses: BTreeMap<String, Set> = BTreeMap::new();
        for file in &files {
            let Some(name) = name(file) else { continue };
            // What the root only exports is not used by it.
            let prefix =
                if file.path == root { "\nuse self::".to_owned() } else { format!("{folder}::") };
            let used = used_behind(&file.code, &prefix).iter().map(file_of).collect::<Set>();
            uses.insert(name.clone(), used.into_iter().filter(|used| *used != name).collect());
        }
        assert!(uses.len() > 3 && uses.values().any(|used| !used.is_empty()), "{folder}: {uses:?}");
        while let Some(leaf) =
            uses.iter().find(|(_, used)| used.is_empty()).map(|(name, _)| name.clone())
        {
            uses.remove(&leaf);
            for used in uses.values_mut() {
                used.remove(&leaf);
            }
        }
        assert!(uses.is_empty(), "{folder}: a circle is among {uses:#?}");
    }
}

#[test]
fn the_actors_are_drawn_as_they_start_watch_and_talk() {
    // The handlers of a simulated network are those of an application.
    let of_nodes = |file: &File| !file.path.starts_with("src/peer/sim/");
    let files: Vec<File> = sources().into_iter().filter(of_nodes).collect();
    let actors = actors(&files);
    let nodes = nodes("actors");
    let is_item = |id: &&String| id.starts_with(|c: char| c.is_uppercase());
    let drawn: Set = nodes
        .keys()
        .filter(is_item)
        .filter(|id| !defined_besides(&files, &actors, id))
        .cloned()
        .collect();
    compare("diagrams/actors.mmd, actors", &drawn, &actors.keys().cloned().collect());
    for (id, label) in &nodes {
        if is_item(&id) {
            assert_eq!(
                label.lines().next(),
                Some(id.as_str()),
                "a code item is shown under its own name"
            );
        }
    }

    let (mut started, mut messages, mut outward, mut watched) =
        (Set::new(), Set::new(), Set::new(), Set::new());
    for (from, label, to) in arrows("actors") {
        for line in label.split("<br/>") {
            let (line, from, to) = match line.strip_suffix(" ↑") {
                Some(line) => (line, &to, &from),
                None => (line.trim_end_matches(" ↓"), &from, &to),
            };
            for word in line.split(", ").map(|word| word.trim_end_matches(',')) {
                if word == "starts" {
                    started.insert(format!("{from} -> {to}"));
                } else if actors.contains_key(to) {
                    messages.insert(format!("{word} -> {to}"));
                }
                if word == "ChildEnded" {
                    watched.insert(from.clone());
                }
                if to == "HandlerActor" || to == "subscriber" {
                    outward.insert(word.to_owned());
                }
            }
        }
    }
    compare("diagrams/actors.mmd, who starts whom", &started, &starts(&files));
    compare("diagrams/actors.mmd, messages", &messages, &handled(&files));
    let mut chosen = to_the_application(&files);
    chosen.remove("ChildEnded");
    compare("diagrams/actors.mmd, messages to the application's actors", &outward, &chosen);
    let supervisor =
        files.iter().find(|file| file.path == "src/peer/actor.rs").expect("the PeerActor");
    let children = supervisor
        .code
        .match_indices("self.guard(Child::")
        .map(|(at, found)| format!("{}Actor", ident(&supervisor.code[at + found.len()..])));
    compare("diagrams/actors.mmd, who is watched", &watched, &children.collect());
}

/// A drawn code item that is no actor itself: a handle, or the trait of the application's actors.
fn defined_besides(files: &[File], actors: &BTreeMap<String, &File>, name: &str) -> bool {
    !actors.contains_key(name) && defined(files, name)
}

/// What the notes of a journey say, in order. Everything else in it is checked: the participants,
/// the functions that are called and the messages that are sent are in the code.
fn notes(name: &str) -> Vec<String> {
    let files = sources();
    let (mut unknown, mut notes) = (Set::new(), Vec::new());
    let mut check = |name: &str, line: &str| {
        if !defined(&files, name) {
            unknown.insert(format!("{name} (in {line:?})"));
        }
    };
    for line in drawing(name) {
        if let Some((_, note)) =
            line.strip_prefix("Note over ").and_then(|rest| rest.split_once(": "))
        {
            notes.push(note.to_owned());
        } else if let Some(who) = line.strip_prefix("participant ") {
            match who.split_once(" as ") {
                Some((_, who)) if who.starts_with(|c: char| c.is_lowercase()) => {}
                Some((_, who)) => check(who.split(',').next().unwrap(), &line),
                None => check(who, &line),
            }
        } else if let Some(who) = line.strip_prefix("box ") {
            let who = who.rsplit(' ').next().unwrap();
            if who.starts_with(|c: char| c.is_uppercase()) {
                check(who, &line);
            }
        } else if let Some((_, text)) = line.split_once(": ") {
            for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
                match word.strip_suffix("()") {
                    Some(function) => check(function, &line),
                    None if word.starts_with(|c: char| c.is_uppercase()) => check(word, &line),
                    None => {}
                }
            }
        }
    }
    assert!(unknown.is_empty(), "diagrams/{name}.mmd: drawn, but not in the code: {unknown:#?}");
    notes
}

#[test]
fn the_journey_passes_things_that_exist_in_the_order_of_the_phases() {
    let lived = Phase::ALL.map(|phase| format!("{phase:?}"));
    assert_eq!(notes("journey"), lived, "diagrams/journey.mmd: the notes are the phases, in order");
}

#[test]
fn the_road_of_a_message_over_a_link_passes_things_that_exist() {
    assert_eq!(notes("road").len(), 2);
}

#[test]
fn every_picture_shows_its_source() {
    for entry in fs::read_dir(root().join("diagrams")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some((stem, _)) = name
            .rsplit_once('.')
            .filter(|(stem, ext)| !stem.is_empty() && ["mmd", "svg"].contains(ext))
        {
            let tested = PICTURES.contains(&stem) || PLOTS.contains(&stem);
            assert!(tested, "diagrams/{name} is not tested");
        }
    }
    for name in PICTURES {
        let path = format!("diagrams/{name}.svg");
        let svg = read(&path);
        assert!(svg.len() < LARGEST_PICTURE, "{path} has {} bytes", svg.len());
        assert!(
            !svg.contains("<foreignObject"),
            "{path}: text that is no <text> is not shown everywhere"
        );
        let (metadata, shown) = svg.split_once("</metadata>").expect("the source in the picture");
        let source =
            metadata.split_once("<metadata>").unwrap().1.replace("&lt;", "<").replace("&amp;", "&");
        let current = read(&format!("diagrams/{name}.mmd"));
        assert_eq!(source, current, "{path} is stale: run `node diagrams/render.mjs`");
        compare(
            &format!("{path}, words (drawn: in the picture, code: in the source)"),
            &text_of(shown),
            &visible_words(name),
        );
    }
}

#[test]
fn the_screenshot_is_small_and_in_the_readme() {
    let path = "diagrams/fileshare.png";
    let len = fs::metadata(root().join(path)).unwrap().len();
    assert!(len < LARGEST_SCREENSHOT, "{path} has {len} bytes");
    assert!(read("README.md").contains(path));
}

/// The words between the tags of a picture.
fn text_of(svg: &str) -> Set {
    let mut text = String::new();
    let mut rest = svg;
    while let Some(at) = rest.find("<text") {
        let end = at + rest[at..].find("</text>").expect("the end of a text");
        for piece in rest[at..end].split('<') {
            text.push_str(piece.split_once('>').map_or("", |(_, text)| text));
            text.push(' ');
        }
        rest = &rest[end..];
    }
    words(&text)
}

#[test]
fn the_page_of_pictures_shows_every_one() {
    let page = read("diagrams/README.md");
    let missing: Vec<_> = PICTURES
        .iter()
        .chain(&PLOTS)
        .map(|name| format!("({name}.svg)"))
        .filter(|path| !page.contains(path))
        .collect();
    assert!(missing.is_empty(), "diagrams/README.md does not show {missing:?}");
}

#[test]
fn no_file_is_too_long() {
    let lines = |file: &File| file.code.lines().filter(|line| !line.trim().is_empty()).count();
    let long: Vec<_> = sources()
        .iter()
        .map(|file| (lines(file), file.path.clone()))
        .filter(|(n, _)| *n > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "more than {LONGEST_FILE} lines of code: {long:#?}");
}

#[test]
fn the_lower_layers_have_no_clock_no_socket_and_no_actor() {
    const FORBIDDEN: [&str; 7] =
        ["async", "await", "now()", "Instant::now", "SystemTime::now", "actix::", "tokio::net"];
    let layers = layers();
    let mut found = Vec::new();
    let low = |file: &&File| layers.get(file.module()).is_some_and(|layer| *layer <= 3);
    // The one place where the layers above get the time.
    for file in sources().iter().filter(low).filter(|file| file.path != "src/time.rs") {
        for (at, line) in file.code.lines().enumerate() {
            for word in FORBIDDEN {
                let whole = |rest: &str| word.ends_with(':') || !rest.starts_with(is_word);
                if after(line, word).any(whole) {
                    found.push(format!("{}:{}: {word}", file.path, at + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "in the layers that only compute: {found:#?}");
}

#[test]
fn one_place_takes_threads_and_random_numbers_from_the_system() {
    const FORBIDDEN: [&str; 6] = [
        "spawn_blocking",
        "thread::spawn",
        "fastrand::Rng::new",
        "getrandom",
        "rand::rng",
        "from_os_rng",
    ];
    const PLACE: &str = "src/node/clock.rs";
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.path != PLACE) {
        for (at, line) in file.code.lines().enumerate() {
            found.extend(
                FORBIDDEN
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}:{}: {word}", file.path, at + 1)),
            );
        }
    }
    assert!(found.is_empty(), "a simulation does not depend on them: {found:#?}");
}
