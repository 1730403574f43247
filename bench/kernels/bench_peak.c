/* SPDX-License-Identifier: Apache-2.0
 *
 * Peak GFLOP/s of one core per ISA level. Usage: bench_peak [--json] */
#include <stdio.h>

#include "peak.h"

int main(int argc, char **argv) {
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    double best[2] = {0, 0};
#if defined(__x86_64__)
    for (int i = 0; i < 400; i++) {
        if (tni_cpu_flags() & TN_CPU_AVX512)
            best[0] = TN_MAX(best[0], bench_peak_avx512());
        if (tni_cpu_flags() & TN_CPU_AVX2)
            best[1] = TN_MAX(best[1], bench_peak_avx2());
    }
#endif
    if (json)
        printf("{\"cpu\": \"%s\", \"avx512_gflops\": %.1f, \"avx2_gflops\": %.1f}\n", tni_cpu_name(), best[0], best[1]);
    else
        printf("%s: one core, fp32: AVX-512 %.1f GFLOP/s, AVX2 %.1f GFLOP/s\n", tni_cpu_name(), best[0], best[1]);
    return 0;
}
