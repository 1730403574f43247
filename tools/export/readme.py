#!/usr/bin/env python3
"""Write tests/fixtures/README.md and operators.txt from cases.json and the exported graphs."""

import argparse
import collections
import json
import pathlib

import onnx

HEAD = """# Fixtures

Small exported graphs with the values that PyTorch computes for them. Everything here is made by `tools/export/` from
seeded random weights; nothing is edited by hand. This page is made by `tools/export/readme.py`.

A case is a folder:

| file | what |
| --- | --- |
| `model.onnx` | the graph, weights inside |
| `inputs.K.npz` | stored (not deflated) arrays, named as the graph's inputs; K = 0 has the shapes that were traced |
| `outputs.K.npz` | what PyTorch computes in fp32 for `inputs.K.npz`, named as the graph's outputs |

`<arch>_<exporter><opset>_<static|dynamic>[_variant]`: `ts` is `torch.onnx.export(..., dynamo=False)`, `dynamo` is
`dynamo=True`. A dynamic case has several runs with other sizes. ONNX Runtime was run on every case to notice broken
exports; "difference" is its largest one, relative to the largest value of an output (masked scores near -10000 left out).
`cases.json` has the same facts for programs, with every shape.

The weights are chosen so that mistakes show: embeddings and BatchNorm statistics are small enough that any epsilon
(1e-12, 1e-6, 1e-5) in place of another moves an output by 7e-4 to 4e-2 of its largest value, and a dropped bias, position
table or bias table by 1e-1 (biases of keys alone change nothing: softmax cancels them). Compare with a relative tolerance of
1e-5 or tighter in fp32. Inner values of the TorchScript graphs are renamed v0, v1, ... and constants have no node names.

`layoutlmv3_*` take boxes whose differences are exactly 16, 32, 64, 128 and 256, where a logarithm one ulp low picks another
bucket; `uniformer_*_light*` are seeded so that scores at each cut differ by more than 1 %.
"""

REBUILD = """
## Rebuild

    python tools/export/layoutlmv3.py
    python tools/export/trocr.py
    python tools/export/uniformer.py --official UNIFORMER      # a checkout of Sense-X/UniFormer
    python tools/export/vilbert.py --official VILBERT          # a checkout of facebookresearch/vilbert-multi-task
    python tools/export/vilbert.py --official BETA --beta      # a checkout of jiasenlu/vilbert_beta
    python tools/export/hf_trocr.py
    python tools/export/full_size.py --out DIR --uniformer UNIFORMER --vilbert VILBERT [--ocr CHECKPOINT]
    python tools/export/readme.py --full-size DIR

or, but for the full-size graphs, `tools/export/all.sh PYTHON UNIFORMER VILBERT BETA`.

## Checkpoints

`hf_trocr_<variant>/` are TrOCR checkpoints in Hugging Face's layout with `golden.npz`: encoder output, teacher-forced
logits, greedy ids, and all four hypotheses of beam searches with their scores, in fp32 by the transformers named below
(also in the array `transformers`). Arrays are described in `tools/export/hf_trocr.py`.

| variant | encoder | decoder | weights |
| --- | --- | --- | --- |
| deit_tied_fp32 | DeiT, two special tokens, q/k/v bias, eps 1e-12 | gelu, learned positions, embedding norm, tied, cross_attention_hidden_size 24, starts with 0 | fp32 |
| vit_sinusoidal_fp16 | ViT, no q/k/v bias, eps 1e-6 | relu, sinusoidal positions, no embedding norm, scaled, untied, enc_to_dec_proj 24 -> 16, starts with 2 | fp16, three shards with index |
| deit_untied_bf16 | DeiT | relu, learned positions, embedding norm, scaled, untied, cross_attention_hidden_size 24, starts with 2 | bf16 |
| vit_same_width_fp32 | ViT with q/k/v bias, 16 wide like the decoder | gelu, learned positions, scaled, untied, cross_attention_hidden_size unset and nothing to project | fp32, shards with index |

transformers 5 cannot load a sinusoidal TrOCR as it is: the position table, which no checkpoint holds, stays without
memory after from_pretrained and has to be computed again by the caller.
"""


def table(header, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join(lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows])


def dynamic_text(dynamic):
    """Dynamic axes in words: symbol, and where it stands."""
    places = collections.defaultdict(list)
    for name, axes in dynamic.items():
        for axis, symbol in axes.items():
            places[symbol].append(f"{name}[{axis}]")
    return ", ".join(f"{symbol}" for symbol in places) or "none"


def worst(row):
    """Largest difference of the runs that were kept, or a word."""
    values = [d for d in row["difference"] if not isinstance(d, str)]
    return f"{max(values):.0e}" if values else "refused"


def graphs(graph):
    """A graph and its subgraphs."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def count_operators(paths):
    """Rows of (domain, operator): opset versions, count, files, and types of the outputs where inference knows them."""
    seen = collections.defaultdict(lambda: dict(opsets=set(), count=0, files=set(), types=collections.Counter()))
    for path in paths:
        model = onnx.load(str(path), load_external_data=False)
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        try:
            inferred = onnx.shape_inference.infer_shapes(model)
        except Exception:
            inferred = model
        for graph in graphs(inferred.graph):
            types = {}
            for value in [*graph.value_info, *graph.output, *graph.input]:
                kind = value.type.WhichOneof("value")
                types[value.name] = (
                    onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
                    if kind == "tensor_type"
                    else kind or "?"
                )
            for node in graph.node:
                row = seen[(node.domain or "ai.onnx", node.op_type)]
                row["opsets"].add(opsets.get(node.domain, opsets.get("", 0)))
                row["count"] += 1
                row["files"].add(str(path))
                for output in node.output:
                    if output:
                        row["types"][types.get(output, "?")] += 1
    return seen


def operators_text(seen, files):
    """The text of operators.txt."""
    lines = [
        f"# Operators of {files} exports (fixtures and full-size graphs), made by tools/export/readme.py.",
        "# domain operator | opsets of the files it stands in | nodes | files | types of its outputs (count)",
    ]
    for (domain, name), row in sorted(seen.items()):
        types = " ".join(f"{kind}:{count}" for kind, count in row["types"].most_common())
        opsets = ",".join(map(str, sorted(row["opsets"])))
        lines.append(f"{domain} {name} | {opsets} | {row['count']} | {len(row['files'])} | {types}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=pathlib.Path, default=pathlib.Path("tests/fixtures"))
    parser.add_argument(
        "--full-size", type=pathlib.Path, help="folder written by full_size.py, counted in operators.txt"
    )
    options = parser.parse_args()
    rows = json.loads((options.fixtures / "cases.json").read_text())
    good = [row for row in rows if "error" not in row]
    bad = [row for row in rows if "error" in row]
    text = HEAD + "\n## Cases\n\n"
    text += table(
        ["case", "exporter", "opset", "dynamic", "runs", "KiB", "difference", "what it exercises"],
        [
            (
                row["case"],
                row["exporter"],
                row["opset"],
                dynamic_text(row["dynamic"]),
                row["runs"],
                round(row["bytes"] / 1024),
                worst(row),
                row["about"],
            )
            for row in good
        ],
    )
    refused = [row for row in good if isinstance(row["difference"][0], str)]
    if refused:
        text += "\n\n## Kept though ONNX Runtime refuses them\n\n"
        text += "\n".join(f"- `{row['case']}`: {clean(row['difference'][0])}" for row in refused)
    partial = [row for row in good if row["runs"] < len(row["difference"])]
    if partial:
        text += (
            "\n\n## Runs left out\n\nThe exporter burnt a traced size into these graphs; the other sizes that were "
            "tried:\n\n"
        )
        text += "\n".join(
            f"- `{row['case']}`: {[clean(d) if isinstance(d, str) else round(d, 4) for d in row['difference'][1:]]}"
            for row in partial
        )
    if bad:
        text += "\n\n## Not exportable\n\nFirst line of the error:\n\n"
        text += "\n".join(f"- `{row['case']}`: {clean(row['error'])}" for row in bad)
    text += "\n\n## Versions\n\n"
    pairs = sorted({(row["torch"], row["transformers"]) for row in rows})
    text += "\n".join(f"- torch {t}, transformers {h}" for t, h in pairs) + "\n"
    (options.fixtures / "README.md").write_text(text + REBUILD)
    paths = sorted(options.fixtures.glob("*/model.onnx"))
    if options.full_size:
        paths += sorted(options.full_size.glob("*/*.onnx"))
    (options.fixtures / "operators.txt").write_text(operators_text(count_operators(paths), len(paths)))


def clean(text):
    """One line without the folder of the machine that exported."""
    words = [
        word.rsplit("/", 1)[-1] if word.startswith("/") and word.endswith(".onnx") else word for word in text.split()
    ]
    return " ".join(words).replace("\x1b[96m", "").replace("\x1b[0m", "")[:300]


if __name__ == "__main__":
    main()
