/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan file: what is written is read; every truncation and every flipped bit before the weights is noticed; damage that has been sealed
 * again is refused or harmless; the arena planner keeps its promises. */
#include "runtime/hostile.h"
#include "runtime/plan_harness.h"

/* ---- damage ---- */

static void build_graph(MakeFn make, Built *b) {
    TnError err = {0};
    IrModule *m = make(NULL);
    assert_non_null(m);
    OK(build_module(m, NULL, false, false, b, &err));
}

static void written_plans_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(all_graphs); i++) {
        Built b;
        Plan p;
        TnError err = {0};
        build_graph(all_graphs[i], &b);
        OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
        assert_int_equal(p.n_programs, b.m->n_graphs);
        assert_int_equal(hostile_run(b.bytes, b.n), 2);
        built_free(&b, NULL);
    }
}

static void every_truncation_is_noticed(void **state) {
    (void)state;
    Built b;
    build_graph(make_mlp, &b);
    uint8_t *copy = tni_alloc_aligned(NULL, b.n, 4096);
    for (size_t n = 0; n < b.n; n++) {
        Plan p;
        TnError err = {0};
        memcpy(copy, b.bytes, n);
        assert_int_equal(tni_plan_read((TnSpan){copy, n, 0}, false, NULL, &p, &err), TN_ERR_PLAN);
        assert_true(err.message[0] != 0);
    }
    tni_free(NULL, copy);
    built_free(&b, NULL);
}

/* Bytes before the weights. */
static size_t head_bytes(const Built *b) {
    const PlanHeader *h = (const PlanHeader *)(const void *)b->bytes;
    const PlanSection *s = (const PlanSection *)(const void *)(b->bytes + sizeof *h);
    for (uint32_t i = 0; i < h->n_sections; i++)
        if (s[i].kind == PLAN_SEC_WEIGHTS)
            return s[i].offset;
    return b->n;
}

static void every_flipped_bit_is_noticed(void **state) {
    (void)state;
    Built b;
    Plan p;
    TnError err = {0};
    build_graph(make_mlp, &b);
    size_t head = head_bytes(&b);
    for (size_t bit = 0; bit < head * 8; bit++) {
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        TnStatus st = tni_plan_read((TnSpan){b.bytes, b.n, 0}, false, NULL, &p, &err);
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (st != TN_ERR_PLAN && st != TN_ERR_VERSION && st != TN_ERR_INCOMPATIBLE)
            fail_msg("bit %zu: %s", bit, tn_status_name(st));
    }
    b.bytes[b.n - 1] ^= 1; /* weights: only when asked */
    OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, false, NULL, &p, &err));
    assert_int_equal(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err), TN_ERR_PLAN);
    built_free(&b, NULL);
}

/* One field somewhere before the weights becomes another number: small, large, or near what it was. */
static void damage(uint8_t *bytes, size_t head, uint32_t *seed) {
    static const uint32_t odd[] = {0, 1, 2, 3, 8, 9, 64, 255, 65536, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    noise(seed);
    size_t at = sizeof(PlanHeader) + (*seed >> 4) % ((head - sizeof(PlanHeader)) / 4) * 4;
    uint32_t v;
    memcpy(&v, bytes + at, 4);
    noise(seed);
    switch ((*seed >> 8) % 4) {
    case 0:
        v = odd[(*seed >> 12) % TN_COUNT(odd)];
        break;
    case 1:
        v += (*seed >> 12) % 5 - 2;
        break;
    case 2:
        v ^= 1u << (*seed >> 12) % 32;
        break;
    default:
        memcpy(&v, bytes + sizeof(PlanHeader) + (*seed >> 4) % ((head - sizeof(PlanHeader)) / 4) * 4, 4);
        break;
    }
    memcpy(bytes + at, &v, 4);
}

static void sealed_damage_is_harmless(void **state) {
    (void)state;
    uint32_t seed = 7, outcome[3] = {0};
    for (size_t i = 0; i < TN_COUNT(all_graphs); i++) {
        Built b;
        build_graph(all_graphs[i], &b);
        uint8_t *copy = tni_alloc_aligned(NULL, b.n, 4096);
        size_t head = head_bytes(&b);
        for (int round = 0; round < 3000; round++) {
            memcpy(copy, b.bytes, b.n);
            for (int k = 0; k <= round % 3; k++)
                damage(copy, head, &seed);
            tni_plan_seal(copy, b.n);
            outcome[hostile_run(copy, b.n)]++;
        }
        tni_free(NULL, copy);
        built_free(&b, NULL);
    }
    /* The damage reaches all depths: otherwise this test tests nothing. */
    assert_true(outcome[0] > 1000 && outcome[1] > 100 && outcome[2] > 1000);
}

static void plans_of_others_are_refused(void **state) {
    (void)state;
    Built b;
    Plan p;
    TnError err = {0};
    build_graph(make_mlp, &b);
    PlanHeader *h = (PlanHeader *)(void *)b.bytes;
    h->version = PLAN_VERSION + 1;
    tni_plan_seal(b.bytes, b.n);
    assert_int_equal(tni_plan_read((TnSpan){b.bytes, b.n, 0}, false, NULL, &p, &err), TN_ERR_VERSION);
    h->version = PLAN_VERSION;
    h->kernel_identity ^= 1;
    tni_plan_seal(b.bytes, b.n);
    assert_int_equal(tni_plan_read((TnSpan){b.bytes, b.n, 0}, false, NULL, &p, &err), TN_ERR_INCOMPATIBLE);
    h->kernel_identity ^= 1;
    h->cpu_flags |= 1u << 30;
    tni_plan_seal(b.bytes, b.n);
    assert_int_equal(tni_plan_read((TnSpan){b.bytes, b.n, 0}, false, NULL, &p, &err), TN_ERR_INCOMPATIBLE);
    assert_int_equal(tni_plan_read((TnSpan){b.bytes + 1, b.n - 1, 0}, false, NULL, &p, &err), TN_ERR_ARGUMENT);
    built_free(&b, NULL);
}

/* ---- dump ---- */

typedef struct Text {
    char *s;
    size_t n;
} Text;

static void gather(void *ctx, const char *s, size_t n) {
    Text *t = ctx;
    t->s = realloc(t->s, t->n + n + 1);
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = 0;
}

/* Brackets and quotes of JSON are balanced. */
static bool balanced(const char *s) {
    int depth = 0;
    bool quoted = false;
    for (; *s; s++) {
        if (quoted && *s == '\\')
            s++;
        else if (*s == '"')
            quoted = !quoted;
        else if (!quoted)
            depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
        if (depth < 0)
            return false;
    }
    return depth == 0 && !quoted;
}

static void dumps_show_everything(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(all_graphs); i++) {
        Built b;
        Plan p;
        TnError err = {0};
        Text t = {NULL, 0};
        build_graph(all_graphs[i], &b);
        OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
        tni_plan_dump(&p, false, gather, &t);
        for (uint32_t s = 0; s < p.n_steps; s++)
            assert_non_null(strstr(t.s, p.strings + p.steps[s].name));
        t.n = 0;
        tni_plan_dump(&p, true, gather, &t);
        assert_true(balanced(t.s));
        t.n = 0;
        tni_plan_explain(&p, false, gather, &t);
        assert_non_null(strstr(t.s, "estimate"));
        t.n = 0;
        tni_plan_explain(&p, true, gather, &t);
        assert_true(balanced(t.s));
        free(t.s);
        built_free(&b, NULL);
    }
}

/* ---- arena ---- */

static void check_arena(uint32_t n, uint32_t n_steps, const uint64_t *sizes, const uint32_t *first, const uint32_t *last, bool quick,
                        uint64_t *total, uint64_t *bound) {
    uint64_t *offsets = calloc(n + 1, sizeof *offsets);
    void *scratch = malloc(tni_plan_arena_scratch(n, n_steps));
    assert_true(tni_plan_arena(n, n_steps, sizes, first, last, quick, scratch, offsets, total, bound));
    for (uint32_t i = 0; i < n; i++) {
        assert_true(offsets[i] % PLAN_ALIGN == 0 && offsets[i] + sizes[i] <= *total);
        for (uint32_t k = 0; k < i; k++)
            if (sizes[i] && sizes[k] && first[i] <= last[k] && first[k] <= last[i])
                assert_true(offsets[i] + sizes[i] <= offsets[k] || offsets[k] + sizes[k] <= offsets[i]);
    }
    assert_true(*total >= *bound);
    free(scratch);
    free(offsets);
}

static void arenas_are_tight_and_apart(void **state) {
    (void)state;
    enum { N = 3000 };
    static uint64_t sizes[N];
    static uint32_t first[N], last[N];
    uint32_t seed = 5;
    uint64_t total, bound;
    for (uint32_t round = 0; round < 20; round++) {
        uint32_t n = 1 + round * 9;
        for (uint32_t i = 0; i < n; i++) {
            noise(&seed);
            sizes[i] = (seed >> 8) % 5 ? (seed >> 8) % 5000 : 0;
            first[i] = i;
            noise(&seed);
            last[i] = TN_MIN(n, i + (seed >> 8) % (round % 2 ? 4u : 40u));
        }
        check_arena(n, n, sizes, first, last, round % 3 == 0, &total, &bound);
    }
    /* A chain, as networks are: the bound is reached. */
    for (uint32_t i = 0; i < N; i++) {
        sizes[i] = 4096 + (i % 7) * 64;
        first[i] = i;
        last[i] = TN_MIN(i + 1, (uint32_t)N);
    }
    uint64_t began = tni_now_ns();
    check_arena(N, N, sizes, first, last, false, &total, &bound);
    assert_true(total <= bound * 11 / 10);
    assert_true(tni_now_ns() - began < 3000000000u);
    sizes[0] = UINT64_MAX;
    void *scratch = malloc(tni_plan_arena_scratch(1, 1));
    uint64_t offset;
    last[0] = 0;
    assert_false(tni_plan_arena(1, 1, sizes, first, last, false, scratch, &offset, &total, &bound));
    free(scratch);
}

/* ---- files ---- */

static void files_hold_what_memory_holds(void **state) {
    (void)state;
    Built b;
    TnError err = {0};
    TnArena *arena;
    PlanWriter *w;
    PlanHeader h;
    TnFileMap map;
    PlannerOptions o = {.alloc = tni_default_allocator(), .threads = 1};
    char path[] = "/tmp/tenon-plan-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    build_graph(make_mlp, &b);
    OK(tni_arena_create(NULL, &arena, &err));
    OK(tni_plan_writer_create(arena, &w, &err));
    IrModule *m = make_mlp(NULL);
    OK(tni_shape_infer(m, &err));
    OK(tni_planner_plan(m, &o, w, &h, &err));
    OK(tni_plan_write_file(w, &h, path, &err));
    OK(tni_file_map(path, &map, &err));
    Plan p;
    OK(tni_plan_read((TnSpan){map.data, map.n, 0}, true, NULL, &p, &err));
    assert_int_equal(map.n, b.n);
    tni_file_unmap(&map);
    assert_int_equal(tni_plan_write_file(w, &h, "/nowhere/at/all.plan", &err), TN_ERR_IO);
    tni_arena_destroy(&arena);
    tni_ir_module_destroy(&m);
    built_free(&b, NULL);
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_plans_are_read),       cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(every_flipped_bit_is_noticed), cmocka_unit_test(sealed_damage_is_harmless),
        cmocka_unit_test(plans_of_others_are_refused),  cmocka_unit_test(dumps_show_everything),
        cmocka_unit_test(arenas_are_tight_and_apart),   cmocka_unit_test(files_hold_what_memory_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
