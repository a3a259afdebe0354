#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Metrics: {
        $from: TailEvents,
        $groupBy: [script_name],
        $compute: { times: $histogram(wall_time, [10.0, 5.0]) },
    }
}

fn main() {}
