# SPDX-License-Identifier: Apache-2.0
"""The tasks with Tenon's Python classes. A side is a callable over items (made.py) that returns plain answers and leaves the split of its time in `times`:
milliseconds of preparation (reading files included), of the model, and of the rest."""
import time
from concurrent.futures import ThreadPoolExecutor


def now():
    return time.perf_counter() * 1e3


class Spy:
    """Stands before an object of tenon._core and adds up the times that one of its methods returns."""

    def __init__(self, core, method, at):
        self.core, self.method, self.at, self.spent = core, method, at, [0.0, 0.0]

    def __getattr__(self, name):
        value = getattr(self.core, name)
        if name != self.method:
            return value

        def call(*args, **kwargs):
            out = value(*args, **kwargs)
            self.spent = [a + b for a, b in zip(self.spent, out[self.at:self.at + 2])]
            return out

        return call


class Side:
    """What the tasks share."""

    def __init__(self, options):
        from tenon import pipelines

        self.pipelines, self.times = pipelines, (0.0, 0.0, 0.0)
        self.pool = ThreadPoolExecutor(max(1, options.threads))
        self.threads = options.threads

    def pictures(self, files):
        """Decoded, on all threads as many as there are."""
        return [self.pipelines.load_image(files[0])] if len(files) == 1 else list(self.pool.map(self.pipelines.load_image, files))

    def __call__(self, items):
        self.spy.spent, start = [0.0, 0.0], now()
        given = self.read(items)
        read = now() - start
        out = self.answer(given)
        total = now() - start
        prepare, run = self.spy.spent
        self.times = (read + prepare, run, total - read - prepare - run)
        return out


class Doc(Side):
    """Labels of the words of pages."""

    def __init__(self, plan, batch, options):
        super().__init__(options)
        self.reader = self.pipelines.DocReader(plan, threads=options.threads, batch=batch)
        self.spy = self.reader._core = Spy(self.reader._core, "read", 5)

    def read(self, items):
        return self.pictures([i[0] for i in items]), [self.pipelines.load_words(i[1])[0] for i in items]

    def answer(self, given):
        return [form.labels for form in self.reader(*given)]


class Ocr(Side):
    """Texts of lines."""

    def __init__(self, plan, batch, options):
        super().__init__(options)
        self.reader = self.pipelines.TextReader(plan, threads=options.threads, batch=batch)
        self.spy = self.reader._ocr = Spy(self.reader._ocr, "read", 1)
        self.length = options.tokens + 1

    def read(self, items):
        return self.pictures(items)

    def answer(self, given):
        return [line.read for line in self.reader.read(given, max_length=self.length, num_beams=1)]


class Classify(Side):
    """Best class of pictures."""

    def __init__(self, plan, batch, options):
        super().__init__(options)
        self.classifier = self.pipelines.Classifier(plan, threads=options.threads, batch=batch)
        self.spy = self.classifier._core = Spy(self.classifier._core, "run", 1)

    def read(self, items):
        return self.pictures(items)

    def answer(self, given):
        return [[c.index for c in result.classes] for result in self.classifier.classify(given)]


class Detect(Side):
    """Classes, boxes and masks of objects."""

    def __init__(self, plan, batch, options):
        super().__init__(options)
        self.detector = self.pipelines.Detector(plan, threads=options.threads, score_threshold=0.3)
        self.spy = self.detector._core = Spy(self.detector._core, "run", 1)

    def read(self, items):
        return self.pictures(items)

    def answer(self, given):
        return [(found.labels.tolist(), found.boxes) for found in self.detector(given)]


class Ground(Side):
    """Region of phrases."""

    def __init__(self, plan, batch, options):
        super().__init__(options)
        self.grounder = self.pipelines.Grounder(plan, threads=options.threads, batch=batch)
        self.spy = self.grounder._core = Spy(self.grounder._core, "run", 1)

    def read(self, items):
        load = self.pipelines.Regions.load
        return [i[0] for i in items], list(self.pool.map(load, [i[1] for i in items])) if len(items) > 1 else [load(items[0][1])]

    def answer(self, given):
        return [answer.region for answer in self.grounder.answer(*given)]


SIDES = dict(doc=Doc, ocr=Ocr, classify=Classify, detect=Detect, ground=Ground)
