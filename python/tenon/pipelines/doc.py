# SPDX-License-Identifier: Apache-2.0
"""Forms to entities, as `tenon doc`: a page's picture and its words with boxes -> headers, questions, answers, and which answer belongs to which question.

    from tenon.pipelines import DocReader
    reader = DocReader("layoutlmv3-forms")           # a checkpoint with a token classification head, or a plan
    form = reader("page.png", "page.tsv")            # words: FUNSD's JSON, Tesseract's TSV, hOCR, or a list
    for question, answers in form.pairs():
        print(question.text, "->", [a.text for a in answers])
    form.to_html("page.html")
"""
from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from typing import Any, Iterable, Sequence

import numpy as np

from .. import _core, _options, errors
from ._common import as_json, check_batch, load_image, name_of, page, title_of


_ALONE = 1 << 31  # segments of words that have none: beyond those that are given


@dataclass
class Word:
    """A word of a page.

    Attributes:
        text: not blank.
        box: x0, y0, x1, y1 in pixels of the picture; x1 >= x0, y1 >= y0.
        segment: words of one segment (a line, an item of a form) share a number and stand side by side; -1: a segment of its own.
        label: the truth as "O", "B-ANSWER", ...; None: unknown.
    """

    text: str
    box: "tuple[int, int, int, int]"
    segment: int = -1
    label: "str | None" = None


@dataclass
class Entity:
    """What a run of words is.

    Attributes:
        label: "header", "question", "answer", ..., lower case; "other": words outside entities, a segment each.
        text: its words joined by spaces.
        score: mean probability of its words' labels.
        box: x0, y0, x1, y1 around its words, pixels.
        words: their places among the page's words.
        order: place in reading order.
        question: of an answer: the entity it belongs to (its place in Form.entities), or None.
    """

    label: str
    text: str
    score: float
    box: "tuple[int, int, int, int]"
    words: range = field(repr=False)
    order: int = field(repr=False)
    question: "int | None" = None


@dataclass
class Form:
    """One page's entities.

    Attributes:
        entities: in order of their first word.
        words: the page's words, blank ones left out.
        blank_words: how many were left out.
        labels: [words] label of each: "O", "B-ANSWER", ...
        scores: float32 [words] their probabilities.
        windows, tokens: how many the page took.
        source: the picture, as it was given.
        milliseconds: (preparation, model).
    """

    entities: "list[Entity]"
    words: "list[Word]" = field(repr=False)
    blank_words: int = field(repr=False)
    labels: "list[str]" = field(repr=False)
    scores: np.ndarray = field(repr=False)
    windows: int
    tokens: int
    source: Any = field(repr=False, default=None)
    milliseconds: "tuple[float, float]" = field(repr=False, default=(0.0, 0.0))

    def in_order(self) -> "list[Entity]":
        """The entities in reading order: lines from top to bottom, left to right."""
        return sorted(self.entities, key=lambda e: e.order)

    def pairs(self) -> "list[tuple[Entity, list[Entity]]]":
        """Every question with its answers, in reading order."""
        ordered = self.in_order()
        return [(q, [a for a in ordered if a.question is not None and self.entities[a.question] is q]) for q in ordered if q.label == "question"]

    def _rows(self) -> "list[tuple[Any, ...]]":
        return [(e.label, e.text, e.score, tuple(e.box), e.words.start, len(e.words), e.order, e.question) for e in self.entities]

    def draw(self, image: Any = None) -> np.ndarray:
        """The picture with boxes and links drawn over it: uint8 [height, width, 3]. image: another one; None: what was given."""
        return _core.doc_draw(load_image(self.source if image is None else image), self._rows())

    def to_html(self, path: "str | os.PathLike[str] | None" = None, image: Any = None) -> "str | None":
        """One page with everything inside: into path, or, without one, as text."""
        array, title = load_image(self.source if image is None else image), title_of(self.source)
        return page(lambda file: _core.doc_html(array, self._rows(), title, file, self.windows, self.tokens, *self.milliseconds), path)

    def to_dict(self) -> "dict[str, Any]":
        """What `tenon doc --json` prints of a page."""
        items = []
        for i, e in enumerate(self.entities):
            item: "dict[str, Any]" = {"id": i, "label": e.label, "text": e.text, "score": e.score, "box": list(e.box), "order": e.order}
            if e.question is not None:
                item["question"] = e.question
            item["words"] = [{"text": self.words[k].text, "box": list(self.words[k].box)} for k in e.words]
            items.append(item)
        name = name_of(self.source)
        return {**({} if name is None else {"file": name}), "entities": items, "words": len(self.words), "blank_words": self.blank_words,
                "tokens": self.tokens, "windows": self.windows, "preprocess_milliseconds": self.milliseconds[0], "run_milliseconds": self.milliseconds[1]}

    def to_json(self) -> str:
        return as_json(self.to_dict())


@dataclass
class TypeScore:
    """How one type of entities was found: counts, and precision, recall and F1 of them (0 / 0 is 0)."""

    right: int = 0
    predicted: int = 0
    expected: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return self.right / self.expected if self.expected else 0.0

    @property
    def f1(self) -> float:
        total = self.predicted + self.expected
        return 2 * self.right / total if total else 0.0


@dataclass
class EntityScores:
    """Entities counted as seqeval counts them.

    Attributes:
        types: {"ANSWER": TypeScore, ...}.
        pages: how many were read.
    """

    types: "dict[str, TypeScore]"
    pages: int = 0

    @property
    def all(self) -> TypeScore:
        """Of all types together (micro average)."""
        rows = self.types.values()
        return TypeScore(sum(t.right for t in rows), sum(t.predicted for t in rows), sum(t.expected for t in rows))

    @property
    def precision(self) -> float:
        return self.all.precision

    @property
    def recall(self) -> float:
        return self.all.recall

    @property
    def f1(self) -> float:
        return self.all.f1

    def _add(self, counts: "Iterable[tuple[str, int, int, int]]") -> None:
        for name, right, predicted, expected in counts:
            t = self.types.setdefault(name, TypeScore())
            t.right += right
            t.predicted += predicted
            t.expected += expected


def entity_scores(expected: "Sequence[Sequence[str]]", predicted: "Sequence[Sequence[str]]") -> EntityScores:
    """Counts the entities of sequences of tags ("O", "B-X", "I-X", ...): a chunk starts at B, or at I after another type or O; equal are chunks of equal
    type, start and end. ShapeError: sequences of different length."""
    if len(expected) != len(predicted):
        raise errors.fail("shape", f"{len(expected)} sequences are expected, {len(predicted)} predicted")
    out = EntityScores({})
    out._add(_core.entity_counts([(list(e), list(p)) for e, p in zip(expected, predicted)]))
    return out


def load_words(words: Any) -> "tuple[list[Word], int]":
    """A page's words, and how many were left out because they are blank.

    words: FUNSD's annotation JSON, Tesseract's TSV or hOCR (a path, or bytes; told by content); FUNSD's object; or a list of :class:`Word` or
    (text, (x0, y0, x1, y1)). ModelError: which item, row or byte is wrong. FileError.
    """
    if isinstance(words, (str, os.PathLike)):
        source: Any = os.fspath(words)
    elif isinstance(words, dict):
        source = json.dumps(words).encode()
    elif isinstance(words, (bytes, bytearray, memoryview)):
        source = words
    else:
        source = _word_rows([w if isinstance(w, Word) else Word(*w) for w in words])
    rows, blank = _core.doc_words(source)
    return [Word(text, box, -1 if segment >= _ALONE else segment, label) for text, box, segment, label in rows], blank


def _word_rows(words: "Iterable[Word]") -> "list[tuple[Any, ...]]":
    rows: "list[tuple[Any, ...]]" = []
    for i, w in enumerate(words):
        if len(w.box) != 4:
            raise errors.fail("shape", f"word {i}: a box is x0, y0, x1, y1; {len(w.box)} numbers are given", field="words")
        if not -1 <= w.segment < _ALONE:
            raise errors.fail("argument", f"word {i}: segment is {w.segment}; -1 to {_ALONE - 1} is possible", field="words")
        rows.append((w.text, tuple(int(v) for v in w.box), _ALONE + i if w.segment < 0 else w.segment, w.label))
    return rows


class DocReader:
    """Finds headers, questions and answers on forms. Safe from several threads, which take turns.

    Args:
        model: a LayoutLMv3 checkpoint folder with a token classification head, or a plan of one.
        overlap: tokens that two windows of a long page share; less than half a window. 0: none, as the authors evaluate.
        word_boxes: every word its own box, not its segment's.
        clip: boxes that leave the picture are cut at its edge instead of being an error.
        tokenizer: folder of tokenizer.json, or vocab.json and merges.txt; None: the model's.
        threads: 0: one a core.
        batch: windows run at once, and pages of a list read together; 0: 4.
        options: of :func:`tenon.build` (device, precision, shapes, ...), and cache and progress, as in InferenceSession.

    Raises:
        RequestError: the model is no token classifier, or carries no tokenizer. ArgumentError: overlap. ModelError, FileError.
    """

    def __init__(self, model: Any, *, overlap: int = 128, word_boxes: bool = False, clip: bool = False, tokenizer: "str | os.PathLike[str] | None" = None,
                 threads: int = 0, batch: int = 0, cache: Any = None, progress: Any = None, **options: Any) -> None:
        self._plan = _options.open_source(model, options, progress=progress, cache=cache)
        self.batch = check_batch(batch or 4)
        self._core = _core.Doc(self._plan, tokenizer, threads, self.batch, overlap, word_boxes, clip)
        self._lock = threading.Lock()
        self.labels: "list[str]" = self._core.labels()
        self.sequence, *size = self._core.sizes()
        self.size: "tuple[int, int]" = (size[0], size[1])

    def __call__(self, images: Any, words: Any) -> Any:
        """Reads a page (gives a :class:`Form`), or a list of pictures with a list of as many pages' words (gives a list): `batch` pages together, made ready
        side by side.

        images: see :func:`load_image`; words: see :func:`load_words`.
        """
        if not isinstance(images, (list, tuple)):
            return self.read(images, words)
        if not isinstance(words, (list, tuple)) or len(words) != len(images):
            raise errors.fail("argument", f"{len(images)} pictures need a list of as many pages' words", field="words")
        out: "list[Form]" = []
        for at in range(0, len(images), max(self.batch, 1)):
            part = images[at:at + self.batch]
            loaded = [load_words(w) for w in words[at:at + self.batch]]
            with self._lock:
                answers = self._core.read_many([load_image(i) for i in part], [_word_rows(w) for w, _ in loaded])
            out += [self._form(image, w, blank, answer) for image, (w, blank), answer in zip(part, loaded, answers)]
        return out

    def read(self, image: Any, words: Any) -> Form:
        """One page. ModelError: there are no words; a box is inverted or leaves the picture (which word)."""
        return self._read(image, words, False)[0]

    def _read(self, image: Any, words: Any, score: bool) -> "tuple[Form, list[tuple[str, int, int, int]]]":
        array = load_image(image)
        page_words, blank = load_words(words)
        with self._lock:
            answer = self._core.read(array, _word_rows(page_words), score)
        return self._form(image, page_words, blank, answer), answer[7] or []

    def _form(self, image: Any, page_words: "list[Word]", blank: int, answer: "tuple[Any, ...]") -> Form:
        """What the core answers, with names."""
        rows, ids, scores, windows, tokens, prepare, run, _ = answer
        entities = [Entity(label, text, score, box, range(first, first + n), order, question) for label, text, score, box, first, n, order, question in rows]
        labels = [self.labels[i] for i in ids]
        return Form(entities, page_words, blank, labels, scores, windows, tokens, image, (prepare, run))

    def evaluate(self, images: "Sequence[Any]", words: "Sequence[Any]") -> EntityScores:
        """Entity precision, recall and F1 over pages whose words have labels (FUNSD's JSON does): each page as a whole, or, with overlap 0, window by window
        as the authors' evaluation does. ModelError: a word has no label."""
        if len(images) != len(words) or len(images) == 0:
            raise errors.fail("argument", f"there are {len(images)} pictures and {len(words)} pages' words; one each, and one at least", field="words")
        out = EntityScores({}, len(images))
        for image, page_words in zip(images, words):
            out._add(self._read(image, page_words, True)[1])
        return out

    def inputs(self, image: Any, words: Any, window: int = 0) -> "dict[str, np.ndarray]":
        """The model's input for one window of a page: input_ids and attention_mask int64 [S], bbox int64 [S, 4] (0 to 1000), pixel_values float32 [3, H, W].
        ArgumentError: the page has no such window."""
        with self._lock:
            ids, mask, boxes, planes, _ = self._core.window(load_image(image), _word_rows(load_words(words)[0]), window)
        return {"input_ids": ids, "attention_mask": mask, "bbox": boxes, "pixel_values": planes}
