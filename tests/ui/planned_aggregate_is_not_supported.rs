#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $groupBy: [script_name],
        $compute: { root: $sqrt(wall_time) },
    }
}

fn main() {}
