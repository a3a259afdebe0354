#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $filter: { outcome: { $in: ["ok", 200] } },
        $select: { script_name },
    }
}

fn main() {}
