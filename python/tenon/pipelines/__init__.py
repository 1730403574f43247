# SPDX-License-Identifier: Apache-2.0
"""From what users have (pictures) to what they want (text): a module a task."""
from .ocr import Character, Line, TextReader, load_image, ocr

__all__ = ["Character", "Line", "TextReader", "load_image", "ocr"]
