"""Makes the counted pictures of notebook 05 before it runs, on several devices: it then finds them, the very same ones.

    accelerate launch -m tools.pictures --model sd15

These are the paper's ten prompts and the class words, by the base model and by every finished training.
"""

import argparse

import pandas as pd

from helpers import diffusion, machine
from helpers.compare import pictures, trained
from helpers.diffusion import device
from helpers.machine import subjects


def main(arguments=None):
    """Runs the command; arguments as on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket", help="pocket, sd15, a folder, a file or a hub id")
    parser.add_argument("--seeds", type=int, default=4, help="of each of the ten prompts")
    parser.add_argument("--class-seeds", type=int, default=16, help="of each class word")
    parser.add_argument("--no-safety-checker", action="store_true", help="where notebook 05 takes it off, too")
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
    for model in ready:
        for prompts, count in _wanted(model, ready, options):
            made = pictures.pictures(model, base, prompts, range(1, count + 1), **sampler)
            state.print(f"{model.name}: {len(made)} pictures", flush=True)


def _wanted(model, ready, options):
    """[({prompt_id: prompt}, how many seeds)] of a trained model, in the notebook's order: that makes the same batches."""
    table = pd.read_csv(machine.REPO / "data" / "prompts.csv")
    about = [subject for subject in subjects.chosen() if model.subject in ("", subject)]
    named = [one for one in ready if one.named and model.name in ("base", one.name)]
    names = {f"name_{one.subject}: {one.call}": one.call for one in named}
    classes, first = trained.class_prompts(), f"class_{subjects.class_of(subjects.learnt_by('hypernetwork'))}"
    return [
        ({first: classes[first]}, min(4, options.class_seeds)),
        *((trained.prompts_for(table, model, subject), options.seeds) for subject in about),
        (classes | names, options.class_seeds),
    ]


if __name__ == "__main__":
    main()
