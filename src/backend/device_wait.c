/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for a device that may never come to an end. In: a stream. Out: done, failed, or hung. Polls instead of waiting in the device's
 * driver, because a thread that waits there for a kernel with an endless loop never comes back. */
#include <stdlib.h>
#include <time.h>

#include "backend/device.h"

#define USUAL_SECONDS 30.0
/* Runs are shorter than this, and what is asked for again at once is heard of at once; after it the thread sleeps between. */
#define SPIN_NS 50000000u

uint64_t tni_device_patience_ns(void) {
    const char *text = getenv("TENON_DEVICE_TIMEOUT");
    double seconds = USUAL_SECONDS;
    if (text != NULL && text[0] != '\0') {
        char *end;
        const double given = strtod(text, &end);
        if (*end == '\0' && given >= 0 && given < 1e9)
            seconds = given;
    }
    return seconds > 0 ? (uint64_t)(seconds * 1e9) : UINT64_MAX;
}

TnStatus tni_device_wait(const TnDeviceLibrary *lib, TnStream *s, bool *hung, TnError *err) {
    const uint64_t began = tni_now_ns();
    uint64_t most = 0;
    bool done = false;
    *hung = false;
    for (;;) {
        TN_TRY(lib->done(s, &done, err));
        if (done)
            return TN_OK;
        const uint64_t took = tni_now_ns() - began;
        if (took <= SPIN_NS && most == 0)
            continue;
        most = most ? most : tni_device_patience_ns();
        if (took > most)
            break;
        if (took > SPIN_NS)
            (void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    *hung = true;
    return TN_RAISE(err, TN_ERR_DEVICE,
                    "it has not come to an end in %.3g s (TENON_DEVICE_TIMEOUT), which is a fault of the kernel; the device is given up: start "
                    "the process again, or go on with another device",
                    (double)most * 1e-9);
}
