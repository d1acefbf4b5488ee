//! The effgan program.
fn main() {}
