//! What a program declares: record types, typed expressions, view plans. No I/O happens here.

pub mod definition;
pub mod node;
pub mod plan;
pub mod record;
pub mod shape;
