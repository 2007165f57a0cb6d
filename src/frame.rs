//! Layer 1: bytes, frames and typed messages.
