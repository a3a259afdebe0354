#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Lines: { $from: TailEvents, $unnest: { path: logs, keepEmtpy: true }, $select: { level: logs.level } }
    pub Nothing: { $from: TailEvents, $unnest: { keepEmpty: true }, $select: { outcome } }
    pub Flag: { $from: TailEvents, $unnest: { path: logs, keepEmpty: yes }, $select: { outcome } }
    pub Position: { $from: TailEvents, $unnest: { path: logs, index: i }, $filter: i > 2, $select: { i } }
}

fn main() {}
