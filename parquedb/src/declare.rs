//! What a program declares: record types, typed expressions, view plans. No I/O happens here.

pub mod aggregate;
pub mod assignment;
pub mod declared;
pub mod definition;
pub mod expand;
pub mod expr;
pub mod many;
pub mod node;
pub mod operand;
pub mod plan;
pub mod record;
pub mod reference;
pub mod shape;
pub mod sources;
pub mod view;
