"""The reader's branch for faces: what it learns, and that all the rest of the reader stays as it is."""

import itertools
from types import SimpleNamespace

import numpy as np
import torch

from pocket import fit, scenes, train_face
from pocket.assemble import load_part
from pocket.pixels import to_pixels
from pocket.reader import FACE, Reader
from pocket.visible import LABELS, truth


def test_expression_and_eyes_are_asked_for_where_they_can_be_seen():
    some = [scenes.scene("test_everyone", i) for i in range(300)]
    for scene in some:
        person, shown = scene.person, truth(scene)
        hidden = person.glasses == "sunglasses" or scene.style == "pixel art" or scene.context in ("horse", "bicycle")
        assert ("eyes" in shown) == ("expression" in shown) == (not hidden)
    shown = {(truth(scene)["expression"], truth(scene)["eyes"]) for scene in some if "eyes" in truth(scene)}
    assert {("happy", "closed"), ("winking", "one closed"), ("surprised", "open")} <= shown and len(shown) == 7
    no_small = {scenes.scene("faces", i).context for i in range(200)}
    assert not no_small & {"horse", "bicycle"}


def test_it_learns_alone(monkeypatch, tmp_path):
    kept, noise = {}, np.random.default_rng(0).integers(0, 255, (64, 128, 128, 3), dtype=np.uint8)
    monkeypatch.setattr(fit, "CACHE", tmp_path)
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=itertools.count(0, 0.25).__next__))
    monkeypatch.setattr(train_face, "SCENES", 64)
    monkeypatch.setattr(train_face, "SOFTENED", 64)
    monkeypatch.setattr(train_face, "UNSEEN_SCENES", 8)
    monkeypatch.setattr(train_face, "pictures", lambda split, count: noise[:count])
    monkeypatch.setattr(train_face, "softened", lambda split, count, vae, power: noise[:count])
    monkeypatch.setattr(train_face, "save_reader", lambda reader: kept.update(reader=reader))
    train_face.train(0.01)
    before, pixels = load_part("reader"), to_pixels(noise[:2])
    with torch.no_grad():
        old, new = before(pixels), kept["reader"](pixels)
    rest = new.keys() - {*FACE}
    assert rest and all(torch.equal(old[name], new[name]) for name in rest)
    assert kept["reader"].labels.keys() == LABELS.keys()


def test_it_begins_as_a_copy_of_the_other_branch_unless_it_goes_on(monkeypatch):
    fresh = train_face.learner(False)
    monkeypatch.setattr(train_face, "load_part", lambda name: Reader(LABELS))
    further = train_face.learner(True)
    for weight, copy in zip(fresh.body[2:].parameters(), fresh.face.parameters(), strict=True):
        assert torch.equal(weight, copy)
    assert any(not torch.equal(a, b) for a, b in zip(further.face.parameters(), fresh.face.parameters()))
    learning = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in fresh.named_parameters() if p.requires_grad
    }
    assert {part for part in learning if not part.startswith("face.")} == {f"heads.{name}" for name in FACE}
