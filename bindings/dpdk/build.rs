//! Passes the link arguments that DPDK needs on to this package's examples and tests.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in std::env::var("DEP_DPDK_LINK_ARGS").unwrap_or_default().split_whitespace() {
        println!("cargo::rustc-link-arg={argument}");
    }
}
