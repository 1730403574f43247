# SPDX-License-Identifier: Apache-2.0
"""What the comparison of pipelines works on: checkpoints of full size with random weights, and inputs made from the samples of models/.

checkpoint(task, folder) writes a checkpoint folder that Tenon and PyTorch both read; items(task, folder, count) gives what a user would hand in, paths of
files mostly. Nothing comes from elsewhere: vocabularies are those of models/.
"""
import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
FORMS, LINES, SCENES = (MODELS / n for n in ("layoutlmv3-tiny-forms", "trocr-tiny-zh", "mask-rcnn-tiny-scenes"))
WORDPIECE = ROOT / "tests" / "pipelines" / "data" / "wordpiece" / "vocab.txt"
UNIFORMER_S = dict(depth=[3, 4, 8, 3], dim=[64, 128, 320, 512], head_dim=64, ratio=4)
TOKENS = 20  # that every line generates
WINDOW = 510  # tokens of a page at most, so that it is one window
REGIONS, FEATURES = 100, 2048
PHRASES = ("woman white shirt left", "man red shirt", "person sitting front right", "black dog", "girl blue umbrella standing", "left zebra", "chair and table", "guy back")


def recipes(*folders):
    """Makes the modules of training recipes importable."""
    for name in folders:
        path = str(ROOT / "tools" / "train" / name)
        if path not in sys.path:
            sys.path.insert(0, path)


# ---- modules in PyTorch ----------------------------------------------------------------------------------------------


def layoutlmv3():
    """LayoutLMv3-base with FUNSD's labels."""
    import transformers as t

    c = json.loads((FORMS / "config.json").read_text())
    config = t.LayoutLMv3Config(vocab_size=50265, max_position_embeddings=514, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, layer_norm_eps=1e-5,
                                id2label={int(k): v for k, v in c["id2label"].items()}, label2id=c["label2id"], input_size=224)
    return t.LayoutLMv3ForTokenClassification(config)


def trocr():
    """TrOCR-small over the vocabulary of the shipped reader."""
    import transformers as t

    c = json.loads((LINES / "config.json").read_text())
    encoder = dict(c["encoder"], hidden_size=384, num_attention_heads=6, intermediate_size=1536, image_size=384)
    decoder = dict(c["decoder"], decoder_layers=6, activation_function="relu", max_position_embeddings=512, cross_attention_hidden_size=384,
                   tie_word_embeddings=False)  # random tied embeddings would repeat the first token for ever
    for part in (encoder, decoder):
        part.pop("architectures")
    kinds = t.DeiTConfig(**{k: v for k, v in encoder.items() if k != "model_type"}), t.TrOCRConfig(**{k: v for k, v in decoder.items() if k != "model_type"})
    model = t.VisionEncoderDecoderModel(encoder=t.DeiTModel(kinds[0], add_pooling_layer=False), decoder=t.TrOCRForCausalLM(kinds[1]))
    model.config.tie_word_embeddings = False
    model.decoder.output_projection.weight.data[:4] = 0  # special tokens never win: every line takes all its tokens
    for config in (model.config, model.generation_config):
        for key in ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id"):
            setattr(config, key, c[key])
    return model


def uniformer():
    """UniFormer-S for classification: the recipes' blocks with the official head."""
    recipes("vision")
    import torch
    import uniformer as parts

    class Classifier(parts.UniFormer):
        """[B, 3, 224, 224] -> [B, 1000]"""

        def __init__(self):
            super().__init__(**UNIFORMER_S)
            for s in "1234":
                delattr(self, "norm" + s)
            self.norm, self.head = torch.nn.BatchNorm2d(UNIFORMER_S["dim"][3]), torch.nn.Linear(UNIFORMER_S["dim"][3], 1000)

        def forward(self, x):
            for s in "1234":
                x = getattr(self, "patch_embed" + s)(x)
                for block in getattr(self, "blocks" + s):
                    x = block(x)
            return self.head(self.norm(x).flatten(2).mean(-1))

    return Classifier()


def vilbert():
    """ViLBERT, 12 layers of text, 6 of regions, 6 connections."""
    recipes("phrases")
    import model

    return model.Net(vilbert_config())


def vilbert_config():
    """The numbers of the authors' bert_base_6layer_6conect.json."""
    drop = {k: 0.1 for k in ("attention_probs_dropout_prob", "hidden_dropout_prob", "v_attention_probs_dropout_prob", "v_hidden_dropout_prob")}
    return dict(drop, architectures=["VILBertForVLTasks"], hidden_act="gelu", v_hidden_act="gelu", initializer_range=0.02, v_initializer_range=0.02, hidden_size=768,
                intermediate_size=3072, max_position_embeddings=512, num_attention_heads=12, num_hidden_layers=12, type_vocab_size=2, vocab_size=30522,
                v_feature_size=FEATURES, v_target_size=1601, v_hidden_size=1024, v_num_hidden_layers=6, v_num_attention_heads=8, v_intermediate_size=1024,
                bi_hidden_size=1024, bi_num_attention_heads=8, bi_intermediate_size=1024, bi_attention_type=1, v_biattention_id=[0, 1, 2, 3, 4, 5],
                t_biattention_id=[6, 7, 8, 9, 10, 11], pooling_method="mul")


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def save(module, folder, config):
    """A module of this project's recipes as a checkpoint folder."""
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


def checkpoint(task, folder):
    """Writes the task's checkpoint into folder, or finds it there; the seed is fixed."""
    import torch

    if task == "detect":
        return SCENES
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    if task == "doc":
        layoutlmv3().save_pretrained(folder)
        copied = [(FORMS, n) for n in ("vocab.json", "merges.txt", "tokenizer_config.json", "preprocessor_config.json")]
    elif task == "ocr":
        trocr().save_pretrained(folder)
        copied = [(LINES, "vocab.json"), (LINES, "generation_config.json")]
        prepare = json.loads((LINES / "preprocessor_config.json").read_text())
        (folder / "preprocessor_config.json").write_text(json.dumps(dict(prepare, size={"height": 384, "width": 384})))
    elif task == "classify":
        save(uniformer(), folder, {"model_type": "uniformer", "head_dim": 64, "image_size": 224})
        copied = []
    else:
        save(vilbert(), folder, vilbert_config())
        copied = [(WORDPIECE.parent, "vocab.txt")]
    for source, name in copied:
        shutil.copy(source / name, folder / name)
    (folder / "done").touch()
    return folder


# ---- inputs ----------------------------------------------------------------------------------------------------------


def pages(folder, count):
    """[(picture, words as FUNSD's JSON)]: the sample forms, their items cut so that a page is one window."""
    import transformers as t

    tokenizer = t.AutoTokenizer.from_pretrained(FORMS)
    out = []
    for picture in sorted((FORMS / "samples" / "images").iterdir()):
        form, kept, tokens = json.loads((FORMS / "samples" / "annotations" / (picture.stem + ".json")).read_text())["form"], [], 0
        for item in form:
            words = [w["text"] for w in item["words"] if w["text"].strip()]
            tokens += len(tokenizer(words, boxes=[[0, 0, 0, 0]] * len(words), add_special_tokens=False)["input_ids"]) if words else 0
            if tokens > WINDOW:
                break
            kept.append(dict(item, linking=[]))
        words = folder / (picture.stem + ".json")
        words.write_text(json.dumps({"form": kept}))
        out.append((str(picture), str(words)))
    return [out[i % len(out)] for i in range(count)]


def photographs(folder, count):
    """JPEG files of 500 x 375, the usual size of ImageNet's."""
    from PIL import Image

    out = []
    for i, source in enumerate(sorted((SCENES / "samples").glob("*.png"))):
        path = folder / f"{i}.jpg"
        Image.open(source).convert("RGB").resize((500, 375), Image.BICUBIC).save(path, quality=90)
        out.append(str(path))
    return [out[i % len(out)] for i in range(count)]


def grounded(folder, count):
    """[(phrase, file of regions)]: 100 regions of 2048 numbers for every picture."""
    import numpy as np

    rng, files = np.random.default_rng(7), []
    for i in range(8):
        low = rng.uniform(0, 300, (REGIONS, 2))
        boxes = np.concatenate([low, low + rng.uniform(8, 200, (REGIONS, 2))], 1).astype(np.float32)
        files.append(str(folder / f"{i}.npz"))
        np.savez(files[-1], features=rng.exponential(0.5, (REGIONS, FEATURES)).astype(np.float32), boxes=boxes, num_boxes=REGIONS, image_h=500, image_w=500)
    return [(PHRASES[i % len(PHRASES)], files[i % len(files)]) for i in range(count)]


def items(task, folder, count):
    """Inputs of a task; files that have to be made go into folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if task == "doc":
        return pages(folder, count)
    if task == "classify":
        return photographs(folder, count)
    if task == "ground":
        return grounded(folder, count)
    files = sorted(str(p) for p in ((LINES if task == "ocr" else SCENES) / "samples").glob("*.png"))
    return [files[i % len(files)] for i in range(count)]
