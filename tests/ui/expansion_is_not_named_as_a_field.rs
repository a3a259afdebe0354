#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [member], $flatten: { member: id }, $select: { name: id.login } }
}

fn main() {}
