#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 1: fonts, words and vocabulary, from Debian packages only.

    prepare.py --root ROOT --out DIR

ROOT is a folder into which the packages of packages.txt were unpacked (dpkg-deb -x), or "/" where they are installed.
Writes DIR/fonts/*.ttf|otf (cut down to Latin) with fonts.json, DIR/words.txt, DIR/sentences.txt, and the byte-level BPE
vocabulary DIR/vocab.json + DIR/merges.txt (6000 tokens, the special ones of RoBERTa first), learnt from generated texts.
Needs fonttools and tokenizers.
"""
import argparse
import glob
import gzip
import html
import json
import os
import random
import re

from fontTools import subset
from fontTools.ttLib import TTFont

T, O = "usr/share/fonts/truetype/", "usr/share/fonts/opentype/"
FACES = [  # file, use (print, type, hand), held out, weight
    (T + "liberation/LiberationSans-Regular.ttf", "print", 3), (T + "liberation/LiberationSans-Bold.ttf", "print", 2),
    (T + "liberation/LiberationSerif-Regular.ttf", "print", 3), (T + "liberation/LiberationSerif-Bold.ttf", "print", 2),
    (T + "liberation/LiberationSerif-Italic.ttf", "print", 1), (T + "liberation/LiberationSansNarrow-Regular.ttf", "print", 1),
    (T + "liberation/LiberationMono-Regular.ttf", "type", 2), (T + "liberation/LiberationMono-Bold.ttf", "type", 1),
    (T + "dejavu/DejaVuSans.ttf", "print", 1), (T + "dejavu/DejaVuSans-Bold.ttf", "print", 1),
    (T + "dejavu/DejaVuSansCondensed.ttf", "print", 1), (T + "dejavu/DejaVuSerif.ttf", "print", 1),
    (T + "dejavu/DejaVuSansMono.ttf", "type", 1), (T + "dejavu/DejaVuSerifCondensed.ttf", "print", 1),
    (T + "freefont/FreeMono.ttf", "type", 2), (T + "freefont/FreeMonoBold.ttf", "type", 2), (T + "freefont/FreeSerif.ttf", "print", 1),
    (O + "courier-prime/Courier Prime.otf", "type", 3), (O + "courier-prime/Courier Prime Bold.otf", "type", 1),
    (O + "dancingscript/DancingScript-Regular.otf", "hand", 2), (O + "dancingscript/DancingScript-Bold.otf", "hand", 1),
    (T + "liberation/LiberationSerif-BoldItalic.ttf", "hand", 1), (T + "freefont/FreeSerifItalic.ttf", "hand", 1),
    (T + "crosextra/Carlito-Regular.ttf", "print-heldout", 1), (T + "crosextra/Carlito-Bold.ttf", "print-heldout", 1),
    (T + "crosextra/Caladea-Regular.ttf", "print-heldout", 1), (T + "crosextra/Caladea-Italic.ttf", "hand-heldout", 1),
    (O + "courier-prime/Courier Prime Sans.otf", "type-heldout", 1),
]
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
TOKENS = 6000


def fonts(root, out):
    rows = []
    os.makedirs(os.path.join(out, "fonts"), exist_ok=True)
    for path, use, weight in FACES:
        name = os.path.basename(path).replace(" ", "")
        font = TTFont(os.path.join(root, path))
        s = subset.Subsetter(subset.Options(layout_features=[], hinting=False, notdef_outline=True, name_IDs=["*"]))
        s.populate(unicodes=[*range(0x20, 0x7f), *range(0xa0, 0x100), 0x2013, 0x2014, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2713])
        s.subset(font)
        font.save(os.path.join(out, "fonts", name))
        rows.append(dict(file=name, use=use, weight=weight, chars="".join(chr(c) for c in sorted(font.getBestCmap()))))
    json.dump(rows, open(os.path.join(out, "fonts", "fonts.json"), "w"), indent=1)
    return len(rows)


def prose(root):
    """Sentences of Debian's English documentation and of the licences every Debian system carries."""
    found = set()
    paths = glob.glob(f"{root}/usr/share/doc/debian/FAQ/debian-faq.en.txt*") + glob.glob(f"{root}/usr/share/doc/debian-handbook/html/en-US/*.html")
    for p in sorted(paths + glob.glob("/usr/share/common-licenses/*")):
        raw = (gzip.open(p) if p.endswith(".gz") else open(p, "rb")).read().decode("utf-8", "replace")
        if p.endswith(".html"):
            raw = "\n\n".join(html.unescape(re.sub(r"<[^>]+>", "", x)) for x in re.findall(r"<p[^>]*>(.*?)</p>|<div class=\"para\">(.*?)</div>", raw, re.S)
                              for x in x)
        for par in re.split(r"\n\s*\n", raw):
            for s in re.split(r"(?<=[.?!;:])\s+", re.sub(r"\s+", " ", par).strip()):
                s = s.strip()
                letters = sum(c.isalpha() or c == " " for c in s)
                if 20 <= len(s) <= 260 and letters > .85 * len(s) and s[0].isupper() and all(" " <= c <= "~" for c in s):
                    found.add(s)
    return sorted(found)


def vocabulary(out, seed):
    from tokenizers import ByteLevelBPETokenizer
    import words
    g = random.Random(seed)
    c = words.Content(out, g)

    def texts():
        for _ in range(150000):
            name, kind = c.field()
            yield " " + name + g.choice([":", "", " :"])
            yield " " + c.value(kind)
        for _ in range(20000):
            yield " " + c.title()
            yield " " + c.section()
            yield " " + c.ask()
        for s in c.sentences:
            yield " " + s

    t = ByteLevelBPETokenizer(add_prefix_space=True)
    t.train_from_iterator(texts(), vocab_size=TOKENS - 1, min_frequency=2, special_tokens=SPECIALS, show_progress=False)
    t.save_model(out)
    v = json.load(open(os.path.join(out, "vocab.json"), encoding="utf-8"))
    v["<mask>"] = len(v)
    json.dump(v, open(os.path.join(out, "vocab.json"), "w", encoding="utf-8"), ensure_ascii=False)
    return len(v)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--root", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    print("fonts:", fonts(a.root, a.out))
    sentences = prose(a.root)
    used = {}
    for s in sentences:
        for w in re.findall(r"[a-z]{2,}", s.lower()):
            used[w] = used.get(w, 0) + 1
    common = [w for w, n in used.items() if n >= 3]
    rare = [w for w in open(os.path.join(a.root, "usr/share/dict/american-english"), encoding="utf-8").read().split() if re.fullmatch("[a-z]{3,12}", w)]
    g = random.Random(a.seed)
    with open(os.path.join(a.out, "words.txt"), "w") as f:  # common words twice each: about half of what is drawn
        f.write("\n".join(sorted(common) * max(1, 12000 // len(common)) + sorted(g.sample(rare, 12000))) + "\n")
    with open(os.path.join(a.out, "sentences.txt"), "w") as f:
        f.write("\n".join(sentences) + "\n")
    print("sentences:", len(sentences), "common words:", len(common))
    print("tokens:", vocabulary(a.out, a.seed))


if __name__ == "__main__":
    main()
