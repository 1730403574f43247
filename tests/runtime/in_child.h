/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests in a process of their own, which must end by itself. */
#ifndef TENON_TESTS_IN_CHILD_H
#define TENON_TESTS_IN_CHILD_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs fn in a child, which must end by itself, soon and well. */
static inline void in_child(void (*fn)(void)) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(20);
        fn();
        exit(0); /* with everything that runs at exit */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHECK(x)                                                                                                                           \
    do {                                                                                                                                   \
        if (!(x)) {                                                                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                                                        \
            _exit(1);                                                                                                                      \
        }                                                                                                                                  \
    } while (0)

#endif
