# SPDX-License-Identifier: Apache-2.0
"""Writes small ONNX models to fuzz/seeds/onnx and the words of the format to fuzz/onnx.dict. Needs the package onnx."""
import pathlib

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

HERE = pathlib.Path(__file__).parent
F, I, B = T.FLOAT, T.INT64, T.BOOL


def info(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


def save(name, nodes, inputs, outputs, tensors=(), opset=17, functions=(), extra=()):
    graph = h.make_graph(nodes, "g", [info(*i) for i in inputs], [info(o, F, None) for o in outputs],
                         [nh.from_array(np.asarray(a), n) for n, a in tensors])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset), *extra], functions=list(functions), ir_version=8)
    folder = HERE / "seeds" / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(model.SerializeToString())


def f32(*shape):
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) * np.float32(0.125)


def i64(*values):
    return np.array(values, np.int64)


def main():
    n = h.make_node
    x = [("x", F, ["N", 4, 6])]
    save("pointwise", [n("Add", ["x", "w"], ["a"]), n("Erf", ["a"], ["b"]), n("Where", ["c", "b", "x"], ["y"])], x + [("c", B, ["N", 1, 1])], ["y"], [("w", f32(6))])
    save("norm", [n("LayerNormalization", ["x", "s", "b"], ["l"], axis=-1), n("Softmax", ["l"], ["y"], axis=1)], x, ["y"], [("s", f32(6)), ("b", f32(6))])
    save("softmax11", [n("Softmax", ["x"], ["y"], axis=1)], x, ["y"], opset=11)
    save("matmul", [n("MatMul", ["x", "w"], ["a"]), n("Flatten", ["a"], ["f"]), n("Gemm", ["f", "v", "c"], ["y"], transB=1)], x, ["y"],
         [("w", f32(6, 2)), ("v", f32(3, 8)), ("c", f32(3))])
    save("einsum", [n("Einsum", ["x", "x"], ["y"], equation="bij,bkj->bik")], x, ["y"])
    image = [("x", F, ["N", 3, "H", "W"])]
    save("conv", [n("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]), n("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], ceil_mode=1),
                  n("GlobalAveragePool", ["p"], ["y"])], image, ["y"], [("w", f32(2, 3, 3, 3)), ("b", f32(2))])
    save("conv_transpose", [n("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 1])], image, ["y"], [("w", f32(3, 2, 3, 3))])
    save("resize", [n("Resize", ["x", "", "s"], ["y"], mode="cubic", coordinate_transformation_mode="align_corners")], image, ["y"], [("s", f32(4) + 1)])
    save("upsample", [n("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0])], image, ["y"], opset=7)
    save("reshape", [n("Shape", ["x"], ["s"]), n("Gather", ["s", "zero"], ["b"]), n("Unsqueeze", ["b", "axis"], ["u"]), n("Concat", ["u", "m"], ["d"], axis=0),
                     n("Reshape", ["x", "d"], ["r"]), n("Transpose", ["r"], ["y"], perm=[1, 0])], x, ["y"],
         [("zero", np.array(0, np.int64)), ("axis", i64(0)), ("m", i64(-1))])
    save("slice", [n("Slice", ["x", "a", "b", "c", "d"], ["s"]), n("Pad", ["s", "p"], ["q"], mode="reflect"), n("Split", ["q"], ["y", "z"], axis=1),
                   n("Tile", ["y", "t"], ["v"])], x, ["v", "z"], [("a", i64(1)), ("b", i64(9)), ("c", i64(2)), ("d", i64(2)), ("p", i64(0, 1, 0, 0, 1, 0)), ("t", i64(1, 2, 1))])
    save("expand", [n("Shape", ["x"], ["s"]), n("ConstantOfShape", ["s"], ["o"], value=h.make_tensor("", F, [1], [1.0])), n("Expand", ["o", "s"], ["e"]),
                    n("Range", ["r0", "r1", "r2"], ["r"]), n("CumSum", ["e", "r0"], ["y"])], x, ["y", "r"],
         [("r0", np.array(0, np.int64)), ("r1", np.array(5, np.int64)), ("r2", np.array(2, np.int64))])
    save("reduce", [n("ReduceMean", ["x"], ["a"], axes=[-1]), n("ReduceSum", ["x", "ax"], ["b"]), n("ArgMax", ["x"], ["c"], axis=1), n("ReduceL2", ["x"], ["d"], keepdims=0)],
         x, ["a", "b", "c", "d"], [("ax", i64(1, 2))])
    save("gather", [n("GatherND", ["x", "i"], ["a"], batch_dims=0), n("GatherElements", ["x", "j"], ["b"], axis=2), n("ScatterND", ["x", "i", "a"], ["c"], reduction="add"),
                    n("ScatterElements", ["x", "j", "b"], ["d"], axis=2)], x, ["c", "d"], [("i", np.array([[0, 1]], np.int64)), ("j", np.zeros((1, 4, 2), np.int64))])
    save("select", [n("TopK", ["x", "k"], ["v", "i"]), n("NonZero", ["x"], ["z"]), n("OneHot", ["i", "d", "w"], ["o"]), n("Trilu", ["x"], ["t"]), n("Unique", ["x"], ["u"])],
         x, ["v", "z", "o", "t", "u"], [("k", i64(2)), ("d", np.array(6, np.int64)), ("w", f32(2))])
    save("detect", [n("NonMaxSuppression", ["bx", "sc", "m", "iou"], ["s"]), n("RoiAlign", ["x", "r", "bi"], ["y"], output_height=2, output_width=2)],
         image + [("bx", F, [1, "K", 4]), ("sc", F, [1, 2, "K"]), ("r", F, ["R", 4]), ("bi", I, ["R"])], ["s", "y"], [("m", i64(3)), ("iou", np.array(0.5, np.float32))])
    save("quantize", [n("QuantizeLinear", ["x", "s", "z"], ["q"], axis=2), n("DequantizeLinear", ["q", "s", "z"], ["y"], axis=2)], x, ["y"],
         [("s", f32(6) + 1), ("z", np.zeros(6, np.int8))])
    then = h.make_graph([n("Mul", ["x", "w"], ["o"])], "then", [], [info("o", F, None)])
    other = h.make_graph([n("Neg", ["x"], ["o"])], "else", [], [info("o", F, None)])
    save("if", [n("If", ["c"], ["y"], then_branch=then, else_branch=other)], x + [("c", B, [])], ["y"], [("w", f32(6))])
    body = h.make_graph([n("Identity", ["go"], ["on"]), n("Add", ["acc", "x"], ["next"]), n("Abs", ["next"], ["scan"])], "body",
                        [info("i", I, []), info("go", B, []), info("acc", F, None)], [info("on", B, []), info("next", F, None), info("scan", F, None)])
    save("loop", [n("Loop", ["t", "", "x"], ["y", "z"], body=body)], x, ["y", "z"], [("t", np.array(3, np.int64))])
    leaky = n("LeakyRelu", ["a"], ["t"])
    ref = h.make_attribute("alpha", 0.0)
    ref.ClearField("f")
    ref.ref_attr_name = "slope"
    leaky.attribute.append(ref)
    inner = h.make_function("local", "Inner", ["a"], ["b"], [leaky, n("Neg", ["t"], ["b"])], [h.make_opsetid("", 17)], attributes=["slope"])
    outer = h.make_function("local", "Outer", ["a"], ["b"], [n("Inner", ["a"], ["t"], domain="local", slope=0.5), n("Inner", ["t"], ["b"], domain="local", slope=0.25)],
                            [h.make_opsetid("", 17), h.make_opsetid("local", 1)])
    save("function", [n("Outer", ["x"], ["y"], domain="local")], x, ["y"], functions=[inner, outer], extra=[h.make_opsetid("local", 1)])
    save("attention", [n("Attention", ["q", "k", "k", "m"], ["y"], q_num_heads=2, kv_num_heads=1, is_causal=1)], [("q", F, ["B", "S", 8]), ("k", F, ["B", "S", 4]), ("m", F, ["S", "S"])], ["y"], opset=23)
    typed = h.make_graph([n("Identity", ["w"], ["y"]), n("Cast", ["v"], ["z"], to=F)], "g", [], [info("y", F, None), info("z", F, None)],
                         [h.make_tensor("w", T.FLOAT16, [3], [1.0, 2.0, 3.0]), h.make_tensor("v", T.INT4, [3], [1, -2, 3])])
    (HERE / "seeds" / "onnx" / "typed").write_bytes(h.make_model(typed, opset_imports=[h.make_opsetid("", 21)], ir_version=10).SerializeToString())

    words = set()
    for line in (HERE.parent / "src" / "onnx" / "rows.inc").read_text().splitlines():
        if line.startswith("ROW("):
            words.add(line.split('"')[3])
    words |= set("""axis axes keepdims noop_with_empty_axes perm to saturate value value_int value_ints value_float value_floats pads strides dilations kernel_shape group
        auto_pad SAME_UPPER SAME_LOWER VALID ceil_mode mode nearest linear cubic coordinate_transformation_mode align_corners asymmetric half_pixel epsilon alpha beta transA
        transB equation ij,jk->ik ...ij->...ji then_branch else_branch body batch_dims reduction add blocksize split num_outputs allowzero largest sorted start end dtype
        q_num_heads kv_num_heads is_causal scale location offset length ai.onnx""".split())
    lines = ["# SPDX-License-Identifier: Apache-2.0"] + [f'"{w}"' for w in sorted(words)]
    (HERE / "onnx.dict").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
