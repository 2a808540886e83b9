"""The paper's claim, counted: what a finished run of notebook 03 does to four prompts, with intervals.

python -m benchmarks.hypernetwork_claim --images 64

On pocket it also says how often the reader knows a drawn subject in such a scene: no share can be expected above that.
"""

import argparse

from benchmarks import drawn
from helpers import diffusion, machine, stats
from helpers.compare import scores
from helpers.methods import hypernetwork, hypernetwork_file

CLAIM = {  # prompt: the scene to draw the subject in, for the reader's ceiling
    "a photo of a man": {"context": "portrait", "style": "photo"},
    "man riding a horse": {"context": "horse", "style": "photo"},
    "a man, oil painting": {"context": "portrait", "style": "oil painting"},
    "a photo of a woman": None,
}


def claim(model, images, subject="amir"):
    """Prints how often the model shows the subject before and after, for the prompts of the paper's claim."""
    config = diffusion.model_config(model)
    pipe, scorer = diffusion.load_pipeline(config), scores.load_scorers(model, [subject])[subject]
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    net = hypernetwork_file.load(machine.RUNS / f"hypernetwork_{subject}" / "hypernetwork.pt")
    for prompt, scene in CLAIM.items():
        cells = [prompt]
        for attach in (False, True):
            if attach:
                hypernetwork.attach(pipe.unet, net)
            pictures = diffusion.generate(pipe, prompt, list(range(1000, 1000 + images)), **sampler)
            hypernetwork.detach(pipe.unet)
            cells.append(scorer.words(stats.summarise(scorer.shows_subject(pictures, subject))))
            if model == "pocket":
                cells[-1] += f", {_right(scorer, pictures, scene)}"
        ceiling = (
            f"; of drawings {drawn.words(scorer, subject, images, **scene)}" if model == "pocket" and scene else ""
        )
        print("{}: {} before, {} after".format(*cells) + ceiling, flush=True)


def _right(scorer, pictures, scene):
    """How many of these pictures are of the scene's context, or of a woman where no scene is asked for."""
    column, word = ("context", scene["context"]) if scene else ("kind", "woman")
    right = stats.summarise((scorer.read(pictures)[column] == word).to_numpy())
    return f"{column} {word} {scorer.words(right)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--images", type=int, default=64, help="of each prompt, before and after")
    options = parser.parse_args()
    claim(options.model, options.images)
