"""Who makes the pictures: the base model, and each method on each subject where a training is finished.

Trainings of one's own lie in runs/; the paper's two on pocket come with the repository, for whoever has none yet.
"""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from helpers import diffusion, machine
from helpers.methods import hypernetwork, hypernetwork_file

METHODS = {"hypernetwork": "03_train_hypernetwork", "dreambooth": "04_train_dreambooth"}  # and their notebooks
TITLES = {"base": "base", "hypernetwork": "hypernetwork", "dreambooth": "DreamBooth"}
SUBJECTS = ("amir", "nesrelah")  # the paper trained the first by a hypernetwork, the second by DreamBooth
PAPER = {"hypernetwork": "amir", "dreambooth": "nesrelah"}
FINISHED = machine.REPO / "data" / "finished"  # by tools.finished_runs
_SLOT = re.compile(r"(?P<before>\bof )?(?P<article>\b[Aa]n? )?\b(?P<word>[Mm]an|nesrelah_001)\b")


@dataclass(frozen=True)
class TrainedModel:
    """One way to a picture. `word` is how its prompts call the subject; `missing` says why it cannot be used."""

    name: str  # "base", or that of the run folder
    method: str  # "base", "hypernetwork", "DreamBooth"
    subject: str  # whom it was trained on; "" for the base model
    word: str
    weights: str
    base: str  # weights of the base model
    run: Path | None = None
    missing: str = ""

    @property
    def title(self):
        """For labels: "base", "hypernetwork, Amir"."""
        return f"{self.method}, {self.subject.capitalize()}" if self.subject else self.method

    @property
    def state(self):
        """For tables: "ready", whether it came with the repository, or what is missing."""
        came = self.run is not None and FINISHED in self.run.parents
        return self.missing or ("ready, as it came in data/finished" if came else "ready")

    @property
    def call(self):
        """The plainest prompt that calls the subject: the name by itself, or a photo of the class."""
        return self.word if self.method == "DreamBooth" else f"a photo of a {self.word}"


def find(model, subjects=SUBJECTS):
    """{name: TrainedModel} of a model of helpers.diffusion.models: the base, then each method on each subject, finished or not."""
    config = diffusion.model_config(model)
    base = TrainedModel("base", "base", "", "", config.weights, config.weights)
    made = [_maker(method, subject, config) for subject in subjects for method in METHODS]
    return {model.name: model for model in [base, *made]}


def _maker(method, subject, config):
    """One's own finished training; where there is none the one that came with the repository, if that is of this model."""
    runs = [place / f"{method}_{subject}" for place in (machine.RUNS, FINISHED)]
    lacks = [_missing(run, method, subject, config) for run in runs]
    run, missing = next(((run, "") for run, lack in zip(runs, lacks) if not lack), (runs[0], lacks[0]))
    settings = {} if missing else machine.read_json(run / "settings.json")
    word, weights = _word(method, subject, settings), run / _weights(method)
    return TrainedModel(run.name, TITLES[method], subject, word, str(weights), config.weights, run, missing)


def _missing(run, method, subject, config):
    """Why a run cannot be used, with the mend; "" if it can."""
    if not (run / "card.md").exists() or not (run / _weights(method)).exists():
        return f"No finished run {run.name}: {_mend(method, subject)}."
    trained = machine.read_json(run / "settings.json")["model"]
    if trained != config.name:
        return f"{run.name} is a training of {trained}, not of {config.name}: {_mend(method, subject)}."
    return ""


def _weights(method):
    return "hypernetwork.pt" if method == "hypernetwork" else "model"


def _mend(method, subject):
    """What to do in which notebook, so that a run comes to be."""
    return f'set NAME = "{subject}" in notebook {METHODS[method]} and run it'


def _word(method, subject, settings):
    """What calls the subject: the class for a hypernetwork, the name before the class for DreamBooth."""
    class_word = class_of(subject)
    if method == "hypernetwork":
        return class_word
    return (settings.get("prompts") or [f"{subject}_001 {class_word}"])[0]


def class_of(subject):
    """The class word of a subject, from its subject.json; "person" where there is none."""
    path = machine.REPO / "data" / "subjects" / subject / "subject.json"
    return machine.read_json(path)["class_word"] if path.exists() else "person"


def required(trained_models, name):
    """A model that is ready. Raises ValueError for an unknown name, FileNotFoundError for a missing run."""
    if name not in trained_models:
        raise ValueError(f"There is no method {name!r}: there are {', '.join(trained_models)}.")
    if trained_models[name].missing:
        raise FileNotFoundError(trained_models[name].missing)
    return trained_models[name]


def prompts_for(table, model, subject):
    """{prompt_id: prompt} of data/prompts.csv's table, all about one subject, in the words of this model.

    The paper's own prompts for the subject stay verbatim. The base model gets the prompts of the paper's method.
    """
    if model.subject == subject:
        word = model.word
    else:  # the base model
        (method,) = [method for method, own in PAPER.items() if own == subject] or ["hypernetwork"]
        word = f"{subject}_001 {class_of(subject)}" if method == "dreambooth" else class_of(subject)
    name = word.split()[0]
    return {
        row.prompt_id: row.prompt if "_" in name and name in row.prompt else address(row.prompt, word)
        for row in table.itertuples()
    }


def plain(prompts, subject):
    """{prompt_id: prompt} with the subject's class in the place of any name: what CLIP, too, can read."""
    return {row.prompt_id: address(row.prompt, class_of(subject)) for row in prompts.itertuples()}


def address(prompt, word):
    """A prompt of the paper with `word` in the place of its subject: "man" or "nesrelah_001".

    A name of one's own (with an underscore) takes no article, a class word takes one after "of".
    A prompt that names neither comes back as it is.
    """

    def put(found):
        named = "_" in word
        before, article = found["before"] or "", found["article"] or ""
        if named:
            article = ""
        elif before or article:
            article = "an " if word[0] in "aeiou" else "a "
        begins = found["word"] == "Man" and not before + article
        return before + article + (word[:1].upper() + word[1:] if begins and not named else word)

    return _SLOT.sub(put, prompt, count=1)


def load(model, base):
    """(pipeline, {model's name: Hypernetwork}): base and a network to put on it, or a pipeline and {}.

    The base's safety checker, or its absence, holds for all. Raises FileNotFoundError for a missing run.
    """
    if model.missing:
        raise FileNotFoundError(model.missing)
    if model.method == "hypernetwork":
        return base, {model.name: hypernetwork_file.load(model.weights)}
    if model.method == "base":
        return base, {}
    pipe = diffusion.load_pipeline(model.weights)
    pipe.safety_checker, pipe.feature_extractor = base.safety_checker, base.feature_extractor
    return pipe, {}


@contextlib.contextmanager
def applied(model, base):
    """The pipeline of a model, its hypernetwork on; afterwards `base` is bit for bit what it was."""
    pipe, networks = load(model, base)
    try:
        for network in networks.values():
            hypernetwork.attach(pipe.unet, network)
        yield pipe
    finally:
        if networks:
            hypernetwork.detach(pipe.unet)
