#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub struct Buyer {
    pub id: u32,
    pub name: String,
    pub firm: Ref<Firm>,
    pub firm_name: String,
}

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub struct Firm {
    pub id: u32,
    pub name: String,
}

#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Sale {
    pub buyer_name: String,
    pub customer: Ref<Buyer>,
}

views! {
    pub Once: { $from: Sale, $expand: [customer], $flatten: { customer: by } }
    pub Twice: { $from: Once, $expand: [customer.firm] }
}

fn main() {}
