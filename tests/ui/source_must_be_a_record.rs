#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

pub struct Plain {
    pub name: String,
}

views! {
    pub Metrics: { $from: Plain, $select: { name } }
}

fn main() {}
