//! Differencing children: the same disk with another identity, and everybody reads it so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this file is a test; the lints only know functions marked as such"
)]

#[path = "../support/mod.rs"]
mod support;

mod family;

mod corpus;
mod damaged;
mod fields;
mod judges;
mod parents;
