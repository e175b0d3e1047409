# shellcheck shell=bash
# Sourced by the scripts that run lbd in a guest, after environment.sh: a kernel of a Debian package and a small root
# for it, with lbd, lbctl and the DPDK drivers that are needed.
PATH=$PATH:/usr/sbin:/sbin

unavailable=3
skip() {
    printf '%s: SKIPPED, nothing was shown: %s\n' "${0##*/}" "$*" >&2
    exit $unavailable
}

need_guest() {
    need_root "a lab with a guest in it"
    local command program
    for command in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio dpkg-deb:dpkg apt-get:apt; do
        command -v "${command%%:*}" >/dev/null || skip "${command%%:*} is missing: apt-get install --no-install-recommends ${command#*:}"
    done
    if ldd "$(command -v busybox)" >/dev/null 2>&1; then skip "busybox is not static: apt-get install busybox-static"; fi
    [ -c /dev/net/tun ] || skip "/dev/net/tun is missing: modprobe tun"
    # shellcheck disable=SC2154  # of environment.sh
    for program in lbd lbctl; do
        [ -x "$bin/$program" ] || fail "$bin/$program is missing: cargo build --release"
    done
}

# Puts the kernel of the package that $1 stands for, and the modules after it, into $kernel; kept from run to run.
fetch_kernel() {
    local meta=$1 package module file work
    shift
    kernel=$CARGO_TARGET_DIR/guest/$meta
    [ -f "$kernel/version" ] && return
    package=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || skip "apt knows no $meta: apt-get update, on Debian"
    say "downloading $package"
    work=$(mktemp -d)
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$work'" RETURN
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package") || skip "$package can't be downloaded: apt-get update"
    dpkg-deb -x "$work"/*.deb "$work/package"
    rm -rf "$kernel"
    mkdir -p "$kernel"
    cp "$work"/package/boot/vmlinuz-* "$kernel/vmlinuz"
    for module in "$@"; do
        # Debian 12 has them plain, later releases packed.
        file=$(find "$work/package" -name "$module.ko*" | head -n 1)
        case $file in
            *.ko) cp "$file" "$kernel/" ;;
            *.ko.xz) xz -dc "$file" >"$kernel/$module.ko" ;;
            *) skip "$package has no module $module" ;;
        esac
        echo "/$module.ko" >>"$kernel/modules"
    done
    echo "$package" >"$kernel/version"
}

# Makes the guest's root in $1, with the DPDK drivers after it, and packs it into $2.
make_root() {
    local guest=$1 packed=$2 libraries drivers driver driver_files=() file library real name
    shift 2
    mkdir -p "$guest"/{bin,dev,proc,sys,run,tmp,etc,hugepages}
    cp "$(command -v busybox)" "$guest/bin/busybox"
    cp "$kernel"/*.ko "$kernel/modules" "$guest/"
    install -m 755 tests/guest/init "$guest/init"
    install -m 755 -s "$bin/lbd" "$bin/lbctl" "$guest/bin/"
    # DPDK loads its drivers from this folder; the guest needs few.
    libraries=$(pkg-config --variable=libdir libdpdk)
    drivers=$(find "$libraries/dpdk" -maxdepth 1 -name 'pmds-*' 2>/dev/null | head -n 1)
    for driver in bus_pci bus_vdev mempool_ring "$@"; do
        # Version names are links to one file.
        file=$(readlink -f "$drivers/librte_$driver.so") || skip "DPDK's librte_$driver is not in $drivers"
        driver_files+=("$file")
    done
    # Each library once, and links to it by its other names: DPDK refuses a driver that is loaded twice.
    mkdir -p "$guest/usr/lib" "$guest/lib64"
    ln -s usr/lib "$guest/lib"
    cp -L /lib64/ld-linux-x86-64.so.2 "$guest/lib64/"
    {
        printf '%s\n' "${driver_files[@]}"
        ldd "$bin/lbd" "$bin/lbctl" "${driver_files[@]}" | sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p'
    } | sort -u | while read -r library; do
        real=$(readlink -f "$library") name=/usr/${library#/} name=${name/#\/usr\/usr/\/usr}
        mkdir -p "$guest$(dirname "$real")"
        cp "$real" "$guest$real"
        if [ "$name" != "$real" ]; then ln -sf "$real" "$guest$name"; fi
    done
    (cd "$guest" && find . | cpio --quiet -o -H newc | gzip -1) >"$packed"
}

# Runs the checks of the Python package $1 with the guest's kernel and root, and the arguments after these.
run_checks() {
    local package=$1 packed=$2 checks
    shift 2
    NATLB_BIN=$bin python3 -B -m "$package" --kernel "$kernel/vmlinuz" --initramfs "$packed" "$@" &
    checks=$!
    # It ends the guest and takes the lab down.
    # shellcheck disable=SC2064  # its number now
    trap "kill $checks 2>/dev/null; wait $checks || true; exit 130" INT TERM HUP
    wait "$checks"
}
