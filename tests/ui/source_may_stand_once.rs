#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: [TailEvents, TailEvents],
        $select: { script_name },
    }
}

fn main() {}
