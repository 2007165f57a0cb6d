//! Layer 3: content that is transferred in parts: its digest, a check value for each part, the plan
//! of which source is asked for which part, and safe file names.
//!
//! Sans-I/O: the caller reads files, sends messages and measures the time. The example `fileshare`
//! uses it over links.
//!
//! ```
//! use actix_peer::content::{Layout, Digesting, ManifestReader, Plan, Task};
//!
//! // The owner computes the digest, part by part.
//! let data = vec![7; 3 << 20];
//! let layout = Layout::of(data.len() as u64).ok_or("too long")?;
//! let mut digesting = Digesting::new(layout);
//! (0..layout.parts()).for_each(|index| digesting.push(&data[layout.range(index)]));
//! let manifest = digesting.finish().ok_or("a part is missing")?;
//!
//! // A node that knows the size and the digest gets the check values from any node, and verifies
//! // them.
//! let mut reader = ManifestReader::new(layout, manifest.digest());
//! reader.push(manifest.check_bytes())?;
//! let verified = reader.finish()?;
//!
//! // Two sources send the parts. Each part is verified by itself.
//! let now = tokio::time::Instant::now().into_std();
//! let mut plan = Plan::new(&vec![false; layout.parts() as usize], 2);
//! while let Task::Fetch(index) = plan.take(0, now) {
//!     assert!(verified.is_part(index, &data[layout.range(index)]));
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
        Check, Digest, Digesting, InvalidDigest, Layout, MAX_PART, MAX_PARTS, MAX_SIZE, Manifest,
        ManifestReader, WrongChecks,
    },
    name::{FileName, InvalidName, deceives},
    plan::{Failure, Plan, SourceNumber, Standing, Task},
};
