# SPDX-License-Identifier: Apache-2.0
"""python -m tenon: the command line."""
import os
import sys

import tenon


def main() -> None:
    """Replaces this process by the program that came with the package; in a build folder by the one that was built there."""
    for folder in tenon.__path__:
        cuda = os.path.join(folder, "libtenon_cuda.so")
        for program in (os.path.join(folder, "bin", "tenon"), os.path.join(folder, "..", "..", "tenon")):
            if os.access(program, os.X_OK) and os.path.isfile(program):
                if os.path.exists(cuda):
                    os.environ.setdefault("TENON_CUDA_LIBRARY", cuda)
                os.execv(program, [program, *sys.argv[1:]])
    raise SystemExit("tenon: the program is not installed with the package")


if __name__ == "__main__":
    main()
