#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Metrics of the shipped small models in each precision, beside PyTorch's.

    evaluate_precisions.py prepare [--data build-eval] [--forms build-train/forms] [--funsd DIR]   inputs and PyTorch's values (CPU, float32)
    evaluate_precisions.py run --tenon build/tenon [--device cuda] [--data build-eval] [--seconds 100]

prepare renders held-out inputs with the recipes (256 drawings, 60 scenes, 25 pages of FUNSD's testing data or 40 rendered ones, 60
scenes with phrases; pictures as JPEG, all below 6 MB) and needs what the recipes need, and pycocotools. run needs Python alone; it
prints a table, and one JSON object with --json. What --seconds leave no time for is named and left out; its exit status is then 1.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import time

NAMES = dict(classes="uniformer-tiny-shapes", scenes="mask-rcnn-tiny-scenes", forms="layoutlmv3-tiny-forms", phrases="vilbert-tiny-scenes")
DRAWINGS, SCENES, PAGES, PHRASE_SCENES = 256, 60, 40, 60
PAGES_SEED, PHRASES_SEED = 9200000, 920000000


# ---- inputs

def dump(value, path):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, separators=(",", ":"))


def jpeg(x, path, quality):
    """uint8 [3, height, width]"""
    from PIL import Image
    Image.fromarray(x.permute(1, 2, 0).cpu().numpy()).save(path, quality=quality, subsampling=0)


def prepare_classes(recipe, reference, model, out, a):
    import torch
    x, y = recipe.held_out(DRAWINGS, 224, "cpu")
    files = [f"{i:03d}.jpg" for i in range(len(y))]
    for f, picture in zip(files, x):
        jpeg(picture, f"{out}/{f}", 60)
    with open(f"{out}/list.tsv", "w") as f:
        f.writelines(f"{n}\t{int(k)}\n" for n, k in zip(files, y))
    top = torch.from_numpy(reference.classes(recipe, model, [f"{out}/{f}" for f in files])).topk(5, 1).indices
    hit = top == y[:, None]
    return {"top-1": float(hit[:, 0].float().mean()), "top-5": float(hit.any(1).float().mean())}


def prepare_scenes(recipe, reference, model, out, a):
    truth = dict(images=[], annotations=[], categories=[dict(id=k, name=n) for k, n in enumerate(recipe.NAMES, 1)])
    for i, (x, boxes, labels, masks) in enumerate(recipe.held_out(SCENES, "cpu")):
        truth["images"].append(dict(id=i, file_name=f"{i:03d}.jpg", height=x.shape[1], width=x.shape[2]))
        jpeg(x, f"{out}/{i:03d}.jpg", 80)
        for b, c, m in zip(boxes, labels.tolist(), masks.numpy()):
            if c >= 0:
                truth["annotations"].append(dict(id=len(truth["annotations"]) + 1, image_id=i, category_id=c + 1, bbox=recipe.rect(b), area=int(m.sum()),
                                                 iscrowd=0, segmentation=recipe.rle(m)))
    dump(truth, f"{out}/ground_truth.json")
    dump(reference.scenes(recipe, model, [(i["id"], f"{out}/{i['file_name']}") for i in truth["images"]]), f"{out}/results.json")
    score = reference.coco_score(f"{out}/ground_truth.json", f"{out}/results.json")
    return {"box AP": score["boxes"][0], "mask AP": score["masks"][0]}


def prepare_forms(recipe, reference, model, out, a):
    for d in ("images", "annotations"):
        os.makedirs(f"{out}/{d}")
    if a.funsd:
        pages = [(n, image, None) for n, (image, _, _) in zip(sorted(glob.glob(f"{a.funsd}/annotations/*.json")), recipe.funsd(a.funsd))]
    else:
        pages, content, fonts = [], recipe.words.Content(a.forms, 0), recipe.render.Fonts(a.forms, True)
        for i in range(PAGES):
            content.g = recipe.random.Random(PAGES_SEED + i)
            p = recipe.render.page(fonts, content, content.g)
            pages.append((f"{i:03d}.json", p.image, recipe.render.funsd(p)))
    for name, image, form in pages:
        base = os.path.basename(name)[:-5]
        if form is None:
            shutil.copyfile(name, f"{out}/annotations/{base}.json")
            image.convert("L").point(lambda v: (v + 42) // 85 * 85).save(f"{out}/images/{base}.png", optimize=True)    # four greys: a quarter of the bytes
        else:
            image.save(f"{out}/images/{base}.png", optimize=True)
            dump(form, f"{out}/annotations/{base}.json")
    score = reference.forms(recipe, model, list(recipe.funsd(out)))[1]
    return {"F1": score["f1"], "precision": score["precision"], "recall": score["recall"]}


def prepare_phrases(recipe, reference, model, out, a):
    index, _, score = reference.phrases(recipe, model, range(PHRASES_SEED, PHRASES_SEED + PHRASE_SCENES), out)
    for f in glob.glob(f"{out}/*.png"):                  # only the regions are read
        os.remove(f)
    dump(index, f"{out}/phrases.json")
    return {"accuracy": score["accuracy"], "loss": score["loss"]}


def prepare(a):
    if not a.kind:                                       # the recipes' modules share names: a process each
        for kind in NAMES:
            subprocess.run([sys.executable, *sys.argv, "--kind", kind], check=True)
        size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(a.data) for f in fs)
        print(f"{a.data}: {size / 1e6:.1f} MB")
        return 0
    import torch
    import reference
    torch.set_num_threads(a.threads)
    out = os.path.join(a.data, a.kind)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    values = globals()["prepare_" + a.kind](reference.use(a.kind), reference, os.path.join(a.models, NAMES[a.kind]), out, a)
    dump(values, f"{out}/pytorch.json")
    print(a.kind, values, flush=True)
    return 0


# ---- runs

def command(kind, model, data, a):
    """Arguments of `tenon`, and what its last line of JSON says"""
    share = ["-q", "--json", "-m", model]
    return {
        "classes": (["classify", *share, "-k", "1", "-b", "32", f"{data}/list.tsv"],
                    lambda o: ({"top-1": o["top1"], "top-5": o["top5"]}, o["milliseconds_per_picture"])),
        "scenes": (["detect", *share, "--eval", f"{data}/ground_truth.json", data],
                   lambda o: ({"box AP": o["boxes"]["AP"], "mask AP": o["masks"]["AP"]}, o["run_milliseconds"])),
        "forms": (["doc", *share, "--overlap", "0", "--eval", data],
                  lambda o: ({k: o["all"][k.lower()] for k in ("F1", "precision", "recall")}, o["run_milliseconds"] / o["pages"])),
        "phrases": (["ground", *share, "-f", data, "--eval", f"{data}/phrases.json"],
                    lambda o: ({"accuracy": o["accuracy"], "loss": o["loss"]}, o["run_milliseconds"] / o["phrases"])),
    }[kind]


def measure(kind, precision, a, left):
    arguments, read = command(kind, os.path.join(a.models, NAMES[kind]), os.path.join(a.data, kind), a)
    if a.device != "cpu":
        arguments += ["--device", a.device, f"--{precision}"] + (["--allow-cpu-steps"] if a.allow_cpu_steps else [])
    started = time.time()
    try:
        r = subprocess.run([a.tenon, *arguments], capture_output=True, text=True, timeout=max(left, 1))
    except subprocess.TimeoutExpired:
        return dict(failed=f"stopped after {time.time() - started:.0f} s: no time is left")
    if r.returncode != 0:
        return dict(failed=f"exit status {r.returncode}: {r.stderr.strip()[-400:]}")
    values, each = read(json.loads(r.stdout.splitlines()[-1]))
    return dict(values=values, milliseconds=each, seconds=time.time() - started)


def run(a):
    begun, precisions = time.time(), a.precisions.split(",") if a.precisions else ["fp32"] if a.device == "cpu" else ["fp32", "fp16", "bf16", "tf32"]
    kinds = [k for k in NAMES if (not a.kind or k == a.kind)]
    expected, found, missing = {}, {}, []
    for kind in kinds:
        path = os.path.join(a.data, kind, "pytorch.json")
        if not os.path.exists(path):
            raise SystemExit(f"{path} is not there: make the inputs with `evaluate_precisions.py prepare`")
        expected[kind] = json.load(open(path))
    for precision in precisions:
        for kind in kinds:
            found[kind, precision] = r = measure(kind, precision, a, a.seconds - (time.time() - begun))
            if "failed" in r:
                missing.append(f"{NAMES[kind]} {precision}: {r['failed']}")
    print("| model | metric | PyTorch fp32 | " + " | ".join(precisions) + " |\n| --- | --- | --- |" + " --- |" * len(precisions))
    for kind in kinds:
        for metric, value in expected[kind].items():
            print(f"| {NAMES[kind]} | {metric} | {value:.4f} | " + " | ".join(
                f"{found[kind, p]['values'][metric]:.4f}" if "values" in found[kind, p] else "-" for p in precisions) + " |")
        print(f"| {NAMES[kind]} | ms each | | " + " | ".join(f"{found[kind, p].get('milliseconds', float('nan')):.2f}" for p in precisions) + " |")
    print(f"{a.device}, {time.time() - begun:.0f} s, builds included")
    for m in missing:
        print("left out:", m)
    if a.json:
        print(json.dumps({f"{k} {p}": r for (k, p), r in found.items()}))
    return 1 if missing else 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["prepare", "run"])
    ap.add_argument("--data", default="build-eval")
    ap.add_argument("--models", default="models")
    ap.add_argument("--kind", choices=NAMES, help="one model alone")
    ap.add_argument("--forms", default="build-train/forms", help="prepare: fonts and words of tools/train/forms/prepare.py")
    ap.add_argument("--funsd", help="prepare: FUNSD's testing_data, in place of rendered pages")
    ap.add_argument("--threads", type=int, default=2, help="prepare: of PyTorch")
    ap.add_argument("--tenon", default="build/tenon")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--precisions", help="as in fp32,fp16 (default: fp32 on the CPU; fp32,fp16,bf16,tf32 on a GPU)")
    ap.add_argument("--allow-cpu-steps", action="store_true")
    ap.add_argument("--seconds", type=float, default=100, help="run: of everything")
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()
    return prepare(a) if a.what == "prepare" else run(a)


if __name__ == "__main__":
    sys.exit(main())
