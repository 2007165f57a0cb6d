//! Why an identity cannot be used.

/// Why an identity cannot be loaded, stored or generated. No file was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The system gives no random numbers.
    #[error("the operating system returned no random numbers")]
    NoRandom,
    /// The file cannot be read.
    #[error("cannot read the identity {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Others may read the file, so they may know its key. If you are sure that they do not, remove
    /// their permissions: `chmod 600`.
    #[error("the identity {path} can be read by others (mode {mode:04o}): set its mode to 0600")]
    ReadableByOthers {
        /// Which file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a regular file.
    #[error("the identity {path} is not a regular file")]
    NotAFile {
        /// Which.
        path: String,
    },
    /// The content of the file is not an Ed25519 key as PKCS#8 PEM.
    #[error("the identity {path} is not an Ed25519 key as PKCS#8 PEM")]
    Malformed {
        /// Which file.
        path: String,
    },
    /// The file exists already; identities are never overwritten.
    #[error("the file {path} already exists")]
    Exists {
        /// Which file.
        path: String,
    },
    /// The file cannot be written.
    #[error("cannot write the identity {path}: {source}")]
    Write {
        /// Which file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
}
