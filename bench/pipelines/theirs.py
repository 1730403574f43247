# SPDX-License-Identifier: Apache-2.0
"""The tasks in PyTorch, as a user of transformers and torchvision writes them: fast tokenizers and image processors, inference mode, half precision and fused
attention on a GPU, pictures decoded on as many threads as there are. Sides as in ours.py."""
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

import made


def now():
    return time.perf_counter() * 1e3


class Side:
    """prepare(items) -> x on the host, run(x) -> y, results(y) -> answers; each timed."""

    weights = None  # their type, where it is not the one asked for

    def __init__(self, folder, options):
        self.device, self.cuda = options.device, options.device.startswith("cuda")
        self.kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(options.dtype, torch.float32)
        self.pool, self.times = ThreadPoolExecutor(max(1, options.threads)), (0.0, 0.0, 0.0)
        self.layout = torch.contiguous_format
        torch.set_num_threads(max(1, options.threads))
        torch.backends.cudnn.benchmark = True
        self.module = self.load(folder, options).eval().to(self.device, self.weights or self.kind)
        if options.compile:
            self.module.forward = torch.compile(self.module.forward, dynamic=False)

    def to(self, x):
        """To the device; floats in the model's type, pictures in its layout."""
        x = x.to(self.device, (self.weights or self.kind) if x.is_floating_point() else None, non_blocking=True)
        return x.contiguous(memory_format=self.layout) if x.dim() == 4 else x

    def use(self, layout):
        """Another memory format for modules and pictures."""
        self.layout = layout
        self.module.to(memory_format=layout)

    def pictures(self, files):
        """Decoded pictures of PIL."""
        read = lambda f: Image.open(f).convert("RGB")  # noqa: E731
        return [read(files[0])] if len(files) == 1 else list(self.pool.map(read, files))

    def __call__(self, items):
        t = [now()]
        with torch.inference_mode():
            x = self.prepare(items)
            t.append(now())
            y = self.run(x)
            if self.cuda:
                torch.cuda.synchronize()
            t.append(now())
            out = self.results(y, items)
        t.append(now())
        self.times = (t[1] - t[0], t[2] - t[1], t[3] - t[2])
        return out


class Doc(Side):
    """LayoutLMv3ForTokenClassification and LayoutLMv3Processor without OCR."""

    def load(self, folder, options):
        import transformers as t

        self.processor = t.LayoutLMv3Processor(t.AutoImageProcessor.from_pretrained(folder, use_fast=True), t.AutoTokenizer.from_pretrained(folder))
        return t.LayoutLMv3ForTokenClassification.from_pretrained(folder)

    def prepare(self, items):
        pictures, words, boxes = self.pictures([i[0] for i in items]), [], []
        for picture, (_, file) in zip(pictures, items):
            w, h = picture.size
            with open(file) as f:
                form = json.load(f)["form"]
            texts, places = [], []
            for item in form:
                own = [(word["text"], word["box"]) for word in item["words"] if word["text"].strip()]
                if own:
                    b = np.array([box for _, box in own])
                    box = [*b[:, :2].min(0), *b[:, 2:].max(0)]
                    texts += [text for text, _ in own]
                    places += [[int(1000 * v / side) for v, side in zip(box, (w, h, w, h))]] * len(own)
            words.append(texts)
            boxes.append(places)
        self.encoded = self.processor(pictures, words, boxes=boxes, truncation=True, padding=True, max_length=512, return_tensors="pt")
        return dict(self.encoded)

    def run(self, x):
        return self.module(**{k: self.to(v) for k, v in x.items()}).logits.float().softmax(-1).max(-1)

    def results(self, y, items):
        probabilities, labels = (v.cpu().tolist() for v in y)
        names, out = self.module.config.id2label, []
        for i, row in enumerate(labels):
            answer, last, entities = [], None, []
            for token, word in enumerate(self.encoded.word_ids(i)):
                if word is not None and word != last:
                    name = names[row[token]]
                    if name[0] == "B" or not entities or entities[-1][0] != name[2:]:
                        entities.append((name[2:], [], probabilities[i][token]))
                    entities[-1][1].append(word)
                    answer.append(name)
                last = word
            out.append(answer)
        return out


class Ocr(Side):
    """VisionEncoderDecoderModel.generate, greedy, and ViTImageProcessor."""

    def load(self, folder, options):
        import transformers as t

        self.processor = t.AutoImageProcessor.from_pretrained(folder, use_fast=True)
        self.characters = {i: c for c, i in json.loads((folder / "vocab.json").read_text()).items()}
        self.settings = dict(do_sample=False, num_beams=1, max_length=None, max_new_tokens=options.tokens, use_cache=True)
        model = t.VisionEncoderDecoderModel.from_pretrained(folder)
        try:
            model.encoder.set_attn_implementation("sdpa")
        except (AttributeError, ValueError):  # older transformers choose it by themselves
            pass
        return model

    def prepare(self, items):
        return self.processor(self.pictures(items), return_tensors="pt")["pixel_values"]

    def run(self, x):
        return self.module.generate(self.to(x), **self.settings)

    def results(self, y, items):
        return ["".join(self.characters[t] for t in row if t > 2) for row in y.cpu().tolist()]


class Classify(Side):
    """UniFormer-S and torchvision's transforms."""

    def load(self, folder, options):
        from safetensors.torch import load_file
        from torchvision import transforms as t

        self.transform = t.Compose([t.Resize(256, t.InterpolationMode.BICUBIC), t.CenterCrop(224), t.ToTensor(),
                                    t.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
        module = made.uniformer()
        module.load_state_dict(load_file(folder / "model.safetensors"))
        return module

    def prepare(self, items):
        read = lambda f: self.transform(Image.open(f).convert("RGB"))  # noqa: E731
        return torch.stack([read(items[0])] if len(items) == 1 else list(self.pool.map(read, items)))

    def run(self, x):
        return self.module(self.to(x)).float().softmax(-1).topk(5)

    def results(self, y, items):
        return y[1].cpu().tolist()


def suppressed(box, group, valid, limit):
    """The recipe's nms by torchvision's kernel; one picture, boxes in order of score."""
    from torchvision.ops import batched_nms

    keep = torch.zeros_like(valid)
    order = torch.arange(box.shape[1], 0, -1, device=box.device, dtype=torch.float32)
    keep[0, batched_nms(box[0].float(), order, group[0], limit)] = True
    return keep & valid


def pooled(maps, box, bins, most=None):
    """The recipe's pooled by torchvision's roi_align; one picture."""
    import detector
    from torchvision.ops import roi_align

    side = (box[0, :, 2:] - box[0, :, :2]).clamp(min=0).prod(-1).sqrt()
    level = torch.floor(torch.log2(side / detector.FINEST + 1e-6)).clamp(0, detector.LEVELS - 1)
    out = maps[0].new_zeros(box.shape[1], maps[0].shape[1], bins, bins)
    for k in range(detector.LEVELS):
        at = (level == k).nonzero().flatten()
        if len(at):
            out[at] = roi_align(maps[k], [box[0, at].to(maps[k].dtype)], bins, 1 / detector.STRIDES[k], 0, True)
    return out[None]


class Detect(Side):
    """The recipe's detector with torchvision's operators, picture by picture; half precision by autocast, because boxes need float32."""

    weights = torch.float32

    def load(self, folder, options):
        made.recipes("vision", "scenes")
        import detector
        import train as recipe
        import uniformer

        detector.nms, detector.pooled = suppressed, pooled

        module = recipe.make("cpu")
        module.load_state_dict(uniformer.read_safetensors(str(folder / "model.safetensors")), strict=False)
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (uniformer.MEAN, uniformer.STD))
        return module

    def one(self, file):
        x = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
        h, w = x.shape[1:]
        padded = torch.zeros(1, 3, -(-h // 32) * 32, -(-w // 32) * 32)
        padded[0, :, :h, :w] = (x.float() - self.mean) / self.std
        return padded, h, w

    def prepare(self, items):
        return [self.one(items[0])] if len(items) == 1 else list(self.pool.map(self.one, items))

    def run(self, x):
        out = []
        with torch.autocast("cuda", self.kind, enabled=self.cuda and self.kind != torch.float32):
            for padded, h, w in x:
                out.append(self.module.detect(self.to(padded), h, w, threshold=0.3))
        return out

    def results(self, y, items):
        out = []
        for boxes, scores, kinds, masks in y:
            scores.cpu(), masks.cpu()
            out.append((kinds.cpu().tolist(), boxes.float().cpu().numpy()))
        return out


class Ground(Side):
    """ViLBERT as the recipe writes it, with fused attention, and BertTokenizer."""

    def load(self, folder, options):
        import transformers as t
        from safetensors.torch import load_file

        self.tokenizer = t.BertTokenizerFast.from_pretrained(folder)
        module = made.vilbert()
        module.load_state_dict(load_file(folder / "model.safetensors"))
        return module

    @staticmethod
    def regions(file):
        """Features and places as the authors' loader makes them."""
        with np.load(file) as data:
            features, boxes, w, h = data["features"], data["boxes"], float(data["image_w"]), float(data["image_h"])
        features = np.concatenate([features.mean(0, keepdims=True), features])
        area = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0]) / (w * h)
        places = np.concatenate([boxes / np.array([w, h, w, h], np.float32), area[:, None]], 1)
        return features, np.concatenate([[[0, 0, 1, 1, 1]], places]).astype(np.float32)

    def prepare(self, items):
        encoded = self.tokenizer([i[0] for i in items], padding="longest", truncation=True, max_length=20, return_tensors="pt")
        rows = [self.regions(items[0][1])] if len(items) == 1 else list(self.pool.map(self.regions, [i[1] for i in items]))
        features, places = (torch.from_numpy(np.stack(v)) for v in zip(*rows))
        return encoded["input_ids"], features, places, encoded["attention_mask"], torch.ones(features.shape[:2], dtype=torch.int64)

    def run(self, x):
        return self.module(*[self.to(v) for v in x])

    def results(self, y, items):
        scores, rows = y.sigmoid().max(1)
        scores.cpu()
        return rows.cpu().tolist()


SIDES = dict(doc=Doc, ocr=Ocr, classify=Classify, detect=Detect, ground=Ground)
