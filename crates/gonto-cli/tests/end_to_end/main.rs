//! The program `gonto` as its users meet it: configuration, images, scripts and signals in; output, exit status and
//! files out. Every test has a home, a state folder, a cache and a repository of its own, and fails when it leaves a
//! process or a mount behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, their helpers included")]

mod support;

mod command_line;
mod create;
mod portable_image;
#[cfg(windows)]
mod resources;

#[cfg(target_os = "linux")]
mod backend;
#[cfg(target_os = "linux")]
mod bad_input;
#[cfg(target_os = "linux")]
mod chains;
#[cfg(target_os = "linux")]
mod content;
#[cfg(target_os = "linux")]
mod corpus;
#[cfg(target_os = "linux")]
mod doctor;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod index;
#[cfg(target_os = "linux")]
mod kill;
#[cfg(target_os = "linux")]
mod layers;
#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod mount_points;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod permanent;
#[cfg(target_os = "linux")]
mod pipeline;
#[cfg(target_os = "linux")]
mod roads;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod state;
#[cfg(target_os = "linux")]
mod unmount;
#[cfg(windows)]
mod virtdisk;
#[cfg(windows)]
mod windows;
