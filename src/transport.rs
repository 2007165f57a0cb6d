//! Layer 4: listening, dialling and byte streams.
