//! Link arguments for DPDK, which those of a dependency do not pass on to a binary, and the versions that `--version`
//! names.

mod stamp;

fn main() {
    for argument in std::env::var("DEP_DPDK_LINK_ARGS").unwrap_or_default().split_whitespace() {
        println!("cargo::rustc-link-arg={argument}");
    }
    stamp::versions(".");
}
