//! Collections that refer to one another, for the tests beside it.
#![allow(dead_code, unused_imports)]
pub use parquedb::{Collection, Ref, database, views};

#[derive(Collection)]
#[collection(key = id)]
pub struct Organization {
    pub id: u32,
    pub display_name: String,
    pub owner: Option<Ref<Member>>,
}

#[derive(Collection)]
#[collection(key = login)]
pub struct Member {
    pub login: String,
    pub is_bot: bool,
    pub organization: Ref<Organization>,
}

#[derive(Collection)]
pub struct Relation {
    pub id: i64,
    pub member: Ref<Member>,
    pub organization: Option<Ref<Organization>>,
    pub reviewers: Vec<Ref<Member>>,
}
