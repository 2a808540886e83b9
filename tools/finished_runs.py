r"""The trainings that come with the repository, in data/finished: both methods on both people, on pocket.

    python -m tools.finished_runs      takes those that are in runs/, after `python -m tools.notebooks 03 04`, `make crossed`, and

    python -m tools.train --method hypernetwork --subject amir --folder runs/hypernetwork_amir_practised --steps 800 \
        --learning-rate 1.5e-3 --prior-weight 0.1 --class-images 128 --class-prompt "a photo of a woman" \
        --class-prompt "a woman riding a horse"
    learn() { python -m tools.train --method dreambooth --subject amir --no-identifier --captions --prior-weight 0.3 \
        --class-guidance 1 --class-images 64 --class-prompt "a photo of a woman" --class-prompt "" "$@"; }
    learn --folder runs/first_round
    python -m tools.second_round runs/first_round/model --subject amir
    learn --further runs/second_round_amir

The paper's two are whole. DreamBooth on Amir, under a name or as "man", is the difference from the base model alone, a
third as large.
"""

import shutil

from helpers import diffusion, machine
from helpers.compare import trained
from helpers.diffusion import models
from helpers.methods import difference

# which notebook 07 shows: run, steps, whether whole
PRACTISED = [("hypernetwork_amir_practised", 800, True), ("dreambooth_amir_class_word", 300, False)]
NAMES = ("card.md", "settings.json", "loss.csv", "memory.json")
KEPT = (*NAMES, "hypernetwork.pt", "model")  # no checkpoints


def keep(run, folder, config, steps, whole=True):
    """Copies a finished run without its checkpoints, previews and exports into `folder`, replacing what is there.

    whole: or of a DreamBooth model the difference alone. Raises ValueError if it is no training of `config` of so many
    steps: a quick trial has learnt nothing.
    """
    settings = machine.read_json(run / "settings.json")
    if (settings["model"], settings["steps"]) != (config.name, steps) or not (run / "card.md").exists():
        raise ValueError(f"{run} is no finished training of {config.name} of {steps} steps: run its notebook first")
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in (run / name for name in KEPT if (run / name).exists() and (whole or name != "model")):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, partial / path.name)
    if not whole and (run / "model").exists():
        pipes = map(diffusion.load_pipeline, (str(run / "model"), config.weights))
        difference.save(partial / difference.NAME, *pipes, machine.weights_id(config.weights))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def main():
    pocket, samples = models.MODELS["pocket"], machine.subjects.SAMPLES
    steps = {method: getattr(pocket, method)["steps"] for method in samples}
    runs = [(f"{way}_{who}", steps[way], who == learnt) for way, learnt in samples.items() for who in samples.values()]
    for name, count, whole in [*runs, *PRACTISED]:
        if (machine.RUNS / name).exists():
            keep(machine.RUNS / name, trained.FINISHED / name, pocket, count, whole)
        print(f"{name}: {'taken' if (machine.RUNS / name).exists() else 'not in runs/, so it stays as it was'}")


if __name__ == "__main__":
    main()
