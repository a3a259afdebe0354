#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $filter: 1 == 2,
        $select: { script_name },
    }
}

fn main() {}
