# SPDX-License-Identifier: Apache-2.0
"""From what users have to what they want, a module a task: text of lines, classes of pictures, objects on them, entities of forms, regions for phrases."""
from ._common import load_image, model_folder, save_image
from .classify import Accuracy, Classification, Classifier, ClassScore
from .detect import CocoScores, Detections, Detector, coco_scores, detections_page
from .doc import DocReader, Entity, EntityScores, Form, TypeScore, Word, entity_scores, load_words
from .ground import (Features, Grounder, Grounding, GroundingScores, Phrase, Region, Regions, draw_groundings, groundings_page, load_phrases)
from .ocr import Character, Line, TextReader, ocr

__all__ = [
    "Accuracy", "Character", "ClassScore", "Classification", "Classifier", "CocoScores", "Detections", "Detector", "DocReader", "Entity", "EntityScores",
    "Features", "Form", "Grounder", "Grounding", "GroundingScores", "Line", "Phrase", "Region", "Regions", "TextReader", "TypeScore", "Word", "coco_scores",
    "detections_page", "draw_groundings", "entity_scores", "groundings_page", "load_image", "load_phrases", "load_words", "model_folder", "ocr", "save_image",
]
