//! What a program declares: record types, typed expressions, view plans. No I/O happens here.

pub mod declared;
pub mod definition;
pub mod expr;
pub mod node;
pub mod plan;
pub mod record;
pub mod shape;
