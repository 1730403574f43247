#!/bin/sh
# Installs the Debian packages that building ("build") or testing ("test") needs and that are missing. docs/dependencies.md says why each is there.
set -eu
build="gcc libc6-dev cmake ninja-build pkg-config libxxhash-dev libjansson-dev libzip-dev zlib1g-dev libpng-dev libjpeg-dev libexif-dev"
test="libcmocka-dev clang libclang-rt-14-dev clang-format python3 python3-venv"
case "${1:-}" in
build) wanted=$build ;;
test) wanted=$test ;;
*) echo "usage: install-deps.sh build|test" >&2; exit 2 ;;
esac
missing=
for p in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing and need root to install:$missing" >&2; exit 1; }
    sudo=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
