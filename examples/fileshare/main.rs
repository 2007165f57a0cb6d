mod digest; mod limits; mod model; mod name; mod protocol; mod search; mod share; mod remote; mod transfer;
fn main() {}
