#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Hourly: {
        $from: TailEvents,
        $groupBy: [{ hour: event_timestamp }],
        $compute: { n: $count(*) },
    }
}

views! {
    pub Followers: { $from: Hourly, $select: { n } }
}

fn main() {}
