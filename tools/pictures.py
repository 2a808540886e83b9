"""Makes the counted pictures of notebook 07 before it runs, on several devices: it then finds them, the very same ones.

    accelerate launch -m tools.pictures --model sd15

These are the paper's ten prompts and the class words, by the base model and by every finished training.
"""

import argparse

from helpers import diffusion
from helpers.compare import pictures, trained
from helpers.diffusion import device
from helpers.machine import subjects


def main(arguments=None):
    """Runs the command; arguments as on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket", help="pocket, sd15, a folder, a file or a hub id")
    parser.add_argument("--seeds", type=int, default=4, help="of each of the ten prompts")
    parser.add_argument("--class-seeds", type=int, default=16, help="of each class word")
    parser.add_argument("--no-safety-checker", action="store_true", help="where notebook 07 takes it off, too")
    options, state = parser.parse_args(arguments), device.state()
    try:
        _make(options, state)
    finally:
        state.destroy_process_group()


def _make(options, state):
    config = diffusion.model_config(options.model)
    base = diffusion.load_pipeline(config)
    if options.no_safety_checker:
        base.safety_checker = None
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    ready = [model for model in trained.find(config.name).values() if not model.missing]
    first = f"class_{subjects.class_of(subjects.learnt_by('hypernetwork'))}"
    for model in ready:  # the first look: the notebook makes the same batches
        few = range(1, 1 + min(4, options.class_seeds))
        pictures.pictures(model, base, {first: trained.class_prompts()[first]}, few, **sampler)
    pictures.ten_prompts(ready, base, range(1, options.seeds + 1), **sampler)
    pictures.class_words(ready, base, range(1, options.class_seeds + 1), **sampler)


if __name__ == "__main__":
    main()
