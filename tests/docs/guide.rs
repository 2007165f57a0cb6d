//! The chapters of the guide are complete and link each other. Doctests run their programs.

use std::{fs, path::Path};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A chapter as the contents list it: its number, title and module.
struct Chapter {
    number: usize,
    title: String,
    module: String,
}

impl Chapter {
    fn text(&self) -> String {
        read(&format!("src/guide/{}.md", self.module))
    }

    fn link(&self) -> String {
        format!("[{}](crate::guide::{})", self.title, self.module)
    }
}

/// Parses lines like `//! 3. [Messages and handlers](ch03_messages): a code, …`.
fn contents() -> Vec<Chapter> {
    let guide = read("src/guide.rs");
    let chapter = |line: &str| {
        let (number, rest) = line.strip_prefix("//! ")?.split_once(". [")?;
        let (title, rest) = rest.split_once("](")?;
        let (module, _) = rest.split_once("):")?;
        let (title, module) = (title.to_owned(), module.to_owned());
        Some(Chapter { number: number.parse().ok()?, title, module })
    };
    let chapters: Vec<_> = guide.lines().filter_map(chapter).collect();
    assert!(chapters.len() >= 15, "{} chapters", chapters.len());
    chapters
}

#[test]
fn the_contents_list_every_chapter_in_numerical_order() {
    let guide = read("src/guide.rs");
    let modules: Vec<_> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(" {}"))
        .map(str::to_owned)
        .collect();
    let chapters = contents();
    let listed: Vec<_> = chapters.iter().map(|chapter| chapter.module.clone()).collect();
    assert_eq!(listed, modules);
    for (at, chapter) in chapters.iter().enumerate() {
        assert_eq!(chapter.number, at + 1);
        let numbered = format!("ch{:02}_", chapter.number);
        assert!(chapter.module.starts_with(&numbered), "{}", chapter.module);
    }
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    assert_eq!(fs::read_dir(files).unwrap().count(), chapters.len());
}

#[test]
fn every_chapter_links_the_one_before_it_the_one_after_it_and_the_contents() {
    let chapters = contents();
    for (at, chapter) in chapters.iter().enumerate() {
        let text = chapter.text();
        let links =
            text.rsplit_once("\n---\n\n").expect("the chapter ends with a rule above its links").1;
        let before = at.checked_sub(1).and_then(|at| chapters.get(at));
        let before = before.map(|before| format!("Previous: {}", before.link()));
        let after = chapters.get(at + 1).map(|after| format!("Next: {}", after.link()));
        let contents = Some("[Contents](crate::guide)".to_owned());
        let expected: Vec<_> = [before, after, contents].into_iter().flatten().collect();
        let links: Vec<_> = links.split(" ·").map(str::trim).collect();
        assert_eq!(links, expected, "{}", chapter.module);
    }
}

#[test]
fn every_chapter_has_a_picture_a_program_and_something_to_try() {
    for chapter in contents() {
        let text = chapter.text();
        let has = |part: &str| text.contains(part);
        for part in ["\n# The idea\n", "\n```\n", "\n# What goes wrong\n", "\n# Try this\n"] {
            assert!(has(part), "{} has no {part:?}", chapter.module);
        }
        assert!(has("\n```text\n"), "{} has no picture", chapter.module);
        // rustdoc shows the first line as the summary of the chapter.
        let summary = text.lines().next().unwrap();
        assert!(summary.starts_with(&chapter.title), "{}: {summary:?}", chapter.module);
    }
}

/// Columns of a text picture that a page of the documentation shows without scrolling.
const PICTURE: usize = 90;

/// Columns of a line of code, the same limit as in the sources.
const CODE: usize = 100;

#[test]
fn pictures_and_programs_of_the_guide_fit_on_a_page() {
    for chapter in contents() {
        let mut limit = None;
        for line in chapter.text().lines() {
            limit = match line.strip_prefix("```") {
                Some("text") => Some(PICTURE),
                Some(_) if limit.is_none() => Some(CODE),
                Some(_) => None,
                None => limit,
            };
            let columns = line.chars().count();
            let fits = limit.is_none_or(|limit| columns <= limit);
            assert!(fits, "{}: {columns} columns: {line}", chapter.module);
        }
    }
}

#[test]
fn every_example_that_the_guide_names_exists() {
    for chapter in contents() {
        let text = chapter.text();
        for name in text.split("`examples/").skip(1).filter_map(|rest| rest.split('`').next()) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
            assert!(path.exists(), "{}: examples/{name} is missing", chapter.module);
        }
    }
}

#[test]
fn every_metric_that_the_guide_names_is_in_the_table_of_metrics() {
    let table = read("src/peer/metrics.md");
    let mut named = 0;
    for chapter in contents() {
        let text = chapter.text();
        for name in text.split("`actix_peer_").skip(1).filter_map(|rest| rest.split('`').next()) {
            named += 1;
            assert!(table.contains(&format!("`actix_peer_{name}`")), "{}: {name}", chapter.module);
        }
    }
    assert!(named > 0);
}

#[test]
fn the_readme_and_the_front_page_of_the_documentation_link_the_guide() {
    assert!(read("README.md").contains("[The guide](src/guide.rs)"));
    assert!(read("src/lib.rs").contains("[The guide](guide)"));
}
