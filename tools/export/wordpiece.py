#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small WordPiece vocabulary in BERT's layout, made here, with golden ids of Hugging Face's BertTokenizer.

tests/pipelines/data/wordpiece/ gets vocab.txt, tokenizer.json (uncased and cased) and golden.bin: for each string its length (u32) and bytes, then for the
uncased and the cased tokenizer the number of ids (i32) and the ids (i32), little-endian. `strings` makes texts of every Unicode class; tests compare 100,000 of
them where transformers is installed.
"""

import argparse
import pathlib
import random
import struct

from bpe import MORE, WORDS, classes

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NOUNS = "man woman guy girl left right red blue shirt white black person dog cat chair table front back standing sitting umbrella giraffe zebra".split()


def strings(count, seed=7):
    """Phrases, numbers, signs, white space, special tokens, accents in both forms, and characters of all categories."""
    rng = random.Random(seed)
    table = classes()
    spaces = list(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u200b\ufeff")
    marks = [c for c in table[8] if True]  # Mn: the ninth category in alphabetical order

    def part():
        kind = rng.randrange(13)
        if kind < 4:
            return rng.choice(NOUNS + WORDS + MORE)
        if kind == 4:
            return str(rng.randrange(10 ** rng.randrange(1, 8)))
        if kind == 5:
            return "".join(rng.choice("!\"#$%&()*+,-./:;<=>?@[]^_`{|}~'") for _ in range(rng.randrange(1, 5)))
        if kind == 6:
            return "".join(rng.choice(spaces) for _ in range(rng.randrange(1, 4)))
        if kind == 7 and rng.random() < 0.2:
            return rng.choice(SPECIALS + ["[sep]", "[CLS", "MASK]", " [MASK] ", "##ing"])
        if kind == 8:
            return rng.choice("aeiouAEIOUnNcCsS\u1100\u0627\u0915") + "".join(rng.choice(marks) for _ in range(rng.randrange(1, 5)))
        if kind == 9:
            return rng.choice(["\u0130stanbul", "STRASSE", "ΣΊΣΥΦΟΣ", "ﬁne", "Ⅷ", "각", "\u1100\u1161\u11a8", "が", "ガ", "Ǆ", "ᾳ", "中文abc", "é", "e\u0301"])
        return "".join(rng.choice(rng.choice(table)) for _ in range(rng.randrange(1, 4)))

    out = ["", " ", "\t", "a" * 100, "a" * 101, "é" * 101, "e\u0301" * 100, " " * 500, "[SEP]", "a[SEP]b", "a" * 99 + "\u0301\u0302", "\u0301" * 3000]
    while len(out) < count:
        out.append("".join(part() + rng.choice(["", " ", " "]) for _ in range(rng.randrange(1, 9))))
    return out[:count]


def reference(vocab, lower):
    """Hugging Face's tokenizer of a vocab.txt."""
    from transformers import BertTokenizer

    tokens = [line.rstrip("\n") for line in open(vocab, encoding="utf-8")]
    return BertTokenizer(vocab={t: i for i, t in enumerate(tokens)}, do_lower_case=lower)


def ids(tokenizer, texts):
    return [e.ids for e in tokenizer._tokenizer.encode_batch(texts, add_special_tokens=False)]


def vocabulary():
    """Special tokens, characters with and without ##, words, and ends of words."""
    pieces = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    rows = SPECIALS + list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + pieces + ["##" + c for c in pieces]
    rows += list("αβγδεσςабвгдежشم日本語中文字符각가がカßłøæ€¥½²") + ["##" + c for c in "αβγσςабвгеشمßłøæ½²é"]
    rows += NOUNS + sorted({w.lower() for w in WORDS + MORE if w.isascii()}) + ["##ing", "##ed", "##s", "##er", "##tion", "##man", "stan", "##bul"]
    return list(dict.fromkeys(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "tests/pipelines/data/wordpiece")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.txt").write_text("".join(t + "\n" for t in vocabulary()), encoding="utf-8")
    texts = strings(2500)
    both = []
    for lower, name in ((True, "uncased.json"), (False, "cased.json")):
        tokenizer = reference(out / "vocab.txt", lower)
        tokenizer._tokenizer.save(str(out / name), pretty=False)
        both.append(ids(tokenizer, texts))
    with open(out / "golden.bin", "wb") as f:
        for text, *rows in zip(texts, *both):
            data = text.encode()
            f.write(struct.pack("<I", len(data)) + data)
            for row in rows:
                f.write(struct.pack(f"<i{len(row)}i", len(row), *row))


if __name__ == "__main__":
    main()
