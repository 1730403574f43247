#!/usr/bin/env python3
"""Small vocabularies and texts that transformers decodes from random ids, for tests/pipelines/test_vocabulary.c.

OUT/spm/sentencepiece.bpe.model is trained here on sentences made up for it; OUT/spm_json/tokenizer.json is what transformers
makes of it; OUT/bytes/tokenizer.json is a byte-level vocabulary of random byte strings, whose texts are mostly no UTF-8.
OUT/<kind>.tsv: rows "0 or 1 (special tokens left out) TAB ids TAB the text as JSON".
"""

import argparse
import io
import json
import pathlib
import random

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, XLMRobertaTokenizer

WORDS = "line page total sum date paper größe straße año mañana 東京 北京 価格 12 2024 3.50 no. yes, well; (ok) it's don't".split()
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def train(path, rng):
    """A unigram model with XLM-R's first pieces."""
    model = io.BytesIO()
    sentences = [" ".join(rng.choices(WORDS, k=rng.randint(2, 9))) for _ in range(2000)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=58, unk_id=0, bos_id=1, eos_id=2,
        normalization_rule_name="identity", minloglevel=2
    )
    path.write_bytes(model.getvalue())


def byte_level(rng):
    """Specials, the 256 bytes and 200 longer strings of bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = SPECIALS[:4] + alphabet + sorted({"".join(rng.choices(alphabet, k=rng.randint(2, 4))) for _ in range(200)})
    tokens += ["Ġthe", "Ã©", "æĸĩ", SPECIALS[4]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(dict.fromkeys(tokens))}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s) for s in SPECIALS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def rows(tokenizer, rng, n=250):
    """Random ids, a few of them special or beyond the vocabulary, and their texts."""
    for i in range(n):
        ids = [rng.choice([0, 1, 2, 3, len(tokenizer), rng.randrange(len(tokenizer))] + [rng.randrange(4, len(tokenizer))] * 30) for _ in range(rng.randint(0, 12))]
        text = tokenizer.decode(ids, skip_special_tokens=i % 2 == 1)
        yield f"{i % 2}\t{' '.join(map(str, ids))}\t{json.dumps(text)}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    out, rng = parser.parse_args().out, random.Random(17)
    for folder in ("spm", "spm_json", "bytes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    train(out / "spm" / "sentencepiece.bpe.model", rng)
    pieces = XLMRobertaTokenizer.from_pretrained(out / "spm")
    pieces.backend_tokenizer.save(str(out / "spm_json" / "tokenizer.json"))
    (out / "spm.tsv").write_text("".join(rows(pieces, rng)))
    # integers beyond 64 bits are in real files
    (out / "spm_json" / "tokenizer_config.json").write_text(
        json.dumps({"clean_up_tokenization_spaces": True, "model_max_length": 10**30}) + "\n"
    )
    pieces.clean_up_tokenization_spaces = True
    (out / "spm_json.tsv").write_text("".join(rows(pieces, rng)))
    strings = byte_level(rng)
    strings.backend_tokenizer.save(str(out / "bytes" / "tokenizer.json"))
    (out / "bytes.tsv").write_text("".join(rows(strings, rng)))


if __name__ == "__main__":
    main()
