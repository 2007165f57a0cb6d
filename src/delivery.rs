#![doc = include_str!("delivery.md")]
