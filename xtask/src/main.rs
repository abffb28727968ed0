//! Setup, tests, demo and benchmarks for those who change the code
fn main(){}
