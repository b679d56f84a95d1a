#!/usr/bin/env bash
# Installs the peers that @viommu/peers talks to: two versions of QEMU, for Debian 12. Nothing of this project needs them to
# build or to pass its tests; tests that want one say so and skip.
#
#   scripts/install-peers.sh          as root; a minute or two, and about 1 GiB below .cache/peers
#   scripts/install-peers.sh --check  changes nothing; says what is there and what is missing
#
# Makes .cache/peers/env with lines NAME=VALUE, which @viommu/peers reads:
#   QEMU_7_2    QEMU of Debian 12 itself, installed with apt
#   QEMU_11_1   QEMU of trixie-backports, in a Debian tree of its own (.cache/peers/trixie)
#
# May be run again at any time: what is there already stays as it is.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
peers=$root/.cache/peers
tree=$peers/trixie
newer=$peers/qemu-11.1
program=qemu-system-x86_64
export DEBIAN_FRONTEND=noninteractive

say() { printf '%s\n' "$*"; }
version() { "$1" -version 2>/dev/null | sed -n 's/.*version \([0-9.]*\).*/\1/p;q'; }

# QEMU of another release runs on the libraries of its own tree, without a change of root: so it sees the files that its
# caller sees. It would also see modules of this release's QEMU, and fail at the first: its own lie over them, in a mount
# namespace that ends with it.
write_launcher() {
  cat >"$newer" <<SCRIPT
#!/bin/sh
tree="$tree"
libraries=/usr/lib/x86_64-linux-gnu
set -- "\$tree/lib64/ld-linux-x86-64.so.2" --library-path "\$tree\$libraries" "\$tree/usr/bin/$program" \\
  -L "\$tree/usr/share/qemu" -L "\$tree/usr/share/seabios" "\$@"
export QEMU_MODULE_DIR="\$tree\$libraries/qemu"
[ -d "\$libraries/qemu" ] || exec "\$@"
user=--map-root-user
[ "\$(id -u)" != 0 ] || user=
exec unshare --mount \$user sh -c 'mount --bind "\$0" "\$1" && shift && exec "\$@"' \\
  "\$QEMU_MODULE_DIR" "\$libraries/qemu" "\$@"
SCRIPT
  chmod +x "$newer"
}

install_older() {
  command -v "$program" >/dev/null && return
  apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-system-x86 >/dev/null
}

install_newer() {
  mkdir -p "$peers"
  if [ -x "$tree/usr/bin/$program" ]; then
    write_launcher
    return
  fi
  if ! command -v debootstrap >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap >/dev/null || return
  fi
  # Where this machine gets Debian from is where the tree gets it from, with the same settings of apt.
  mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -1)
  [ -n "$mirror" ] || mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list 2>/dev/null | head -1)
  [ -n "$mirror" ] || { say "no source of Debian packages in /etc/apt"; return 1; }
  if [ ! -e "$tree/.made" ]; then
    rm -rf "$tree"
    debootstrap --variant=minbase trixie "$tree" "$mirror" >"$peers/install.log" 2>&1 || return
    touch "$tree/.made"
  fi
  cp /etc/apt/apt.conf.d/* "$tree/etc/apt/apt.conf.d/" 2>/dev/null
  cp /etc/resolv.conf "$tree/etc/" 2>/dev/null
  echo "deb $mirror trixie-backports main" >"$tree/etc/apt/sources.list.d/backports.list"
  {
    chroot "$tree" apt-get update -qq &&
      chroot "$tree" apt-get install -y -qq --no-install-recommends -t trixie-backports qemu-system-x86
  } >>"$peers/install.log" 2>&1 || return
  write_launcher
}

if [ "${1:-}" != --check ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "install-peers needs root and apt (Debian 12); set VIOMMU_QEMU to the path of a QEMU of your own instead"
    exit 1
  fi
  install_older || say "QEMU of this release could not be installed with apt"
  install_newer || say "QEMU of trixie-backports could not be installed; see .cache/peers/install.log"
  mkdir -p "$peers"
  : >"$peers/env.new"
  older=$(command -v "$program" || true)
  [ -n "$older" ] && echo "QEMU_7_2=$older" >>"$peers/env.new"
  [ -x "$newer" ] && echo "QEMU_11_1=$newer" >>"$peers/env.new"
  mv "$peers/env.new" "$peers/env"
fi

missing=0
report() { # name, path
  found=$([ -n "$2" ] && version "$2")
  if [ -n "$found" ]; then say "$1: QEMU $found"; else say "$1: missing"; missing=1; fi
}
report QEMU_7_2 "$(sed -n 's/^QEMU_7_2=//p' "$peers/env" 2>/dev/null)"
report QEMU_11_1 "$(sed -n 's/^QEMU_11_1=//p' "$peers/env" 2>/dev/null)"
exit "$missing"
