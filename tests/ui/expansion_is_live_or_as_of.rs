#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: { member: asof }, $select: { id } }
    pub W: { $from: Relation, $expand: member, $select: { id } }
}

fn main() {}
