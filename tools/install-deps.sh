#!/bin/sh
# Installs what building ("build"), testing ("test") or compiling the CUDA backend ("cuda") needs and lacks. docs/dependencies.md says why each
# is there. build and test are Debian packages. cuda takes an nvcc that is there ($CUDACXX, PATH, /usr/local/cuda) and otherwise unpacks NVIDIA's
# wheels into build/cuda (bin/nvcc, include, lib64): a compiler, no driver and no GPU needed. It prints the path of nvcc.
set -eu
build="gcc libc6-dev cmake ninja-build pkg-config libxxhash-dev libjansson-dev libzip-dev zlib1g-dev libpng-dev libjpeg-dev libexif-dev libutf8proc-dev"
test="libcmocka-dev clang libclang-rt-14-dev clang-format python3 python3-dev python3-venv"
cuda="g++ python3 python3-venv"
wheels="nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
nvidia-nvtx==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.0.3"

# Installs the Debian packages of its arguments that are missing.
packages() {
    missing=
    for p in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "these packages are missing and need root to install:$missing" >&2; exit 1; }
        sudo=sudo
    fi
    echo "installing:$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# Prints the path of an nvcc, after unpacking one if there is none.
nvcc() {
    for found in "${CUDACXX:-}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
        [ -n "$found" ] && [ -x "$found" ] && { echo "$found"; return 0; }
    done
    root=$(cd "$(dirname "$0")/.." && pwd)
    prefix=$root/build/cuda
    if [ "$(cat "$prefix/wheels" 2>/dev/null || true)" = "$wheels" ]; then
        echo "$prefix/bin/nvcc"
        return 0
    fi
    [ "$(uname -m)" = x86_64 ] || { echo "no nvcc found, and its wheels are taken for x86_64 only: install CUDA and set CUDACXX" >&2; exit 1; }
    packages $cuda
    echo "unpacking nvcc into build/cuda" >&2
    venv=$root/build/venv
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    rm -rf "$prefix" "$prefix.new"
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: --dest "$prefix.new/wheels" $wheels
    # Compiler, headers and static libraries: the shared libraries, most of the wheels' size, are loaded by a program at run time and not needed here.
    "$venv/bin/python" - "$prefix.new" <<'EOF'
import pathlib, sys, zipfile
new = pathlib.Path(sys.argv[1])
for wheel in sorted((new / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as file:
        for name in file.namelist():
            part = name.removeprefix("nvidia/cu13/")
            if part != name and (part.startswith(("bin/", "include/", "nvvm/")) or part.endswith(".a")) and not part.endswith("/"):
                path = new / "cuda" / part
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read(name))
                path.chmod(0o755 if "/bin/" in f"/{part}" else 0o644)
EOF
    ln -s lib "$prefix.new/cuda/lib64"
    echo "$wheels" > "$prefix.new/cuda/wheels"
    mv "$prefix.new/cuda" "$prefix"
    rm -rf "$prefix.new"
    echo "$prefix/bin/nvcc"
}

case "${1:-}" in
build) packages $build ;;
test) packages $test ;;
cuda) nvcc ;;
*) echo "usage: install-deps.sh build|test|cuda" >&2; exit 2 ;;
esac
