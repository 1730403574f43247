/* SPDX-License-Identifier: Apache-2.0
 *
 * Vocabulary files on any bytes: an error or a vocabulary whose tokens all decode to valid UTF-8, never a crash. The first byte chooses the reader, most
 * often sentencepiece's. */
#include <stdlib.h>

#include "pipelines/unicode.h"
#include "pipelines/vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    TnVocabulary *v = NULL;
    TnVocabularyText text = {0};
    TnError err = {0};
    int32_t ids[64];
    if (n == 0)
        return 0;
    TnStatus st = data[0] == 'j'   ? tn_vocabulary_create_json(data + 1, n - 1, &v, &err)
                  : data[0] == 't' ? tn_vocabulary_create_text(data + 1, n - 1, &v, &err)
                  : data[0] == 'k' ? tn_vocabulary_create_tokenizer(data + 1, n - 1, &v, &err)
                                   : tn_vocabulary_create_sentencepiece(data, n, &v, &err); /* files start with 0x0a */
    if (st == TN_OK) {
        for (int32_t i = 0; i < 64; i++)
            ids[i] = i - 2;
        if (tn_vocabulary_decode(v, ids, 64, n % 2 == 0, &text, &err) == TN_OK && !tnp_utf8_valid(text.text, text.n))
            abort();
    }
    tn_vocabulary_text_free(&text);
    tn_vocabulary_destroy(&v);
    return 0;
}
