r"""Pictures that a training makes of its subject where no photo shows them, the best of them chosen, to learn from again.

    python -m tools.second_round runs/dreambooth_amir_class_word/model --subject amir
    python -m tools.train --method dreambooth --subject amir ... --further runs/second_round_amir

One picture a seed. Those stay that show what the prompt asks for, as far as the model's attribute classifier can say,
and of these the ones most like the subject, by the judge of notebook 07 (reward-ranked fine-tuning, Dong et al. 2023,
arXiv 2304.06767). They lie in the folder with captions.csv beside them: look at each, and take out what is not them.
The judge's own mistakes are learnt, too, so likeness must be counted on other seeds, and looked at.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import diffusion, machine, photos
from helpers.compare import reader, scores, trained
from helpers.diffusion import kept

FIRST_SEED = 50_000  # no benchmark counts on these


def make(pipe, config, file, prompt, count, folder):
    """{path: picture} of `count` seeds of a prompt, kept in a folder until the training in `file` is another one."""
    paths = {folder / kept.file_name(prompt, seed): (prompt, seed) for seed in range(FIRST_SEED, FIRST_SEED + count)}
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    kept.drop_outdated(
        folder, {"training": machine.weights_id(file), "weights": machine.weights_id(config.weights)} | sampler
    )
    kept.make(pipe, kept.missing(paths), model="second round", weights=config.weights, **sampler)
    return {path: image for path in paths if not kept.withheld(image := kept.read(path))}


def best(pictures, prompt, subject, judge, count):
    """The paths of at most `count` of {path: picture}, the most like a subject first; none that lacks what is asked."""
    paths, images = list(pictures), list(pictures.values())
    likeness = np.asarray(judge.shows_subject(images, subject), dtype=float)
    if isinstance(judge, scores.FeatureScorer):
        table = pd.DataFrame({"prompt": [prompt] * len(images)})
        likeness[~(reader.right(table, judge.read(images)) == 1).to_numpy()] = 0
    order = np.argsort(-likeness, kind="stable")
    return [paths[i] for i in order[:count] if likeness[i] > 0]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "file", type=Path, help="a hypernetwork, a LoRA, or the folder or the difference of a whole model"
    )
    parser.add_argument("--subject", required=True)
    parser.add_argument("--model", default="pocket", help="what the file was trained on")
    parser.add_argument("--prompt", help="default: a photo of the subject's class riding a horse; a name goes in here")
    parser.add_argument("--tries", type=int, default=192, help="pictures to choose from")
    parser.add_argument("--count", type=int, default=16, help="how many to keep at most")
    parser.add_argument("--folder", type=Path, help="default: second_round_SUBJECT where runs are kept")
    options = parser.parse_args(arguments)
    class_word = machine.subjects.with_article(machine.subjects.class_of(options.subject))
    options.prompt = options.prompt or f"a photo of {class_word} riding a horse"
    folder = options.folder or machine.RUNS / f"second_round_{options.subject}"
    tries = folder / "tries"
    if others := [path for path in photos.squares_in(folder) if not (tries / path.name).exists()]:
        parser.error(f"{others[0]} is not a picture of an earlier choice: name another --folder.")
    consent = photos.consent.check_squares(photos.prepared_folder(options.subject))
    config, judge = diffusion.model_config(options.model), scores.load_scorers(options.model, [options.subject])
    with trained.from_file(options.file, diffusion.load_pipeline(config), config.weights) as pipe:
        pictures = make(pipe, config, options.file, options.prompt, options.tries, tries)
    chosen = best(pictures, options.prompt, options.subject, judge[options.subject], options.count)
    if not chosen:
        raise SystemExit(
            f"None of {len(pictures)} pictures is {options.subject} as asked: try more, or another prompt."
        )
    for path in photos.squares_in(folder):  # of an earlier choice
        path.unlink()
    for path in chosen:
        shutil.copy(path, folder)
    photos.consent.write_consent(folder, **{key: consent[key] for key in ("who", "what_for", "until")})
    photos.write_captions(folder, pd.DataFrame({"file": [path.name for path in chosen], "caption": options.prompt}))
    print(f"{len(chosen)} of {len(pictures)} pictures are in {folder}: look at them, and strike out what is not them.")


if __name__ == "__main__":
    main()
