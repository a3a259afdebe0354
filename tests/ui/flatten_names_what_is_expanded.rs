#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [member], $flatten: { membr: who }, $select: { id } }
    pub W: { $from: Relation, $flatten: { member: who }, $select: { id } }
}

fn main() {}
