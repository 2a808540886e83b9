"""tools.pictures: notebook 07 finds what it made and makes none of it again."""

import pytest
from cells import execute, sources
from conftest import tiny_pipeline
from PIL import Image

from helpers import compare, diffusion, machine
from helpers.compare import trained
from helpers.diffusion import models, sampling
from tools import pictures


@pytest.mark.slow
def test_notebook_07_has_nothing_left_to_make(tmp_path, monkeypatch):
    """The notebook's own cells, up to the class words, after the command; a colour stands for a picture."""
    batches, base = [], tiny_pipeline()

    def generate(pipe, prompts, seeds, **sampler):
        batches.append((prompts, seeds))
        return [Image.new("RGB", (8, 8), (len(prompt), seed, 7)) for prompt, seed in zip(prompts, seeds)]

    monkeypatch.chdir(machine.REPO)
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    monkeypatch.setattr(sampling, "generate", generate)
    monkeypatch.setattr(diffusion, "load_pipeline", lambda name: base)
    monkeypatch.setattr(trained, "load", lambda model, base: (base, {}))
    word = tmp_path / "textual_inversion_nesrelah"  # the second name of somebody who has one by DreamBooth
    machine.write_json(word / "settings.json", {"model": "pocket", "word": "<nesrelah>"})
    for file in ("learned_embeds.safetensors", "card.md"):
        (word / file).write_text("done")
    pictures.main(["--seeds", "1", "--class-seeds", "5"])
    made, listed = list(batches), compare.pictures.listed()
    cells = sources("07_compare")
    shooting = [cells[name].split("\n\nmixed")[0] for name in ("first-look", "make-ten", "make-class")]
    config = models.MODELS["pocket"]
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    ready = {name: model for name, model in trained.find("pocket").items() if not model.missing}
    names = {"pictures": compare.pictures, "trained": trained, "base": base, "sampler": sampler, "ready": ready}
    names |= {"NET": "hypernetwork_amir", "SEEDS": [1], "COUNT_SEEDS": list(range(1, 6))}
    for source in shooting:
        execute(source, names)
    assert len(ready) == 6 and batches == made
    asked = set(listed.loc[listed["model"] == "base", "prompt"])
    assert {"nesrelah_001 person", "<nesrelah>"} < asked, "the base is asked by both"
    assert compare.pictures.listed().equals(listed)
    first = [seeds for prompts, seeds in made if set(prompts) == {"a photo of a man"}]
    assert first[0] == (1, 2, 3, 4), "the notebook's first look: the same batches as there"
