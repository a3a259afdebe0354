#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: { $from: TailEvents, $select: { kind: $source } }
    pub Grouped: {
        $from: [TailEvents, Metrics],
        $compute: { rows: $count },
        $having: $source == "TailEvents",
    }
}

fn main() {}
