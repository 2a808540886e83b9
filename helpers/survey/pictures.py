"""The pictures of a study under names that tell nothing, from notebook 05's run or the small finished set in data/.

python -m helpers.survey.pictures      makes data/survey/pictures and data/survey/key.csv again from runs/compare
"""

import sys

import pandas as pd

from helpers import machine
from helpers.survey import design, questionnaire, simulation

INDEX = machine.RUNS / "compare" / "images.csv"
FINISHED = machine.REPO / "data" / "survey"


def blind(key, folder, side=512):
    """Write every picture of a key as <item>.jpg, pixels alone: no name, no metadata, no date that tells its method.

    key: as survey_design.make_key returns it, with a column file. Returns the key with `file` set to the new files.
    Pictures of an older key in the folder are removed, for they would still be shown somewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{item}.jpg" for item in key["item"]]
    for old in set(folder.glob("*.jpg")) - set(paths):
        old.unlink()
    for source, path in zip(key["file"], paths):
        with machine.atomic_write(path) as partial:
            partial.write_bytes(questionnaire.bare(source, side))
    return key.assign(file=paths)


def finished_key():
    """The key of the finished set, with files. Raises FileNotFoundError naming the first picture that is missing."""
    key = pd.read_csv(FINISHED / "key.csv")
    key["file"] = [FINISHED / "pictures" / f"{item}.jpg" for item in key["item"]]
    missing = [path for path in key["file"] if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"The picture {missing[0]} is missing: run notebook 05, then `python -m helpers.survey.pictures`."
        )
    return key


def study_key(seed, index=INDEX):
    """(key, where its pictures come from): notebook 05's, coded by `seed`, else the finished set.

    Columns of the key: item, prompt_id, prompt, subject, method, file.
    """
    if not index.exists():
        return finished_key(), "the finished set in data/survey, coded beforehand"
    table = design.pictures(index, simulation.paper_prompts(), simulation.METHODS)
    return design.make_key(table, seed), "your own run of notebook 05"


def references(subjects, count=3):
    """{subject: the first prepared photos}: your own run's, else the finished ones in data/prepared."""
    photos = {}
    for subject in subjects:
        folders = machine.RUNS / "photos" / subject, machine.REPO / "data" / "prepared" / subject
        photos[subject] = next(filter(None, (sorted(folder.glob("*.png"))[:count] for folder in folders)), [])
    return photos


if __name__ == "__main__":
    if not INDEX.exists():
        sys.exit(f"There is no {INDEX}: run notebooks/05_compare.ipynb first.")
    key = blind(study_key(simulation.SEED)[0], FINISHED / "pictures")
    with machine.atomic_write(FINISHED / "key.csv") as partial:
        key.drop(columns="file").to_csv(partial, index=False)
    print(f"{len(key)} pictures and key.csv in {FINISHED.relative_to(machine.REPO)}")
