#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub A: { $from: C, $select: { script_name } }
    pub B: { $from: A, $select: { script_name } }
    pub C: { $from: B, $select: { script_name } }
}

fn main() {}
