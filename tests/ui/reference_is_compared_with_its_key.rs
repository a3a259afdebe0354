#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Ones: { $from: Relation, $filter: { organization: "1" }, $select: { id } }
    pub Anns: { $from: Relation, $filter: { member: { $in: ["ann", 1] } }, $select: { id } }
}

fn main() {}
