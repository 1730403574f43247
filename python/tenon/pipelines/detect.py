# SPDX-License-Identifier: Apache-2.0
"""Objects on pictures, as `tenon detect`, and COCO's scores.

    from tenon.pipelines import Detector
    detector = Detector("mask_rcnn.pth", labels="coco")
    found = detector("street.jpg")
    for box, score, name in zip(found.boxes, found.scores, found.names):
        print(name, score, box)
    found.draw()              # uint8 [height, width, 3]
    found.to_html("street.html")
"""
from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Sequence

import numpy as np

from .. import _core, _options, errors
from ._common import as_json, is_many, labels_file, load_image, name_of, page, read_bytes, title_of


@dataclass
class Detections:
    """Objects on one picture, the surest first.

    Attributes:
        boxes: float32 [n, 4]: x0, y0, x1, y1 in pixels of the picture.
        scores: float32 [n], 0 to 1.
        labels: int64 [n]: class numbers from 0; numbers of categories where the detector's labels_are_ids.
        names: [n] names of the classes, None where there are none.
        runs: [n] masks as COCO's compressed run lengths, None where there are none; `masks` are the same as an array.
        width, height: of the picture, pixels.
        source: the picture, as it was given.
        milliseconds: (preparation, model, results).
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: "list[str | None]"
    runs: "list[str | None]" = field(repr=False)
    width: int = 0
    height: int = 0
    source: Any = field(repr=False, default=None)
    milliseconds: "tuple[float, float, float]" = field(repr=False, default=(0.0, 0.0, 0.0))

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def masks(self) -> "np.ndarray | None":
        """bool [n, height, width]; None where the model has no masks."""
        if any(r is None for r in self.runs):
            return None
        out = np.zeros((len(self.runs), self.height, self.width), bool)
        for mask, runs in zip(out, self.runs):
            mask[:] = _core.rle_decode(runs, self.height, self.width)
        return out

    def _found(self) -> "tuple[Any, ...]":
        return (self.boxes, self.scores, self.labels, self.names, self.runs)

    def above(self, score: float) -> "Detections":
        """Those with at least this score."""
        keep = np.flatnonzero(self.scores >= np.float32(score))
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep], [self.names[i] for i in keep], [self.runs[i] for i in keep], self.width,
                          self.height, self.source, self.milliseconds)

    def draw(self, image: Any = None) -> np.ndarray:
        """The picture with masks, boxes and names drawn over it: uint8 [height, width, 3]. image: another one of the same size; None: what was given."""
        return _core.detect_draw(self._image(image), self._found())

    def to_html(self, path: "str | os.PathLike[str] | None" = None, image: Any = None) -> "str | None":
        """One page with everything inside: into path, or, without one, as text."""
        return detections_page([self], path, images=None if image is None else [image])

    def to_dict(self) -> "dict[str, Any]":
        """What `tenon detect --json` prints of a picture."""
        items = []
        for box, score, label, name, runs in zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.names, self.runs):
            item: "dict[str, Any]" = {"class": label, "score": score, "box": box}
            if name is not None:
                item["name"] = name
            if runs is not None:
                item["segmentation"] = {"size": [self.height, self.width], "counts": runs}
            items.append(item)
        name = name_of(self.source)
        times = dict(zip(("preprocess_milliseconds", "run_milliseconds", "postprocess_milliseconds"), self.milliseconds))
        return {**({} if name is None else {"file": name}), "width": self.width, "height": self.height, "detections": items, **times}

    def to_json(self) -> str:
        return as_json(self.to_dict())

    def to_coco(self, image_id: int, category_ids: "Sequence[int | None] | None" = None) -> "list[dict[str, Any]]":
        """Entries of COCO's results file. category_ids: [n] the category of each; None among them: it is left out. None: the labels themselves."""
        out = []
        for i, (box, score) in enumerate(zip(self.boxes.astype(np.float64), self.scores.tolist())):
            category = int(self.labels[i]) if category_ids is None else category_ids[i]
            if category is None:
                continue
            entry: "dict[str, Any]" = {"image_id": image_id, "category_id": category, "score": score,
                                       "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
            if self.runs[i] is not None:
                entry["segmentation"] = {"size": [self.height, self.width], "counts": self.runs[i]}
            out.append(entry)
        return out

    def _image(self, image: Any) -> np.ndarray:
        array = load_image(self.source if image is None else image)
        if array.shape[:2] != (self.height, self.width):
            raise errors.fail("shape", f"the picture is {array.shape[1]} x {array.shape[0]} pixels; the detections are of one of {self.width} x {self.height}",
                              field="image")
        return array


def detections_page(found: "Sequence[Detections]", path: "str | os.PathLike[str] | None" = None, *, title: str = "Detected objects",
                    images: "Sequence[Any] | None" = None) -> "str | None":
    """One HTML page for any number of pictures: into path, or, without one, as text."""
    items = [(f._image(None if images is None else images[i]), f._found(), title_of(f.source), *f.milliseconds) for i, f in enumerate(found)]
    return page(lambda file: _core.detect_html(items, title, file), path)


@dataclass
class CocoScores:
    """The numbers by which detectors are compared, as pycocotools computes them; -1 where there is nothing to find.

    Attributes:
        boxes: {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"}, 0 to 1.
        masks: the same of masks, None where results or annotations have none.
        categories: [(id, name, box AP, mask AP or None)].
        images, annotations, detections: how many were scored.
        left_out: detections of classes that the annotations lack.
    """

    boxes: "dict[str, float]"
    masks: "dict[str, float] | None"
    categories: "list[tuple[int, str, float, float | None]]" = field(repr=False)
    images: int
    annotations: int
    detections: int
    left_out: int = 0


def coco_scores(annotations: Any, results: Any, image_ids: "Sequence[int] | None" = None) -> CocoScores:
    """Scores detections against annotations.

    Args:
        annotations: COCO's annotation file: a path, its bytes, or the object that it holds.
        results: COCO's results file, the same ways, or a list as :meth:`Detections.to_coco` makes it.
        image_ids: the images that count; None: all.

    Raises:
        ModelError: which entry of the files is wrong, and how. FileError.
    """
    truth, truth_name = read_bytes(annotations, "annotations")
    found, found_name = read_bytes(results, "results")
    ids = None if image_ids is None else [int(i) for i in image_ids]
    s = _core.coco_score(truth, truth_name, found, found_name, ids)
    return CocoScores(s["boxes"], s["masks"], s["categories"], s["images"] if ids is None else len(set(ids)), s["annotations"], s["detections"],
                      s["detections_left_out"])


class Detector:
    """Finds objects on pictures. Safe from several threads, which take turns.

    Args:
        model: a plan, a detection checkpoint (folder or file of weights: mmdet's, UniFormer's) or an .onnx file (docs/usage.md says of which form).
        labels: names of the classes: a text file, a line a class; a sequence of names; or "coco". None: those of the model.
        score_threshold: detections below are left out (the command line's default).
        long_side, short_side: pictures are scaled so that neither is passed; 0: the model's, else 1333 and 800.
        threads: 0: one a core.
        options: of :func:`tenon.build` (device, precision, attention, ...), and cache and progress, as in InferenceSession.

    Raises:
        RequestError: the model detects nothing: what is missing. ModelError, FileError.
    """

    def __init__(self, model: Any, *, labels: Any = None, score_threshold: float = 0.3, long_side: int = 0, short_side: int = 0, threads: int = 0,
                 cache: Any = None, progress: Any = None, **options: Any) -> None:
        if not 0 <= score_threshold <= 1:
            raise errors.fail("argument", f"score_threshold is {score_threshold}; 0 to 1 is possible", field="score_threshold")
        self.score_threshold = float(score_threshold)
        self._plan = _options.open_source(model, options, progress=progress, cache=cache)
        self._sides = (threads, long_side, short_side)
        self._labels = labels if labels is None or isinstance(labels, (str, os.PathLike)) else list(labels)
        self._core = self._make(self.score_threshold)
        self._all: "_core.Detector | None" = None  # finds what scores less, made when that is asked for
        self._lock = threading.Lock()

    def _make(self, min_score: float) -> "_core.Detector":
        core = _core.Detector(self._plan, *self._sides, min_score)
        if self._labels is not None:
            with labels_file(self._labels) as path:
                core.read_labels(path)
        return core

    @property
    def has_masks(self) -> bool:
        return self._core.kind()[0]

    @property
    def labels_are_ids(self) -> bool:
        """Labels are category numbers of the data set (models in torchvision's form), not classes from 0."""
        return self._core.kind()[1]

    def label(self, number: int) -> "str | None":
        """Name of a class; None: unknown."""
        return self._core.label(number)

    def __call__(self, images: Any, *, score_threshold: "float | None" = None) -> Any:
        """Looks at a picture (gives :class:`Detections`), or at a list of them or an array [N, H, W, 3] (gives a list). images: see :func:`load_image`."""
        if is_many(images):
            return [self.detect(i, score_threshold=score_threshold) for i in images]
        return self.detect(images, score_threshold=score_threshold)

    def detect(self, image: Any, *, score_threshold: "float | None" = None) -> Detections:
        """One picture. ModelError: it is too long and narrow, or larger than the plan takes."""
        array = load_image(image)
        least = self.score_threshold if score_threshold is None else float(score_threshold)
        with self._lock:
            if least < self.score_threshold and self._all is None:
                self._all = self._make(0.0)
            core = self._core if least >= self.score_threshold or self._all is None else self._all
            found, prepare, run, results = core.run(array)
        out = Detections(*found, array.shape[1], array.shape[0], image, (prepare, run, results))
        return out if least == self.score_threshold else out.above(least)

    def preprocess(self, image: Any) -> "tuple[np.ndarray, tuple[float, float]]":
        """The model's input for a picture, float32 [3, height, width], and its width and height over the picture's."""
        with self._lock:
            return self._core.preprocess(load_image(image))

    def evaluate(self, images: "Sequence[Any]", annotations: Any, *, image_ids: "Sequence[int] | None" = None,
                 save_results: "str | os.PathLike[str] | None" = None) -> CocoScores:
        """COCO's scores over pictures, with every detection whatever its score.

        Args:
            images: paths whose names are those of the annotations; or any pictures, with image_ids.
            annotations: COCO's annotation file: a path, its bytes, or the object that it holds.
            image_ids: [images] the id of each.
            save_results: also write COCO's results file there.

        Raises:
            ModelError: a picture has no annotations; none of the class names is a category's.
        """
        data, name = read_bytes(annotations, "annotations")
        try:
            truth = json.loads(data)
            rows, categories = list(truth["images"]), list(truth["categories"])
            by_name = {c["name"]: int(c["id"]) for c in categories}
            ordered = sorted(int(c["id"]) for c in categories)
            ids = [_image_id(i, rows, name) for i in images] if image_ids is None else [int(i) for i in image_ids]
        except (ValueError, KeyError, TypeError) as e:
            if isinstance(e, errors.Error):
                raise
            raise errors.fail("parse", f"'{name}' is no COCO annotation file: {e}", file=name, field="annotations") from e
        if len(ids) != len(images) or not ids or len(set(ids)) != len(ids):
            raise errors.fail("argument", f"there are {len(images)} pictures and {len(set(ids))} ids of images; one each, and one at least", field="image_ids")
        results: "list[dict[str, Any]]" = []
        unknown: "set[str]" = set()
        left = known = 0
        for image, number in zip(images, ids):
            found = self.detect(image, score_threshold=0)
            chosen = [self._category(int(c), n, by_name, ordered) for c, n in zip(found.labels, found.names)]
            left += chosen.count(None)
            known += len(chosen) - chosen.count(None)
            unknown |= {str(n) for n, c in zip(found.names, chosen) if c is None}
            results += found.to_coco(number, chosen)
        if left and not known:
            raise errors.fail("data", f"none of the classes found ({', '.join(sorted(unknown)[:5])}) is a category of '{name}'; give the right names with labels",
                              file=name, field="labels")
        if save_results is not None:
            with open(save_results, "w") as f:
                f.write(as_json(results))
        scores = coco_scores(data, results, ids)
        scores.left_out += left
        return scores

    def _category(self, label: int, name: "str | None", by_name: "dict[str, int]", ordered: "list[int]") -> "int | None":
        """The annotations' category of a class: by number where labels are such, by name where there are names, else by order."""
        if self.labels_are_ids:
            return label if label in ordered else None
        if name is None:
            return ordered[label] if label < len(ordered) else None
        return by_name.get(name)


def _image_id(image: Any, rows: "list[dict[str, Any]]", annotations: str) -> int:
    path = name_of(image)
    if path is None:
        raise errors.fail("argument", "pictures that are not paths need image_ids", field="image_ids")
    for row in rows:
        file = row.get("file_name", "")
        if file and (path == file or path.endswith("/" + file)):
            return int(row["id"])
    raise errors.fail("data", f"'{path}' is no image of '{annotations}'", file=path, field="images")
