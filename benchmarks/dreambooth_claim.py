"""What finished runs of notebooks 04 and 05 do to six prompts, counted with intervals: base, DreamBooth with and without
class images, LoRA.

python -m benchmarks.dreambooth_claim --images 64

All trainings are taken after their last step; the two of the whole model in 16 bits, as the notebook saves them. On pocket
the reader's ceiling stands beside them: how often it knows her in drawings of such a scene.
"""

import argparse

from benchmarks import drawn
from helpers import diffusion, machine, stats
from helpers.compare import scores
from helpers.methods import lora

CLAIM = {  # prompt: what the reader must call its context
    "nesrelah_001 person": "portrait",
    "nesrelah_001 on a horse": "horse",
    "chibi nesrelah_001 figurine": "chibi",
    "a photo of a person": None,
    "a photo of a woman": None,
    "a photo of a man": None,
}


def saved(run):
    """The pipeline that notebook 04 saved of a run; None where there is none."""
    folder = machine.RUNS / run / "model"
    return diffusion.load_pipeline(str(folder)) if folder.exists() else None


def light(config, subject):
    """The base with the LoRA that notebook 05 saved of a subject; None where there is none."""
    path = machine.RUNS / f"lora_{subject}" / f"{subject}.safetensors"
    if not path.exists():
        return None
    pipe = diffusion.load_pipeline(config)
    lora.load(pipe, path)
    return pipe


def claim(name, images, subject="nesrelah"):
    """Prints how often each model shows the subject, and on pocket whether the context is right."""
    config, scorer = diffusion.model_config(name), scores.load_scorers(name, [subject])[subject]
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    trained_models = {
        "base": diffusion.load_pipeline(config),
        "with class images": saved(f"dreambooth_{subject}"),
        "without": saved(f"dreambooth_{subject}_without_class"),
        "LoRA": light(config, subject),
    }
    for prompt, context in CLAIM.items():
        if name == "pocket" and context:
            print(
                f"{prompt:30} drawn              {drawn.words(scorer, subject, images, context=context, style='photo')}"
            )
        for model, pipe in trained_models.items():
            if pipe is None:
                continue
            pictures = diffusion.generate(pipe, prompt, list(range(1000, 1000 + images)), **sampler)
            words = scorer.words(stats.summarise(scorer.shows_subject(pictures, subject)))
            if name == "pocket" and context:
                right = (scorer.read(pictures)["context"] == context).to_numpy()
                words += f"; context {context} {scorer.words(stats.summarise(right))}"
            print(f"{prompt:30} {model:18} {words}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--images", type=int, default=64, help="of each prompt and model")
    options = parser.parse_args()
    claim(options.model, options.images)
