#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub A: { $from: TailEvents, $select: { script_name } }
    pub A: { $from: TailEvents, $select: { outcome } }
}

fn main() {}
