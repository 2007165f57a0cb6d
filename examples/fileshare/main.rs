mod digest; mod limits; mod model; mod name; mod protocol; mod search;
fn main() {}
