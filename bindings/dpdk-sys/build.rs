//! Finds DPDK with pkg-config, generates the bindings, builds the shim, says what to link.
//!
//! Metadata for the build scripts of packages that depend on this one: `DEP_DPDK_VERSION`, and
//! `DEP_DPDK_LINK_ARGS`, the arguments that a binary must be linked with, separated by spaces.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// What bindings are made for. Everything else of DPDK's headers stays out.
const FUNCTIONS: &[&str] = &[
    "natlb_.*",
    "rte_eal_(init|cleanup|remote_launch|wait_lcore)",
    "rte_eth_dev_(close|get_mtu|get_port_by_name|set_mtu|socket_id|start|stop)",
    "rte_eth_(allmulticast|promiscuous)_enable",
    "rte_eth_random_addr",
    "rte_eth_[rt]x_queue_setup",
    "rte_get_tsc_hz",
    "rte_mbuf_best_mempool_ops",
    "rte_mempool_(avail_count|free|in_use_count)",
    "rte_pdump_init",
    "rte_pktmbuf_pool_create",
    "rte_strerror",
    "rte_version",
];

/// The functions of the feature `hash`.
const HASH_FUNCTIONS: &str = "rte_hash_(add_key|free|lookup_bulk)";

/// Layouts that nothing may rely on, and header structures that mix `packed` with `align`, which
/// Rust refuses.
const OPAQUE: &[&str] = &[
    "rte_mbuf",
    "rte_mempool",
    "rte_eth_rxconf",
    "rte_eth_txconf",
    "rte_.*_hdr",
    "rte_arp_ipv4",
    "rte_flow",
    "rte_flow_.*",
    "rte_hash",
];

/// The shared libraries that are called into. No driver and no mempool library: EAL loads those from
/// its plugin directory, and secondary processes such as dpdk-dumpcap rely on that order.
const LIBRARIES: &[&str] = &["rte_pdump", "rte_ethdev", "rte_net", "rte_mbuf", "rte_mempool", "rte_eal"];

fn main() {
    for file in ["build.rs", "shim/headers.h", "shim/shim.h", "shim/shim.c", "shim/hash.h", "shim/hash.c"] {
        println!("cargo::rerun-if-changed={file}");
    }
    for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "LIBCLANG_PATH", "CC", "CFLAGS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }

    let version = pkg_config(&["--modversion"]).concat();
    check_version(&version);
    println!("cargo::metadata=version={version}");

    let cflags = pkg_config(&["--cflags"]);
    generate(&cflags);
    let mut shim = cc::Build::new();
    shim.file("shim/shim.c").flag("-std=gnu11").define("_GNU_SOURCE", None).opt_level(3).debug(true);
    if has_hash() {
        shim.file("shim/hash.c");
    }
    for flag in &cflags {
        // As system headers: their warnings are not ours.
        match flag.strip_prefix("-I") {
            Some(directory) => shim.flag("-isystem").flag(directory),
            None => shim.flag(flag),
        };
    }
    shim.compile("natlb_shim");

    link();
}

/// `pkg-config ARGUMENTS libdpdk`, in words.
fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = match Command::new(&program).args(arguments).arg("libdpdk").output() {
        Ok(output) => output,
        Err(why) => fail(&format!("{program} does not start: {why}")),
    };
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        fail(&format!("DPDK is not found: {}", why.lines().next().unwrap_or("pkg-config fails")));
    }
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

/// 22.11 up to and without 26: the range that the shim was written for.
fn check_version(version: &str) {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if release < (22, 11) || release.0 >= 26 {
        fail(&format!("DPDK {version} is installed; supported are 22.11 up to 25.11"));
    }
}

fn generate(cflags: &[String]) {
    choose_libclang();
    let mut builder = bindgen::Builder::default()
        .header("shim/headers.h")
        .clang_args(cflags)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_default(true)
        .allowlist_item("(natlb|NATLB)_.*")
        .generate_comments(false);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    if has_hash() {
        builder = builder.header("shim/hash.h").allowlist_function(HASH_FUNCTIONS);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    // bindgen panics where libclang is missing.
    let bindings = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate())) {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(why)) => fail(&format!("bindgen can't read DPDK's headers: {why}")),
        Err(_) => fail("bindgen can't use libclang"),
    };
    let path = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindings.write_to_file(&path).expect("OUT_DIR is writable");
}

/// Where several LLVMs are installed, the libclang that is loaded must be of the version whose own
/// headers are found, those of `clang`: otherwise the vector intrinsics do not parse.
fn choose_libclang() {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return;
    }
    let Ok(output) = Command::new("clang").arg("-print-resource-dir").output() else { return };
    let resources = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let Some(directory) = resources.parent().and_then(Path::parent) else { return };
    let has_libclang = directory.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libclang")))
    });
    if has_libclang {
        // SAFETY: a build script has one thread here.
        unsafe { env::set_var("LIBCLANG_PATH", directory) };
    }
}

fn link() {
    let directories = pkg_config(&["--libs-only-L"]);
    for directory in directories.iter().filter_map(|flag| flag.strip_prefix("-L")) {
        println!("cargo::rustc-link-search=native={directory}");
    }
    let mut arguments = Vec::new();
    if env::var_os("CARGO_FEATURE_STATIC").is_some() {
        // Unchanged and in order: drivers register in constructors, which survive only between the
        // line's --whole-archive and --no-whole-archive.
        arguments = pkg_config(&["--static", "--libs"]);
    } else {
        // First, for it needs the others.
        if has_hash() {
            println!("cargo::rustc-link-lib=dylib=rte_hash");
        }
        // From 23.11 on the log is a library of its own.
        let log = pkg_config(&["--libs-only-l"]).iter().any(|flag| flag == "-lrte_log").then_some("rte_log");
        for library in LIBRARIES.iter().copied().chain(log) {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
        // A DPDK outside the system's directories is found at run time too.
        let rpaths = directories.iter().filter_map(|flag| flag.strip_prefix("-L"));
        arguments.extend(rpaths.map(|directory| format!("-Wl,-rpath,{directory}")));
    }
    println!("cargo::metadata=link_args={}", arguments.join(" "));
}

fn has_hash() -> bool {
    env::var_os("CARGO_FEATURE_HASH").is_some()
}

fn fail(what: &str) -> ! {
    println!("cargo::error={what}");
    println!("cargo::error=on Debian and Ubuntu: apt install libdpdk-dev libclang-dev clang pkg-config");
    println!("cargo::error=a DPDK of your own: PKG_CONFIG_PATH=PREFIX/lib/pkgconfig");
    exit(1)
}
