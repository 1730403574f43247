#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Step 2: the page renderer: filled-in forms as a grey scan, with their words, boxes and labels.

    render.py --data DIR --out FOLDER --n 20     PNG and JSON of FUNSD's layout, and an overlay, to look at
    render.py --data DIR --bench SECONDS         pages a second of one process

A page is a column of blocks (letterhead, rows of fields, tables, check boxes, questions, paragraphs, signatures), each
placed with random fonts, rules and gaps; then rotation by a degree at most, blur, noise, specks and shadows.  An item is
what FUNSD calls one: a label (header, question, answer, other) and its words.  Needs Pillow and numpy, no real picture.
"""
import argparse
import json
import os
import random
import time

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import words

LABELS = ["O", "B-HEADER", "I-HEADER", "B-QUESTION", "I-QUESTION", "B-ANSWER", "I-ANSWER"]


class Fonts:
    """The faces under DIR/fonts; a size is loaded when first used."""

    def __init__(self, folder, heldout=False):
        path = os.path.join(folder, "fonts", "fonts.json")
        if not os.path.exists(path):
            raise SystemExit(f"{path} does not exist: make it with prepare.py")
        self.folder, self.cache = os.path.join(folder, "fonts"), {}
        self.faces = {}
        for f in json.load(open(path)):
            use, _, held = f["use"].partition("-")
            if (held == "heldout") == heldout:
                self.faces.setdefault(use, []).append(f)

    def pick(self, g, use):
        faces = self.faces[use]
        return g.choices(faces, [f["weight"] for f in faces])[0]

    def get(self, face, size):
        key = face["file"], size
        if key not in self.cache:
            path = os.path.join(self.folder, face["file"])
            self.cache[key] = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC), set(face["chars"])
        return self.cache[key]


class Page:
    def __init__(self, fonts, content, g):
        self.g, self.c, self.fonts = g, content, fonts
        self.w, self.h = g.choice([(754, 1000), (754, 1000), (762, 1000), (777, 1000), (773, 1000), (707, 1000), (754, 980)])
        self.image = Image.new("L", (self.w, self.h), 255)
        self.draw = ImageDraw.Draw(self.image)
        self.items = []                                  # [label, [[word, (x0, y0, x1, y1)], ...]]
        self.left, self.right = g.randint(30, 100), self.w - g.randint(30, 100)
        use = "type" if g.random() < .35 else "print"
        self.size = g.choice([10, 11, 12, 12, 13, 14, 15])
        self.body = fonts.pick(g, use)
        self.bold = fonts.pick(g, use) if g.random() < .5 else self.body
        self.fill = self.body if g.random() < .35 else fonts.pick(g, g.choices(["type", "print", "hand"], [4, 3, 3])[0])
        self.colon = g.choices([":", " :", "", ".", " -", ":-"], [72, 6, 17, 2, 1, 1])[0]
        self.case = g.choices([str.upper, str.title, str.capitalize, None], [4, 3, 2, 3])[0]
        self.rule = g.choices(["", "line", "dots", "under"], [5, 4, 1, 1])[0]
        self.gap = g.randint(3, 14)
        self.ink = g.randint(0, 70)

    # ---- placing
    def font(self, face, size):
        return self.fonts.get(face, size)

    def place(self, text, x, y, face, size, width, label, lines=99, leading=None, align=0.):
        """One item, wrapped at width; returns right end of its last line, and the y below it."""
        font, chars = self.font(face, size)
        space = max(2., font.getlength(" "))
        leading = leading or size + self.g.randint(2, 5)
        row, rows, at = [], [], 0.
        for w in text.split():
            w = "".join(c if c in chars else "X" if c in "✓" else "" for c in w)
            if not w:
                continue
            n = font.getlength(w)
            if row and at + n > width:
                rows.append((row, at - space))
                row, at = [], 0.
            row.append((w, at))
            at += n + space
        if row:
            rows.append((row, at - space))
        out, end = [], x
        for i, (row, n) in enumerate(rows[:lines]):
            x0 = x + max(0., width - n) * align
            for w, dx in row:
                px, py = round(x0 + dx), round(y + i * leading)
                box = font.getbbox(w)
                if px + box[2] > self.w - 2 or py + box[3] > self.h - 2:
                    continue
                self.draw.text((px, py), w, fill=self.ink, font=font)
                out.append([w, (px + box[0], py + box[1], px + box[2], py + box[3])])
            end = x0 + n
        if out:
            self.items.append([label, out])
        return end, y + leading * max(1, len(rows[:lines]))

    def line(self, x0, y0, x1, y1, width=1):
        self.draw.line((x0, y0, x1, y1), fill=self.ink + self.g.randint(0, 60), width=width)

    def name(self, kind=None):
        s, kind = self.c.field(kind)
        return (self.case(s) if self.case else s), kind

    def question(self, s, x, y, width, size=None, colon=None):
        return self.place(s + (self.colon if colon is None else colon), x, y, self.body, size or self.size, width, "question")

    def answer(self, s, x, y, width, lines=1):
        return self.place(s, x, y, self.fill, self.size + self.g.choice([-1, 0, 0, 1, 2]), width, "answer", lines)

    # ---- blocks: each takes y and gives the y below it
    def letterhead(self, y):
        g, c = self.g, self.c
        width, align = self.right - self.left, g.choice([0., .5, .5, .5, 1.])
        if g.random() < .45:
            label = "header" if g.random() < .45 else "other"
            _, y = self.place(c.company(), self.left, y, self.bold, self.size + g.randint(1, 12), width, label, align=align)
            if g.random() < .4:
                _, y = self.place(f"{c.address()} {c.phone() if g.random() < .4 else ''}", self.left, y, self.body, self.size, width, "other", align=align)
        if g.random() < .9:
            _, y = self.place(c.title(), self.left, y + g.randint(0, 12), self.bold, self.size + g.randint(0, 14), width, "header", align=align)
        if g.random() < .2:
            _, y = self.place(c.section() if g.random() < .6 else c.title(), self.left, y, self.body, self.size, width, g.choice(["header", "other"]), align=align)
        if g.random() < .3:
            self.line(self.left, y + 3, self.right, y + 3, g.randint(1, 3))
            y += 5
        return y

    def section(self, y):
        g = self.g
        _, y = self.place(self.c.section(), self.left, y, self.bold, self.size + g.randint(0, 4), self.right - self.left, "header",
                          align=g.choice([0., 0., 0., .5]))
        if g.random() < .3:
            self.line(self.left, y, self.right, y)
        return y

    def fields(self, y):
        """Rows of fields in one to three columns; values beside, below, or missing."""
        g = self.g
        columns = g.choices([1, 2, 3], [5, 4, 2])[0]
        edges = [self.left + (self.right - self.left) * i / columns for i in range(columns + 1)]
        if columns == 2 and g.random() < .5:
            edges[1] += (self.right - self.left) * g.uniform(-.15, .15)
        below, boxed = g.random() < .22, g.random() < .25
        aligned = g.random() < .4
        filled = g.choice([1., .9, .9, .7, .3])
        indent = g.uniform(.25, .5)
        for _ in range(g.randint(1, 9)):
            top, bottom = y, y
            for i in range(columns):
                if columns > 1 and g.random() < .12:
                    continue
                bottom = max(bottom, self.field(edges[i] + 2, edges[i + 1] - 8, y, below, aligned and indent, g.random() < filled))
            if boxed:
                self.line(self.left, top - 2, self.right, top - 2)
                for e in edges:
                    self.line(e - 3, top - 2, e - 3, bottom + self.gap - 2)
            y = bottom + self.gap
            if y > self.h - 80:
                break
        if boxed:
            self.line(self.left, y - 2, self.right, y - 2)
        return y

    def field(self, x0, x1, y, below, indent, filled):
        g, c = self.g, self.c
        s, kind = self.name()
        width = x1 - x0
        number = f"{g.randint(1, 20)}. " if g.random() < .04 else ""
        end, under = self.question(number + s, x0, y, width if below else width * .75)
        if not filled:
            if self.rule in ("line", "under") and not below and end + 20 < x1:
                self.line(end + 4, y + self.size + 1, x1, y + self.size + 1)
            return under
        lines = 1
        value = c.value(kind)
        if kind in ("text", "address", "company") and g.random() < .3:
            value, lines = (c.text(True) if kind == "text" else f"{c.company()} {c.address()} {c.address()}"), g.randint(2, 5)
        if below:
            _, y1 = self.answer(value, x0 + g.randint(0, 25), under, width, lines)
            return y1
        x = max(end + g.randint(4, 22), x0 + indent * width if indent else 0)
        if x > x1 - 40:
            _, y1 = self.answer(value, x0 + 10, under, width - 10, lines)
            return y1
        if self.rule == "line":
            self.line(end + 4, y + self.size + 1, x1, y + self.size + 1)
        elif self.rule == "dots":
            for px in range(int(end) + 4, int(x1), 5):
                self.draw.point((px, y + self.size), fill=self.ink)
        _, y1 = self.answer(value, x, y + g.choice([-2, -1, 0, 0, 0, 1]), x1 - x, lines)
        if g.random() < .05 and kind in ("count", "money"):
            self.place(c.cased(c.phrase(1, 2)), x + 70, y, self.body, self.size, x1 - x - 70, "other")
        return max(under, y1)

    def table(self, y):
        g, c = self.g, self.c
        columns, rows = g.randint(2, 7), g.randint(1, 10)
        cuts = sorted(g.uniform(.4, 1.6) for _ in range(columns))
        g.shuffle(cuts)
        total, x = sum(cuts), self.left
        edges = [x]
        for v in cuts:
            x += (self.right - self.left) * v / total
            edges.append(x)
        grid = g.choices(["", "full", "rows", "head"], [4, 3, 2, 2])[0]
        side = g.random() < .45                           # the first column names the rows
        heads = [self.name() for _ in range(columns)]
        kinds = [g.choice(["count", "count", "money", "code", "text", "date", k]) for _, k in heads]
        top = y
        label = "question" if g.random() < .85 else "header"
        bottom = y
        for i in range(columns):
            if i == 0 and side and g.random() < .4:
                continue
            _, b = self.place(heads[i][0] + ("" if g.random() < .9 else ":"), edges[i] + 3, y, self.bold, self.size, edges[i + 1] - edges[i] - 8, label, 3)
            bottom = max(bottom, b)
        y = bottom + g.randint(1, 5)
        ys = [top - 2, y - 2]
        filled = g.choice([1., .95, .8, .4])
        for _ in range(rows):
            bottom = y + self.size + 3
            for i in range(columns):
                if i == 0 and side:
                    _, b = self.question(self.name()[0], edges[0] + 3, y, edges[1] - edges[0] - 8, colon="" if g.random() < .85 else ":")
                elif g.random() < filled:
                    lines = g.choice([1, 1, 1, 2])
                    _, b = self.answer(c.value(kinds[i]) if g.random() < .93 else c.choice(), edges[i] + 3, y, max(20, edges[i + 1] - edges[i] - 8), lines)
                else:
                    b = y
                bottom = max(bottom, b)
            y = bottom + g.randint(0, 6)
            ys.append(y - 2)
            if y > self.h - 70:
                break
        if grid in ("full", "rows"):
            for v in ys:
                self.line(self.left, v, self.right, v)
        if grid == "full":
            for e in edges:
                self.line(e, ys[0], e, ys[-1])
        if grid == "head":
            self.line(self.left, ys[1], self.right, ys[1])
        return y

    def checks(self, y):
        """A question and its options; a cross is the answer to the option that it stands at."""
        g, c = self.g, self.c
        x = self.left
        if g.random() < .75:
            end, under = self.question(c.ask() if g.random() < .4 else self.name()[0], x, y, (self.right - x) * .9, colon="" if g.random() < .4 else None)
            if g.random() < .5 and end < self.w * .5 and under - y < 2 * self.size:
                x = end + 15
            else:
                y, x = under, x + 20
        mark = g.choice(["box", "line", "paren", "none"])
        down = g.random() < .4
        for _ in range(g.randint(2, 6)):
            s = c.cased(g.choice(words.FIELDS["choice"]) if g.random() < .6 else c.phrase(1, 3), (2, 5, 3, 1))
            chosen, k = g.random() < .4, self.size
            before = g.random() < .8
            at = x + (k + 14 if before else 0)
            if at + 60 > self.right:
                y, x = y + k + 8, self.left + 20
                at = x + (k + 14 if before else 0)
            end, under = self.place(s, at, y, self.body, k, self.right - at, "question" if g.random() < .85 else "other", 1)
            bx = x if before else end + 6
            if mark == "box":
                self.draw.rectangle((bx, y + 1, bx + k, y + k + 1), outline=self.ink)
            elif mark == "line":
                self.line(bx, y + k + 1, bx + k + 10, y + k + 1)
            elif mark == "paren":
                self.draw.text((bx - 2, y), "(    )", fill=self.ink, font=self.font(self.body, k)[0])
            if chosen:
                self.place(g.choice(["X", "X", "x", "✓", "/", "v", "XX"]), bx + 2, y - 1, self.fill, k + 1, 60, "answer", 1)
            if down:
                y = under + 3
            else:
                x = end + g.randint(15, 40) + (0 if before else k + 10)
        return y + self.size + 6

    def asks(self, y):
        """Longer questions with answers of several lines below."""
        g, c = self.g, self.c
        for i in range(g.randint(1, 4)):
            number = f"{i + 1}. " if g.random() < .5 else ""
            _, y = self.place(number + c.ask(), self.left, y, self.body, self.size, self.right - self.left, "question")
            if g.random() < .8:
                text = " ".join(c.text(True) for _ in range(g.randint(1, 3))) if g.random() < .7 else c.value(g.choice(words.KINDS))
                _, y = self.answer(text, self.left + g.randint(0, 30), y + 2, (self.right - self.left) * .93, g.randint(1, 6))
            y += self.gap
        return y

    def paragraph(self, y):
        """Running text that asks nothing."""
        g, c = self.g, self.c
        text = " ".join(c.sentence() for _ in range(g.randint(1, 5)))
        if g.random() < .5:
            _, y = self.place(text, self.left, y, self.body, self.size, self.right - self.left, "other", g.randint(1, 9))
            return y
        width = self.right - self.left - g.randint(0, 60)
        for _ in range(g.randint(1, 8)):                  # an item for each line, as FUNSD often has it
            s = " ".join(c.sentence().split()[:max(3, int(width / self.size / .6 / 6))])
            _, y = self.place(s, self.left, y, self.body, self.size, width, "other", 1)
        return y

    def memo(self, y):
        """Names and values of a fax cover or memo, then its text."""
        g, c = self.g, self.c
        names = g.sample([("to", "name"), ("from", "name"), ("date", "date"), ("subject", "text"), ("re", "text"), ("cc", "name"), ("company", "company"),
                          ("fax no", "phone"), ("fax number", "phone"), ("phone number", "phone"), ("number of pages", "count"), ("time", "time"),
                          ("department", "text"), ("copies to", "name"), ("location", "address"), ("telephone", "phone"), ("attention", "name")], g.randint(3, 8))
        x = self.left + g.randint(60, 160)
        for s, kind in names:
            s = self.case(s) if self.case else s.upper()
            end, under = self.question(s, self.left, y, x - self.left + 60)
            y1 = under
            if g.random() < .92:
                _, y1 = self.answer(c.value(kind), max(x, end + 8), y, self.right - x, g.choice([1, 1, 2]))
                if kind == "name" and g.random() < .2:
                    _, y1 = self.answer(c.value(g.choice(["name", "company", "address"])), max(x, end + 8), y1, self.right - x)
            y = max(under, y1) + self.gap
        if g.random() < .55:
            if g.random() < .5:
                _, y = self.question(g.choice(["comments", "message", "remarks", "notes", "special instructions"]).upper(), self.left, y, 300)
                _, y = self.answer(" ".join(c.sentence() for _ in range(g.randint(1, 4))), self.left + 10, y, self.right - self.left - 20, 8)
            else:
                y = self.paragraph(y + 4)
        return y

    def pairs_grid(self, y):
        """Small captions in the corners of cells, values below them."""
        g, c = self.g, self.c
        small = max(8, self.size - g.randint(1, 4))
        for _ in range(g.randint(1, 5)):
            columns = g.randint(1, 4)
            height = g.randint(30, 46)
            step = (self.right - self.left) / columns
            if y + height > self.h - 50:
                break
            for i in range(columns):
                x = self.left + i * step
                self.draw.rectangle((x, y, x + step, y + height), outline=self.ink + 40)
                s, kind = self.name()
                _, under = self.question(s, x + 3, y + 2, step - 6, small, "" if g.random() < .7 else None)
                if g.random() < .8 and under + self.size < y + height + 8:
                    self.answer(c.value(kind), x + g.randint(4, 20), under + g.randint(0, 3), step - 20)
            y += height
        return y + 4

    def signature(self, y):
        g, c = self.g, self.c
        for _ in range(g.randint(1, 3)):
            s, _ = self.name("name")
            end, under = self.question(s, self.left, y, 220)
            self.line(end + 5, y + self.size + 1, self.left + 330, y + self.size + 1)
            if g.random() < .6:
                self.place(c.name(), end + 12, y - 3, self.fonts.pick(g, "hand"), self.size + 4, 200, "answer", 1)
            if g.random() < .7:
                end, _ = self.question(self.name("date")[0], self.left + 350, y, 150)
                self.line(end + 4, y + self.size + 1, self.right, y + self.size + 1)
                if g.random() < .6:
                    self.answer(c.date(), end + 8, y, 120)
            y = under + g.randint(6, 20)
        return y

    def margins(self):
        """Page numbers, file numbers, stamps: text of no field."""
        g, c = self.g, self.c
        for _ in range(g.choice([0, 1, 1, 2, 3])):
            text = g.choice([c.digits(8), c.digits(g.randint(4, 10)), f"Page {g.randint(1, 20)}", f"- {g.randint(1, 99)} -", c.code(), c.title(), c.sentence(),
                             f"{c.date()} {c.time()} {c.phone()}", f"Form {c.code()}", f"Rev. {c.date()}", c.phrase(1, 3).upper(), c.company()])
            y = g.choice([g.randint(4, 22), self.h - g.randint(22, 50)])
            self.place(text, g.randint(10, max(11, self.w - 250)), y, g.choice([self.body, self.fill]), self.size + g.choice([-2, 0, 2]), 400, "other", 2)

    def compose(self):
        g = self.g
        y = g.randint(28, 80)
        if g.random() < .88:
            y = self.letterhead(y)
        first = g.choices([self.memo, self.fields, self.pairs_grid, None], [4, 5, 2, 2])[0]
        if first:
            y = first(y + g.randint(4, 25))
        limit = self.h - g.choice([70, 70, 100, 300, 500])
        while y < limit:
            block = g.choices([self.fields, self.table, self.checks, self.asks, self.paragraph, self.section, self.pairs_grid, self.signature],
                              [7, 4, 2, 2, 4, 3, 2, 1.3])[0]
            y = block(y + g.randint(4, 26))
        self.margins()
        order = g.random()
        if order < .3:
            g.shuffle(self.items)
        elif order < .6:                                   # pieces of the page by turns
            n = g.randint(2, 12)
            parts = [self.items[i:i + n] for i in range(0, len(self.items), n)]
            g.shuffle(parts)
            self.items = [x for p in parts for x in p]

    # ---- the scan
    def scan(self):
        g = self.g
        im = self.image
        if g.random() < .4:
            angle = g.uniform(-1.2, 1.2)
            im = im.rotate(angle, Image.BILINEAR, fillcolor=255)
            t = np.deg2rad(angle)
            cos, sin, cx, cy = np.cos(t), np.sin(t), self.w / 2, self.h / 2
            for item in self.items:                        # the box goes where its centre goes
                for w in item[1]:
                    x0, y0, x1, y1 = w[1]
                    dx, dy = (x0 + x1) / 2 - cx, (y0 + y1) / 2 - cy
                    mx, my = cx + dx * cos + dy * sin, cy - dx * sin + dy * cos
                    w[1] = mx - (x1 - x0) / 2, my - (y1 - y0) / 2, mx + (x1 - x0) / 2, my + (y1 - y0) / 2
        if g.random() < .5:
            im = im.filter(ImageFilter.GaussianBlur(g.uniform(.3, .9)))
        rng = np.random.default_rng(g.getrandbits(32))
        a = np.asarray(im, np.float32)
        if g.random() < .6:
            noise = rng.normal(0, g.uniform(2, 22), (self.h // 2, self.w)).astype(np.float32)
            a = a + np.concatenate([noise, noise[::-1], noise[:self.h - 2 * (self.h // 2)]])
        if g.random() < .3:
            a = a - np.linspace(0, g.uniform(5, 60), self.w, dtype=np.float32)[None, ::g.choice([-1, 1])]
        a = np.clip(a, 0, 255)
        if g.random() < .35:
            a = np.where(a > g.randint(120, 200), 255., 0.)
        a = a.astype(np.uint8)
        if g.random() < .5:                                # specks
            n = g.randint(5, 400)
            a[rng.integers(0, self.h - 1, n), rng.integers(0, self.w - 1, n)] = g.choice([0, 60, 255])
        if g.random() < .15:
            a[:, :g.randint(2, 14)] = g.randint(0, 80)
        self.image = Image.fromarray(a)

    def tidy(self):
        """Boxes inside the page, in whole pixels, a little off as people draw them."""
        g, out = self.g, []
        loose = g.choice([0, 1, 1, 2])
        for label, ws in self.items:
            for w in ws:
                x0, y0, x1, y1 = (int(round(v)) for v in w[1])
                x0, y0 = x0 - g.randint(0, loose), y0 - g.randint(0, loose)
                x1, y1 = x1 + g.randint(0, loose), y1 + g.randint(0, loose)
                w[1] = min(max(x0, 0), self.w - 2), min(max(y0, 0), self.h - 2), min(max(x1, 1), self.w - 1), min(max(y1, 1), self.h - 1)
                w[1] = w[1][0], w[1][1], max(w[1][0], w[1][2]), max(w[1][1], w[1][3])
            out.append((label, [(w, b) for w, b in ws]))
        self.items = out


def page(fonts, content, g):
    """A finished page: image (L), items [(label, [(word, (x0, y0, x1, y1)), ...]), ...]."""
    for _ in range(10):
        p = Page(fonts, content, g)
        p.compose()
        if sum(len(ws) for _, ws in p.items) >= 10:
            p.scan()
            p.tidy()
            return p
    raise RuntimeError("ten empty pages in a row")


def funsd(p):
    """The page as FUNSD's annotation."""
    form = []
    for i, (label, ws) in enumerate(p.items):
        boxes = np.array([b for _, b in ws])
        form.append(dict(id=i, label=label, text=" ".join(w for w, _ in ws), linking=[], words=[dict(text=w, box=list(map(int, b))) for w, b in ws],
                         box=[int(v) for v in (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))]))
    return dict(form=form)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--out")
    ap.add_argument("--n", type=int, default=20)
    ap.add_argument("--bench", type=float, default=0)
    ap.add_argument("--heldout", action="store_true", help="the faces that training does not see")
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    g = random.Random(a.seed)
    fonts, content = Fonts(a.data, a.heldout), words.Content(a.data, g)
    if a.bench:
        t, n, k = time.time(), 0, 0
        while time.time() - t < a.bench:
            n += sum(len(ws) for _, ws in page(fonts, content, g).items)
            k += 1
        print(f"{k / (time.time() - t):.1f} pages/s, {n / k:.0f} words a page")
        return
    colours = dict(header=(0, 0, 255), question=(220, 0, 0), answer=(0, 140, 0), other=(120, 120, 120))
    for d in ("annotations", "images", "overlays"):
        os.makedirs(os.path.join(a.out, d), exist_ok=True)
    for i in range(a.n):
        p = page(fonts, content, g)
        p.image.save(f"{a.out}/images/form-{i:03d}.png")
        json.dump(funsd(p), open(f"{a.out}/annotations/form-{i:03d}.json", "w"), indent=1)
        o = p.image.convert("RGB")
        d = ImageDraw.Draw(o)
        for item in funsd(p)["form"]:
            d.rectangle(item["box"], outline=colours[item["label"]])
        o.save(f"{a.out}/overlays/form-{i:03d}.png")


if __name__ == "__main__":
    main()
