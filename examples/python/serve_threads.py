# SPDX-License-Identifier: Apache-2.0
"""One session, many threads: runs take a context each and share the weights. Values bound once are read and written in place."""
import concurrent.futures
import pathlib

import numpy as np

import tenon

root = pathlib.Path(__file__).resolve().parents[2]
options = tenon.SessionOptions()
options.intra_op_num_threads = 1  # a thread a request: best for throughput
session = tenon.InferenceSession(root / "tests/fixtures/trocr_encoder_ts17_dynamic/model.onnx", options)
pictures = [np.random.default_rng(k).random((1, 3, 16, 24), np.float32) for k in range(32)]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    results = list(pool.map(lambda x: session.run(["pooler_output"], {"pixel_values": x})[0], pictures))
alone = session.run(["pooler_output"], {"pixel_values": pictures[7]})[0]
print("32 requests on 4 threads; the same bits as alone:", results[7].tobytes() == alone.tobytes())

binding = session.io_binding()
x, y = pictures[0].copy(), tenon.OrtValue.ortvalue_from_shape_and_type([1, 24], np.float32)
binding.bind_cpu_input("pixel_values", x)
binding.bind_ortvalue_output("pooler_output", y)
for picture in pictures[:4]:
    x[...] = picture
    session.run_with_iobinding(binding)
    print("first value:", float(y.numpy()[0, 0]))
