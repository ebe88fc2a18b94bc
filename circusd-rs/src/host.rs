//! The other side of the contract: everything that touches the kernel.

pub mod child;
pub mod clock;
pub mod configure;
pub mod files;
pub mod interrupt;
pub mod reset;
pub mod runner;
pub mod sample;
pub mod spawn;
pub mod stream;
pub mod tree;
mod walk;
