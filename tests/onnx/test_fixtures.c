/* SPDX-License-Identifier: Apache-2.0
 *
 * Every model of tests/fixtures imports into a module that verifies, and keeps its inputs' and outputs' names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <sys/stat.h>

#include "onnx/build.h"

static void imports_all(void **state) {
    (void)state;
    const char *root = TN_SOURCE_DIR "/tests/fixtures";
    DIR *dir = opendir(root);
    int seen = 0;
    if (dir == NULL)
        skip();
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char path[1024];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s/model.onnx", root, e->d_name);
        if (e->d_name[0] == '.' || stat(path, &st) != 0)
            continue;
        IrModule *m = NULL;
        TnError err = {0};
        uint64_t hash = 0, again = 0;
        TnStatus s = tni_onnx_import(path, NULL, NULL, &m, &hash, &err);
        if (s != TN_OK)
            fail_msg("%s: %s", path, err.message);
        if (tni_ir_verify(m, &err) != TN_OK)
            fail_msg("%s: %s", path, err.message);
        assert_true(m->n_graphs >= 1 && m->graphs[0]->n_inputs > 0 && m->graphs[0]->n_outputs > 0);
        tni_ir_module_destroy(&m);
        assert_int_equal(tni_onnx_import(path, NULL, NULL, &m, &again, &err), TN_OK);
        assert_true(hash == again);
        tni_ir_module_destroy(&m);
        seen++;
    }
    closedir(dir);
    if (seen == 0)
        skip();
    print_message("%d models\n", seen);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(imports_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
