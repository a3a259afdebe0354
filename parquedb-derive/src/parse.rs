//! From tokens to views. What cannot be understood is recorded and left out, so that everything else
//! still expands: an editor then goes on completing while a line is half written.

pub(crate) mod aggregates;
pub(crate) mod columns;
pub(crate) mod constant;
mod dollar;
pub(crate) mod expand;
pub(crate) mod expr;
pub(crate) mod filter;
mod infix;
mod operator;
pub(crate) mod path;
pub(crate) mod refresh;
pub(crate) mod ttl;
pub(crate) mod view;
pub(crate) mod walk;
