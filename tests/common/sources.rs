//! The Rust sources of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of the package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.append(&mut rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The text of every Rust file below these folders of the package.
pub(crate) fn code_of(folders: &[&str]) -> String {
    let files = folders.iter().flat_map(|folder| rust_files(&root().join(folder)));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}
