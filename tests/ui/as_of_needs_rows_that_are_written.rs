#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Relations: { $from: Relation, $select: { id, member } }
    pub V: { $from: Relations, $expand: { member: asOf }, $select: { id, login: member.login } }
}

fn main() {}
