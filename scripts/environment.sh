# shellcheck shell=bash
# Sourced by the scripts here: where the repository is, how to speak, how to find cargo and what it built.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${CARGO_TARGET_DIR:=$root/target}"
case $CARGO_TARGET_DIR in /*) ;; *) CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;; esac
export CARGO_TARGET_DIR

# Where lbd and lbctl are taken from.
# shellcheck disable=SC2034  # used by those that source this
bin=${NATLB_BIN:-$CARGO_TARGET_DIR/release}

bold='' plain=''
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi

say() { printf '%s== %s%s\n' "$bold" "$*" "$plain"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "$1 needs root: run it again with sudo, or in a machine of its own"
}

# Puts cargo on PATH; sudo and a bare shell often leave rustup's folder out.
need_cargo() {
    command -v cargo >/dev/null && return
    local home
    for home in "${CARGO_HOME:-}" "$HOME/.cargo" ${SUDO_USER:+"$(getent passwd "$SUDO_USER" | cut -d: -f6)/.cargo"}; do
        if [ -n "$home" ] && [ -x "$home/bin/cargo" ]; then
            PATH=$home/bin:$PATH
            return
        fi
    done
    fail "cargo is missing (Debian 12's own is too old): install Rust 1.88 or newer with rustup"
}
