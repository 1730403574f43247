#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small byte-level BPE tokenizer in RoBERTa's layout, trained here on text made here, with golden ids of Hugging Face's LayoutLMv3 tokenizer.

tests/pipelines/data/bpe/ gets vocab.json, merges.txt, tokenizer.json and golden.bin: for each string its length (u32) and bytes, then the number of ids (i32) and
the ids (i32), little-endian. `strings` makes texts of every Unicode class; the tests compare 100,000 of them where transformers is installed.
"""

import argparse
import json
import pathlib
import random
import struct
import unicodedata

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = (
    "form date name address phone fax number total amount invoice signature company product question answer header section "
    "the of and to in for is on with by we they're don't I'm you'll it's he'd REPORT STATE CITY Tobacco Research"
).split()
MORE = "straße größe naïve café Ελλάδα Москва привет שלום مرحبا नमस्ते 日本語 中文字符 한국어 ไทย ½ Ⅷ ² ١٢٣ №5 €100 ¥".split()


def classes():
    """Code points of every general category."""
    table = {}
    for c in range(0x110000):
        if not 0xD800 <= c <= 0xDFFF:
            table.setdefault(unicodedata.category(chr(c)), []).append(chr(c))
    return [table[k] for k in sorted(table)]


def strings(count, seed=7):
    """Texts of words, numbers, signs, white space, contractions, special tokens, and characters of all categories."""
    rng = random.Random(seed)
    table = classes()
    spaces = list(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u200b\ufeff")
    ends = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "\u2019s", "'", "''s"]

    def part():
        kind = rng.randrange(12)
        if kind < 3:
            return rng.choice(WORDS + MORE)
        if kind == 3:
            return str(rng.randrange(10 ** rng.randrange(1, 8)))
        if kind == 4:
            return "".join(rng.choice("!\"#$%&()*+,-./:;<=>?@[]^_`{|}~") for _ in range(rng.randrange(1, 5)))
        if kind == 5:
            return "".join(rng.choice(spaces) for _ in range(rng.randrange(1, 4)))
        if kind == 6:
            return rng.choice(ends)
        if kind == 7:
            return rng.choice([" ", "  ", "   "])
        if kind == 8 and rng.random() < 0.2:
            return rng.choice(SPECIALS + ["<S>", "<s", "s>", "<mask", " <mask> "])
        return "".join(rng.choice(rng.choice(table)) for _ in range(rng.randrange(1, 4)))

    out = ["", " ", "  ", "\t", "\tx", "a" * 3000, " " * 500, "'s", "x's", "1's", "\u00a0x", "e\u0301", "\U0001f469\u200d\U0001f4bb"]
    while len(out) < count:
        out.append("".join(part() for _ in range(rng.randrange(1, 9))))
    return out[:count]


def train(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    rng = random.Random(3)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1400, min_frequency=1, special_tokens=SPECIALS[:4], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    text = [" ".join(rng.choices(WORDS, k=12) + rng.choices(MORE, k=3) + [str(rng.randrange(2000))]) for _ in range(2000)]
    tokenizer.train_from_iterator(text, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = dict(model["vocab"], **{"<mask>": len(model["vocab"])})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, sort_keys=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"]))


def reference(folder):
    """Hugging Face's tokenizer of a folder's vocab.json and merges.txt."""
    from transformers import LayoutLMv3Tokenizer

    vocab = json.loads((folder / "vocab.json").read_text())
    names = [name for name in ("merges.txt", "vocab.bpe") if (folder / name).exists()]
    rows = (folder / names[0]).read_text().split("\n")
    merges = [tuple(row.split(" ")) for row in rows if row and not row.startswith("#version")]
    return LayoutLMv3Tokenizer(vocab=vocab, merges=merges)._tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "pipelines" / "data" / "bpe"
    parser.add_argument("--out", type=pathlib.Path, default=default)
    out = parser.parse_args().out
    train(out)
    tokenizer = reference(out)
    (out / "tokenizer.json").write_text(tokenizer.to_str(pretty=False) + "\n")
    texts = strings(4000, seed=11)
    with open(out / "golden.bin", "wb") as file:
        for text, encoding in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False)):
            data = text.encode()
            ids = encoding.ids
            file.write(struct.pack("<I", len(data)) + data + struct.pack(f"<i{len(ids)}i", len(ids), *ids))


if __name__ == "__main__":
    main()
