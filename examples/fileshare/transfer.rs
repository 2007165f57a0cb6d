//! Fetching files.
mod plan; mod store;
