//! Benchmarks of the whole way, beside the ceilings of the same run
fn main(){}
