# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it: unpacks what pack.sh packed in $folder, and says where CUDA's libraries and tools are.
# In: $folder, with checkcuda, tenon and libtenon_cuda.so, plain or .gz. Out: TENON_CUDA_LIBRARY, TENON_CUDA_PATH, a longer PATH.
folder=$(cd "${folder:?}" && pwd)
for file in "$folder"/*.gz; do
    # shellcheck disable=SC3013
    [ -e "$file" ] && [ ! "${file%.gz}" -nt "$file" ] && gzip -dkf "$file" && touch "${file%.gz}"
done
for file in "$folder/checkcuda" "$folder/tenon"; do
    [ -e "$file" ] && chmod +x "$file"
done
if [ -z "${TENON_CUDA_LIBRARY:-}" ] && [ -e "$folder/libtenon_cuda.so" ]; then
    export TENON_CUDA_LIBRARY="$folder/libtenon_cuda.so"
fi
# cuBLASLt and NVRTC of a Python environment, where the toolkit is not in its usual place.
if [ -z "${TENON_CUDA_PATH:-}" ] && [ ! -e /usr/local/cuda/lib64/libcublasLt.so.13 ]; then
    for site in $(python3 -c 'import site, sys; print(" ".join(site.getsitepackages() + sys.path))' 2>/dev/null); do
        [ -d "$site/nvidia/cu13/lib" ] && export TENON_CUDA_PATH="$site/nvidia/cu13/lib" && break
    done
fi
for place in /usr/local/cuda/bin /usr/local/cuda/compute-sanitizer /opt/nvidia/compute-sanitizer; do
    [ -d "$place" ] && PATH=$PATH:$place
done
export PATH
