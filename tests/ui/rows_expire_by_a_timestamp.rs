use parquedb::{Collection, Timestamp};

#[derive(Collection)]
#[collection(ttl = "7 days", on = at)]
pub struct BadDuration {
    pub at: Timestamp,
}

#[derive(Collection)]
#[collection(ttl = "7d", on = sent_at)]
pub struct UnknownField {
    pub send_at: Timestamp,
}

#[derive(Collection)]
#[collection(ttl = "7d", on = day)]
pub struct NotATimestamp {
    pub day: String,
    pub at: Option<Timestamp>,
}

#[derive(Collection)]
#[collection(ttl = "7d")]
pub struct WithoutField {
    pub at: Timestamp,
}

#[derive(Collection)]
#[collection(on = at)]
pub struct WithoutDuration {
    pub at: Timestamp,
}

fn main() {}
