//! Content that moves in parts: what it is by its digest, a check value for each part, which source is
//! asked for which part, and what a file with it may be called.
//!
//! All of it only decides. The caller reads files, sends messages and keeps the time. The example
//! `fileshare` drives it over links.
//!
//! ```
//! use actix_peer::overlay::content::{Cut, Digesting, ManifestReader, Plan, Task};
//!
//! // The owner computes the digest, part by part.
//! let data = vec![7; 3 << 20];
//! let cut = Cut::of(data.len() as u64).ok_or("too long")?;
//! let mut digesting = Digesting::new(cut);
//! (0..cut.parts()).for_each(|index| digesting.push(&data[cut.range(index)]));
//! let manifest = digesting.finish().ok_or("a part is missing")?;
//!
//! // Somebody who knows size and digest gets the check values from anybody, and verifies them.
//! let mut reader = ManifestReader::new(cut, manifest.digest());
//! reader.push(manifest.check_bytes())?;
//! let verified = reader.finish()?;
//!
//! // Two sources bring the parts. Each part is verified alone.
//! let now = tokio::time::Instant::now().into_std();
//! let mut plan = Plan::new(&vec![false; cut.parts() as usize], 2);
//! while let Task::Fetch(index) = plan.take(0, now) {
//!     assert!(verified.is_part(index, &data[cut.range(index)]));
//!     plan.done(0, index);
//! }
//! assert!(plan.is_finished());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod manifest;
mod name;
mod plan;

pub use self::{
    manifest::{
        Check, Cut, Digest, Digesting, InvalidDigest, MAX_PART, MAX_PARTS, MAX_SIZE, Manifest,
        ManifestReader, WrongChecks,
    },
    name::{FileName, InvalidName, deceives},
    plan::{Failure, Plan, SourceNumber, Standing, Task},
};
