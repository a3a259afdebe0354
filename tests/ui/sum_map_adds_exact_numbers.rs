#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $groupBy: [script_name],
        $compute: { time: $sumMap(outcome, wall_time), tags: $sumMap(tags) },
    }
}

fn main() {}
