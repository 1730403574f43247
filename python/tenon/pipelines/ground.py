# SPDX-License-Identifier: Apache-2.0
"""Phrases to regions of pictures, as `tenon ground`.

    from tenon.pipelines import Features, Grounder
    features = Features("refcoco.lmdb")              # regions of an object detector: .npz, .npy, a folder of them, an LMDB, a .tsv
    grounder = Grounder("vilbert.bin", config="bert_base_6layer_6conect.json", vocabulary="vocab.txt")
    for answer in grounder(["man in red shirt", "the left woman"], features["4242"]):
        print(answer.phrase, answer.box, answer.score)
"""
from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from .. import _core, _options, errors
from ._common import as_json, check_batch, load_image, page

_NAMES = {"features": ("features", "x"), "boxes": ("boxes", "bbox"), "width": ("image_w", "image_width", "width"), "height": ("image_h", "image_height", "height"),
          "count": ("num_boxes", "num_bbox")}


class Regions:
    """Regions of a picture.

    Args:
        features: float32 [n, width]: what an object detector says about each.
        boxes: float32 [n, 4]: x0, y0, x1, y1 in pixels of the picture.
        width, height: of the picture, pixels.
        clip: boxes that leave the picture are cut at its edge; otherwise more than a pixel is an error.
        name: for messages.

    Raises:
        ModelError: a feature or box is no number, a box is inverted or leaves the picture: which region. ShapeError, DtypeError.
    """

    def __init__(self, features: Any, boxes: Any, width: float, height: float, *, clip: bool = False, name: str = "picture") -> None:
        self.features = np.ascontiguousarray(_float32(features, "features"))
        self.boxes = np.array(_float32(boxes, "boxes"), order="C")
        self.width, self.height, self.name = float(width), float(height), str(name)
        _core.regions_check(self.features, self.boxes, self.width, self.height, clip, self.name)

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        return f"Regions({self.name!r}: {len(self)} of {self.width:g} x {self.height:g} pixels, features of {self.features.shape[1]})"

    def box(self, row: int) -> np.ndarray:
        """float32 [4] of a row of an answer: 0 is the whole picture, 1 the first region."""
        if not 0 <= row <= len(self):
            raise errors.fail("argument", f"row is {row}; 0 to {len(self)} are possible", field="row")
        return np.float32([0, 0, self.width, self.height]) if row == 0 else self.boxes[row - 1]

    @classmethod
    def load(cls, source: Any, *, clip: bool = False) -> "Regions":
        """From what holds one picture's regions: a path or the bytes of an .npz or .npy; or a mapping with features (or x), boxes (or bbox), num_boxes (may be
        missing), image_w and image_h (or image_width, image_height). docs/usage.md says what the files hold."""
        if isinstance(source, Regions):
            return source
        if isinstance(source, (str, os.PathLike)):
            path = os.fspath(source)
            return cls(*_core.regions(path), clip=clip, name=os.path.splitext(os.path.basename(path))[0])
        if isinstance(source, (bytes, bytearray, memoryview)):
            return cls(*_core.regions(source), clip=clip)
        if not hasattr(source, "keys"):
            raise errors.fail("type", f"regions are a path, bytes, a mapping or Regions, not {type(source).__name__}", field="regions")
        found = {want: next((source[n] for n in names if n in source), None) for want, names in _NAMES.items()}
        for want in ("features", "boxes", "width", "height"):
            if found[want] is None:
                raise errors.fail("data", f"the regions have no '{_NAMES[want][0]}'", field=_NAMES[want][0])
        features, boxes = _float32(found["features"], "features"), _float32(found["boxes"], "boxes")
        n = len(boxes) if found["count"] is None else int(found["count"])
        if not 0 < n <= min(len(boxes), len(features)):
            raise errors.fail("data", f"num_boxes is {n}; there are {len(boxes)} boxes and {len(features)} features", field="num_boxes")
        return cls(features[:n], boxes[:n], float(found["width"]), float(found["height"]), clip=clip)


def _float32(value: Any, name: str) -> np.ndarray:
    a = np.asarray(value)
    if a.dtype.kind not in "fiu" or a.ndim != 2:
        raise errors.fail("type" if a.dtype.kind not in "fiu" else "shape", f"'{name}' is {a.dtype}{list(a.shape)}; it must be numbers of rank 2", field=name)
    return a.astype(np.float32, copy=False)


class Features:
    """Regions of many pictures by id: a folder of ID.npz and ID.npy, an LMDB (data.mdb or its folder), a .tsv, or one file (whose id is its name).

        features = Features("refcoco.lmdb")
        features["4242"]                        # Regions
    """

    def __init__(self, path: "str | os.PathLike[str]", *, clip: bool = False) -> None:
        self._core = _core.Features(os.fspath(path))
        self._lock = threading.Lock()
        self.path, self.clip = os.fspath(path), clip

    @property
    def only(self) -> "str | None":
        """The id when there is one picture only."""
        return self._core.only()

    def __getitem__(self, image_id: "str | int") -> Regions:
        """ModelError: there is no such picture, or its regions are damaged."""
        with self._lock:
            found = self._core.get(str(image_id))
        return Regions(*found, clip=self.clip, name=str(image_id))


@dataclass
class Region:
    """A row of an answer.

    Attributes:
        region: 0 is the whole picture, 1 the first region.
        box: float32 [4]: x0, y0, x1, y1, pixels.
        logit: what the model says; score: its sigmoid; share: softmax over all rows.
    """

    region: int
    box: np.ndarray
    logit: float
    score: float
    share: float


@dataclass
class Grounding:
    """The answer to one phrase. region, box, logit, score and share are those of the chosen row.

    Attributes:
        phrase: what was asked.
        regions: of the picture.
        logits: float32 [rows]: the whole picture, then the regions.
        region: row of the largest logit, the first of equal ones.
        pieces: WordPiece tokens of the phrase; pieces_cut, regions_cut: what did not fit into the model.
        iou: of the chosen box with the true one; None when that was not given.
        loss: binary cross-entropy, summed over rows; None likewise.
    """

    phrase: str
    regions: Regions = field(repr=False)
    logits: np.ndarray = field(repr=False)
    region: int
    pieces: int = field(repr=False)
    pieces_cut: int = field(repr=False)
    regions_cut: int = field(repr=False)
    iou: "float | None" = field(repr=False, default=None)
    loss: "float | None" = field(repr=False, default=None)

    @property
    def scores(self) -> np.ndarray:
        """float64 [rows]: sigmoid of the logits."""
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-self.logits.astype(np.float64)))

    @property
    def shares(self) -> np.ndarray:
        """float64 [rows]: softmax of the logits."""
        z = self.logits.astype(np.float64)
        e = np.exp(z - z.max())
        return e / e.sum()

    @property
    def box(self) -> np.ndarray:
        """float32 [4]: x0, y0, x1, y1, pixels."""
        return self.regions.box(self.region)

    @property
    def score(self) -> float:
        return float(self.scores[self.region])

    @property
    def share(self) -> float:
        return float(self.shares[self.region])

    def top(self, k: int = 5) -> "list[Region]":
        """The k rows of the largest logits, best first."""
        scores, shares = self.scores, self.shares
        return [Region(int(i), self.regions.box(int(i)), float(self.logits[i]), float(scores[i]), float(shares[i]))
                for i in np.argsort(-self.logits, kind="stable")[:max(k, 0)]]

    def draw(self, image: Any) -> np.ndarray:
        """The picture with the chosen box and the phrase: uint8 [height, width, 3]. See :func:`draw_groundings` for several phrases."""
        return draw_groundings(image, [self])

    def to_html(self, image: Any, path: "str | os.PathLike[str] | None" = None, *, top: int = 5) -> "str | None":
        """One page with everything inside: into path, or, without one, as text. See :func:`groundings_page` for several phrases."""
        return groundings_page(image, [self], path, top=top)

    def to_dict(self, top: int = 1) -> "dict[str, Any]":
        """What `tenon ground --json` prints of a phrase."""
        rows = [{"region": r.region, "box": r.box.tolist(), "logit": r.logit, "score": r.score, "share": r.share} for r in self.top(max(top, 1))]
        return {**rows[0], "image": self.regions.name, "phrase": self.phrase, "regions": len(self.logits) - 1, "pieces": self.pieces,
                "pieces_cut": self.pieces_cut, "regions_cut": self.regions_cut, **({} if self.iou is None else {"iou": self.iou}), "top": rows[:top]}

    def to_json(self, top: int = 1) -> str:
        return as_json(self.to_dict(top))

    def _row(self) -> "tuple[Any, ...]":
        return (self.phrase, self.regions.boxes, self.regions.width, self.regions.height, self.logits, self.region)


def draw_groundings(image: Any, answers: "Sequence[Grounding]") -> np.ndarray:
    """A picture with the chosen box of every phrase and its text: uint8 [height, width, 3]. The answers are about this picture."""
    return _core.ground_draw(load_image(image), [a._row() for a in answers])


def groundings_page(image: Any, answers: "Sequence[Grounding]", path: "str | os.PathLike[str] | None" = None, *, top: int = 5,
                    title: "str | None" = None) -> "str | None":
    """One HTML page with the answers about a picture: into path, or, without one, as text. top: rows shown of each phrase, 1 to 32."""
    if not answers:
        raise errors.fail("argument", "there are no answers to show", field="answers")
    array, rows, heading = load_image(image), [a._row() for a in answers], answers[0].regions.name if title is None else title
    return page(lambda file: _core.ground_html(array, rows, top, heading, file), path)


@dataclass
class Phrase:
    """A phrase about a picture.

    Attributes:
        text: the phrase; image: the picture's id.
        box: the true box x0, y0, x1, y1, pixels; None: unknown.
    """

    text: str
    image: str
    box: "tuple[float, float, float, float] | None" = None


def load_phrases(path: "str | os.PathLike[str]", split: "str | None" = None) -> "list[Phrase]":
    """Phrases from a JSON list of {"phrase", "image", "box" or "bbox"}, or REFER's refs(NAME).p with instances.json beside it.

    split: of refs(NAME).p: "val", "testA", ...; None: all. ModelError: which item is wrong. FileError.
    """
    return [Phrase(*row) for row in _core.phrases(os.fspath(path), split)]


@dataclass
class GroundingScores:
    """How many phrases found their box.

    Attributes:
        phrases: how many there were; right: those whose chosen box has an intersection over union above 0.5 with the true one.
        loss: the authors' binary cross-entropy: sum over rows, mean over phrases.
        phrases_cut, regions_cut: those that did not fit into the model.
    """

    phrases: int
    right: int
    loss: float
    phrases_cut: int = 0
    regions_cut: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / self.phrases if self.phrases else 0.0


class Grounder:
    """Finds the regions that phrases mean. Safe from several threads, which take turns.

    Args:
        model: a ViLBERT checkpoint (folder, or file of weights with config=), an .onnx file, or a plan, with the output vision_logit.
        vocabulary: vocab.txt or tokenizer.json, or their folder; None: the model's.
        tokens: of a phrase, [CLS] and [SEP] included; 0: 20, or what the plan fixes.
        regions: of a picture, the whole picture included; 0: 101 (beta: 100), or what the plan fixes.
        task: for models with task tokens (10 is RefCOCO+, 9 RefCOCO, 11 RefCOCOg).
        beta: cut as vilbert_beta does: long phrases lose their [SEP].
        threads: 0: one a core.
        batch: phrases run at once.
        options: of :func:`tenon.build` (device, precision, config, head, ...), and cache and progress, as in InferenceSession.

    Raises:
        RequestError: the model is no grounding model (which input or output), there is no vocabulary, tokens or regions are beyond its range. ModelError, FileError.

    Warns:
        tenon.Warning: a phrase or a list of regions is cut because it is too long.
    """

    def __init__(self, model: Any, *, vocabulary: "str | os.PathLike[str] | None" = None, tokens: int = 0, regions: int = 0, task: int = 10, beta: bool = False,
                 threads: int = 0, batch: int = 8, cache: Any = None, progress: Any = None, **options: Any) -> None:
        self.batch = check_batch(batch)
        self._plan = _options.open_source(model, options, progress=progress, cache=cache)
        self._core = _core.Ground(self._plan, vocabulary, threads, batch, tokens, regions, task, beta)
        self._lock = threading.Lock()
        self.tokens, self.regions, self.width = self._core.sizes()

    def __call__(self, phrases: "str | Sequence[str]", regions: Any) -> Any:
        """Answers a phrase (gives a :class:`Grounding`) or a list of them (gives a list).

        regions: of the picture (see :meth:`Regions.load`); for a list of phrases also a list of as many, one a phrase.
        """
        if isinstance(phrases, str):
            return self.answer([phrases], [regions])[0]
        if isinstance(regions, (list, tuple)):
            return self.answer(phrases, regions)
        one = Regions.load(regions)
        return self.answer(phrases, [one] * len(phrases))

    def answer(self, phrases: "Sequence[str]", regions: "Sequence[Any]", truths: "Sequence[Any] | None" = None) -> "list[Grounding]":
        """Every phrase about its regions. truths: true boxes (x0, y0, x1, y1), None among them: unknown; for iou and loss.

        ModelError: a phrase is empty, or features are of another width (which one)."""
        if len(regions) != len(phrases) or (truths is not None and len(truths) != len(phrases)):
            raise errors.fail("argument", f"{len(phrases)} phrases need as many regions and true boxes; there are {len(regions)}" +
                              ("" if truths is None else f" and {len(truths)}"), field="regions")
        out: "list[Grounding]" = []
        for at in range(0, len(phrases), 512):
            held = [Regions.load(r) for r in regions[at:at + 512]]
            part = [str(p) for p in phrases[at:at + 512]]
            boxes = [None] * len(part) if truths is None else [None if t is None else tuple(float(v) for v in t) for t in truths[at:at + 512]]
            rows = [(p, r.features, r.boxes, r.width, r.height, t) for p, r, t in zip(part, held, boxes)]
            with self._lock:
                answers, _, _ = self._core.run(rows)
            out += [Grounding(p, r, *a) for p, r, a in zip(part, held, answers)]
        for a in out:
            if a.pieces_cut:
                warnings.warn(f"phrase '{a.phrase[:60]}' is cut to its first tokens: {a.pieces_cut} do not fit", errors.Warning, stacklevel=3)
            if a.regions_cut:
                warnings.warn(f"{a.regions_cut} regions of '{a.regions.name}' do not fit and are left out", errors.Warning, stacklevel=3)
        return out

    def evaluate(self, phrases: "Sequence[Phrase] | str | os.PathLike[str]", features: "Features | Mapping[Any, Any] | str | os.PathLike[str]", *,
                 split: "str | None" = None) -> GroundingScores:
        """Accuracy at an intersection over union of 0.5, and the loss, as the authors evaluate.

        phrases: with boxes, a list or a file for :func:`load_phrases`; features: regions by the pictures' ids, or a path for :class:`Features`.
        ModelError: a phrase has no box, a picture no regions.
        """
        items = load_phrases(phrases, split) if isinstance(phrases, (str, os.PathLike)) else list(phrases)
        held = Features(features) if isinstance(features, (str, os.PathLike)) else features
        total = GroundingScores(0, 0, 0.0)
        for i, item in enumerate(items):
            if item.box is None:
                raise errors.fail("data", f"phrase {i} ('{item.text[:60]}') has no box to compare with", field="phrases")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.Warning)  # counted instead
            for answer in self._answers(items, held):
                total.phrases += 1
                total.right += answer.iou is not None and answer.iou > 0.5
                total.loss += answer.loss or 0.0
                total.phrases_cut += answer.pieces_cut > 0
                total.regions_cut += answer.regions_cut > 0
        total.loss /= max(total.phrases, 1)
        return total

    def _answers(self, items: "Sequence[Phrase]", features: Any) -> "Iterator[Grounding]":
        for at in range(0, len(items), self.batch):
            part = items[at:at + self.batch]
            by_id = {p.image: Regions.load(features[p.image]) for p in part}
            yield from self.answer([p.text for p in part], [by_id[p.image] for p in part], [p.box for p in part])

    def inputs(self, phrase: str, regions: Any) -> "dict[str, np.ndarray]":
        """The model's input for a phrase, as the authors' loader pads it: input_ids, attention_mask int64 [tokens], features float32 [regions, width],
        spatials float32 [regions, 5], image_attention_mask int64 [regions]; row 0 is the whole picture."""
        r = Regions.load(regions)
        with self._lock:
            a = self._core.inputs((str(phrase), r.features, r.boxes, r.width, r.height, None))
        return dict(zip(("input_ids", "attention_mask", "features", "spatials", "image_attention_mask"), a))
