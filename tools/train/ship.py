#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes models/NAME of a finished run: weights, configuration, report, some samples with PyTorch's answers of them.

    ship.py classes|scenes|forms|phrases --run DIR [--models models] [--data DIR]

--data: for forms, what tools/train/forms/prepare.py made. Model cards (README.md) are written by hand and stay, but for the results of
phrases. Needs torch; forms
transformers, tokenizers and Pillow.
"""
import argparse
import json
import os
import shutil

import numpy as np

import reference

STATISTICS = dict(image_mean=[.485, .456, .406], image_std=[.229, .224, .225])
CLASSES = dict(do_resize=True, size=dict(shortest_edge=256), resample=3, do_center_crop=True, crop_size=dict(height=224, width=224), do_rescale=True,
               rescale_factor=1 / 255, do_normalize=True, **STATISTICS)
SCENES = dict(do_resize=False, do_rescale=True, rescale_factor=1 / 255, do_normalize=True, **STATISTICS, do_pad=False)
SCENE_SAMPLES = (0, 1, 2, 3, 5)
PAGES = dict(count=3, least=200, bytes=130000)        # forms: pages of one window with so many tokens, in reading order, in files of at most so many bytes
PAGES_SEED, PHRASES_SEED, PHRASE_SCENES = 9100000, 910000000, 8


def dump(value, *path, indent=2):
    with open(os.path.join(*path), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=indent, separators=None if indent else (",", ":"))
        f.write("\n")


def names(run):
    with open(os.path.join(run, "labels.txt")) as f:
        return {str(i): n for i, n in enumerate(f.read().split("\n")[:-1])}


def classes(recipe, run, out, a):
    """The rows of samples/list.tsv: file, tab, class. golden.npz: logits, and where PyTorch on the training machine had others, the difference."""
    dump(dict(model_type="uniformer", architectures=["UniFormerLight"], head_dim=recipe.NET["head_dim"], image_size=224, id2label=names(run)), out, "config.json")
    dump(CLASSES, out, "preprocessor_config.json")
    for f in os.listdir(f"{run}/samples"):
        shutil.copyfile(f"{run}/samples/{f}", f"{out}/samples/{f}")
    rows = [r.split("\t") for r in open(f"{out}/samples/list.tsv").read().splitlines()]
    logits = reference.classes(recipe, out, [f"{out}/samples/{f}" for f, _ in rows])
    np.savez(f"{out}/samples/golden.npz", logits=logits, labels=np.array([int(c) for _, c in rows]))
    print("largest difference from the training machine's logits:", np.abs(logits - np.load(f"{run}/samples.npz")["logits"]).max())


def scenes(recipe, run, out, a):
    """samples/ground_truth.json and results.json in COCO's formats"""
    dump(dict(model_type="uniformer", architectures=["MaskRCNN"], head_dim=recipe.NET["head_dim"], attention="global", score_threshold=.05, id2label=names(run)),
         out, "config.json")
    dump(SCENES, out, "preprocessor_config.json")
    with open(f"{run}/samples/ground_truth.json") as f:
        truth = json.load(f)
    truth["images"] = [i for i in truth["images"] if i["id"] in SCENE_SAMPLES]
    truth["annotations"] = [v for v in truth["annotations"] if v["image_id"] in SCENE_SAMPLES]
    for i in truth["images"]:
        shutil.copyfile(f"{run}/samples/{i['file_name']}", f"{out}/samples/{i['file_name']}")
    dump(truth, out, "samples", "ground_truth.json", indent=None)
    rows = reference.scenes(recipe, out, [(i["id"], f"{out}/samples/{i['file_name']}") for i in truth["images"]])
    dump(rows, out, "samples", "results.json", indent=None)
    there = [r for r in json.load(open(f"{run}/samples/results.json")) if r["image_id"] in SCENE_SAMPLES]
    print("answers:", len(rows), "on the training machine:", len(there), "largest difference of scores:",
          max(abs(r["score"] - t["score"]) for r, t in zip(rows, there)))


def forms(recipe, run, out, a):
    """samples/images and samples/annotations as FUNSD has them, golden.json: for each page the labels of its words with their probabilities, and the score"""
    for f in ("config.json", "merges.txt", "vocab.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copyfile(f"{run}/{f}", f"{out}/{f}")
    for d in ("images", "annotations"):
        os.makedirs(f"{out}/samples/{d}", exist_ok=True)
    encoder, pages, seed, at = recipe.Encoder(out), [], PAGES_SEED, 0
    fonts, content = recipe.render.Fonts(a.data, True), recipe.words.Content(a.data, 0)
    while len(pages) < PAGES["count"]:
        content.g = recipe.random.Random(seed)
        page, seed = recipe.render.page(fonts, content, content.g), seed + 1
        name = f"form-{len(pages) + 1}"
        page.image.save(f"{out}/samples/images/{name}.png", optimize=True)
        windows = encoder.windows(page.items, (page.w, page.h))
        size = os.path.getsize(f"{out}/samples/images/{name}.png")
        tops = [words[0][1][1] for _, words in page.items]
        ordered = all(b > a - 40 for a, b in zip(tops, tops[1:]))
        if len(windows) != 1 or len(windows[0][0]) < PAGES["least"] or not PAGES["bytes"] / 4 < size < PAGES["bytes"] or not ordered:
            continue
        dump(recipe.render.funsd(page), out, "samples", "annotations", f"{name}.json", indent=None)
        pages.append(name)
    read = list(recipe.funsd(f"{out}/samples"))
    tags, score = reference.forms(recipe, out, read)
    dump(dict(pages={n: [[t, round(p, 6)] for t, p in page] for n, page in zip(pages, tags)}, score=score), out, "samples", "golden.json", indent=None)
    print("seeds to", seed - 1, score["f1"])


def phrases(recipe, run, out, a):
    """samples/scene-*.npz and .png, phrases.json with the answers, logits.npz"""
    for f in ("config.json", "vocab.txt"):
        shutil.copyfile(f"{run}/{f}", f"{out}/{f}")
    index, logits, score = reference.phrases(recipe, out, range(PHRASES_SEED, PHRASES_SEED + PHRASE_SCENES), f"{out}/samples")
    dump(index, out, "samples", "phrases.json")
    np.savez(f"{out}/samples/logits.npz", **logits)
    with open(f"{out}/report.json") as f:
        report = json.load(f)
    r = report["rendered"]
    said = [f"{r['phrases']:,} phrases on {r['scenes']:,} held-out scenes, float32, after {report['steps']:,} steps of {report['batch']} phrases in {report['seconds_trained']:.0f} s:",
            "", "| phrases | accuracy | number |", "| --- | --- | --- |"]
    said += [f"| {what} | {v['accuracy']:.4f} | {v['phrases']:,} |" for what, v in [("all", r), *r["by_kind"].items()]]
    said += ["", f"Reachable: {r['reachable']:.4f}; loss {r['loss']:.4f}."]
    with open(f"{out}/README.md", encoding="utf-8") as f:
        before, _, rest = f.read().partition("<!-- results: written by tools/train/ship.py -->\n")
    with open(f"{out}/README.md", "w", encoding="utf-8") as f:
        f.write(before + "<!-- results: written by tools/train/ship.py -->\n" + "\n".join(said) + "\n<!-- end -->" + rest.partition("<!-- end -->")[2])
    print(score)


def main():
    import torch
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("kind", choices=reference.NAMES)
    ap.add_argument("--run", required=True)
    ap.add_argument("--models", default="models")
    ap.add_argument("--data", default="build-train/forms")
    a = ap.parse_args()
    torch.set_num_threads(2)
    out = os.path.join(a.models, reference.NAMES[a.kind])
    shutil.rmtree(f"{out}/samples", ignore_errors=True)
    os.makedirs(f"{out}/samples")
    for f in ("model.safetensors", "report.json", "labels.txt"):
        if os.path.exists(f"{a.run}/{f}"):
            shutil.copyfile(f"{a.run}/{f}", f"{out}/{f}")
    globals()[a.kind](reference.use(a.kind), a.run, out, a)


if __name__ == "__main__":
    main()
