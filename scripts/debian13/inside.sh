#!/bin/sh
# inside.sh ROOT DOWNLOADS ARGUMENTS: npm ci and npm test in ROOT. Process 1 of namespaces of its own: the
# mounts and all processes are gone with it. It stays, as nobody else would reap what the tests leave orphaned.
set -eu
root=$1 downloads=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
for pair in apt:var/cache/apt/archives npm:root/.npm pip:root/.cache/pip; do
  mkdir -p "$downloads/${pair%%:*}" "$root/${pair#*:}"
  mount --bind "$downloads/${pair%%:*}" "$root/${pair#*:}"
done
mkdir -p "$downloads/apt/partial"
cd /
chroot "$root" sh -euc '
  cd /starling
  . /etc/os-release
  say() { echo "debian13: $*" >&2; }
  say "$PRETTY_NAME, Node $(node --version), npm $(npm --version)"
  before=$(date +%s)
  npm ci
  say "npm ci, $(($(date +%s) - before)) s"
  npm test -- "$@"
' sh "$@"
exit
