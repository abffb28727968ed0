//! What the envelope promises, seen from outside. One binary, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod inbound;
mod outbound;
mod pattern;
mod robustness;
mod samples;
mod schema;
mod strictness;
mod topic;
mod wire;
