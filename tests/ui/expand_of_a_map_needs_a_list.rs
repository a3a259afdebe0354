#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;
use std::collections::BTreeMap;

#[derive(Collection)]
pub struct Team {
    pub roles: BTreeMap<String, Ref<Member>>,
}

views! {
    pub V: { $from: Team, $expand: [roles], $select: { lead: roles["lead"].login } }
}

fn main() {}
