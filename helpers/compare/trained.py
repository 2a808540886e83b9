"""The models to compare: the base, and each method on each subject where a training is finished.

Trainings of one's own lie in runs/; both methods on both people, on pocket, come with the repository.
"""

import contextlib
import copy
import re
from dataclasses import dataclass
from pathlib import Path

from helpers import diffusion, machine, training
from helpers.machine import subjects
from helpers.methods import difference, dreambooth, hypernetwork_file, lora, textual_inversion

_NOTEBOOK = 'set NAME = "{subject}" in notebook {notebook} and run it.'
METHODS = {  # how each is trained; from the lightest file to the heaviest
    "textual_inversion": "run python -m tools.train --method textual_inversion --subject {subject}.",
    "hypernetwork": _NOTEBOOK.replace("{notebook}", "03_train_hypernetwork"),
    "dreambooth": _NOTEBOOK.replace("{notebook}", "04_train_dreambooth"),
    "lora": _NOTEBOOK.replace("{notebook}", "05_memory_files_lora"),
    "predicted": _NOTEBOOK.replace("{notebook}", "06_one_photo"),  # from one photo, and then tuned
}
TITLES = {"base": "base", "hypernetwork": "hypernetwork", "dreambooth": "DreamBooth", "lora": "LoRA"}
TITLES |= {"textual_inversion": "textual inversion", "predicted": "predicted"}
ADDED = ("hypernetwork", "LoRA", "textual inversion", "predicted")  # to a base that stays as it is
# which the paper has not: named only where a training has been begun
EXTRA = ("LoRA", "textual inversion", "predicted")
FINISHED = machine.REPO / "data" / "finished"  # by tools.finished_runs
_SLOT = re.compile(r"(?P<before>\bof )?(?P<article>\b[Aa]n? )?\b(?P<word>[Mm]an|nesrelah_001)\b")


@dataclass(frozen=True)
class TrainedModel:
    """The base model, or what a training made of it."""

    name: str  # "base", or that of the run folder
    method: str  # of TITLES
    subject: str  # whom it was trained on; "" for the base model
    word: str  # how its prompts call the subject
    weights: str
    base: str  # weights of the base model
    run: Path | None = None
    missing: str = ""  # why it cannot be used

    @property
    def title(self):
        """For labels: "base", "hypernetwork, Amir"."""
        return f"{self.method}, {subjects.title(self.subject)}" if self.subject else self.method

    @property
    def state(self):
        """For tables: "ready", whether it came with the repository, or what is missing."""
        came = self.run is not None and FINISHED in self.run.parents
        return self.missing or ("ready, as it came in data/finished" if came else "ready")

    @property
    def named(self):
        """Whether its subject has a name of its own: in DreamBooth, a LoRA, and as the new word of textual inversion."""
        return self.method in ("DreamBooth", *EXTRA)

    @property
    def call(self):
        """The plainest prompt that calls the subject: the name by itself, or a photo of the class."""
        return self.word if self.named else f"a photo of {subjects.with_article(self.word)}"


def find(model):
    """{name: TrainedModel} for a name of model_config: the base, then each method on each subject, finished or not.

    The subjects are those of machine.subjects.chosen. A method that the paper has not is named only where it has been
    begun.
    """
    config = diffusion.model_config(model)
    base = TrainedModel("base", "base", "", "", config.weights, config.weights)
    trained = [_trained(method, subject, config) for subject in subjects.chosen() for method in METHODS]
    there = [model for model in trained if model.method not in EXTRA or model.run.exists()]
    return {model.name: model for model in [base, *there]}


def _trained(method, subject, config):
    """One's own finished training; without one that which came with the repository, if it is of this model."""
    runs = [place / f"{method}_{subject}" for place in (machine.RUNS, FINISHED)]
    missing = {run: _missing(run, method, subject, config) for run in runs}
    run = next((run for run in runs if not missing[run]), runs[0])
    settings = {} if missing[run] else machine.read_json(run / "settings.json")
    word, weights = _word(method, subject, settings), _weights(run, method, subject)
    return TrainedModel(run.name, TITLES[method], subject, word, str(weights), config.weights, run, missing[run])


def _missing(run, method, subject, config):
    """Why a run cannot be used, and what to do; "" if it can."""
    fix = METHODS[method].format(subject=subject)
    if not (run / "card.md").exists() or not _weights(run, method, subject).exists():
        return f"No finished run {run.name}: {fix}"
    settings = machine.read_json(run / "settings.json")
    if (trained := diffusion.models.last_part(settings["model"])) != config.name:
        return f"{run.name} is a training of {trained}, not of {config.name}: {fix}"
    alone = _weights(run, method, subject).name == difference.NAME  # of no use without the weights it was trained on
    of_others = alone and settings["weights"] != machine.weights_id(config.weights)
    return f"{run.name} is the difference from other weights than those of {config.name}: {fix}" if of_others else ""


def _weights(run, method, subject):
    files = {
        "hypernetwork": "hypernetwork.pt",
        "dreambooth": difference.NAME if (run / difference.NAME).exists() else "model",
        "textual_inversion": "learned_embeds.safetensors",
    }
    return run / files.get(method, f"{subject}.safetensors")


def _word(method, subject, settings):
    """What calls the subject: the class for a hypernetwork, a new word, or the name before the class for DreamBooth."""
    if method == "hypernetwork":
        return subjects.class_of(subject)
    if method == "textual_inversion":
        return settings.get("word", textual_inversion.word_for(subject))
    return (settings.get("prompts") or [f"{subjects.identifier(subject)} {subjects.class_of(subject)}"])[0]


def class_prompts():
    """{prompt_id: prompt} of the class words: man, woman and person, those of the subjects, and at the end a horse."""
    words = dict.fromkeys(["man", "woman", "person", *map(subjects.class_of, subjects.chosen())])
    return {f"class_{word}": f"a photo of {subjects.with_article(word)}" for word in words} | {"class_horse": "a horse"}


def words_for(model, models):
    """{prompt_id: prompt} of class_prompts, and of names: for a model its own, for the base those of all `models`."""
    named = [one for one in models if one.named and model.name in ("base", one.name)]
    return class_prompts() | {f"name_{one.subject}: {one.call}": one.call for one in named}


def about(models, subject):
    """The base model and those of `models` that learnt a subject, as a list."""
    return [model for model in models if model.subject in ("", subject)]


def required(trained_models, name):
    """A model that is ready. Raises ValueError for an unknown name, FileNotFoundError for a missing run."""
    if name not in trained_models:
        raise ValueError(f"There is no method {name!r}: there are {', '.join(trained_models)}.")
    if trained_models[name].missing:
        raise FileNotFoundError(trained_models[name].missing)
    return trained_models[name]


def the_two(trained_models):
    """The names of the trainings that the paper compares: a hypernetwork and a DreamBooth model, of whom each learns.

    Raises FileNotFoundError, with the notebook to run, if one of them is missing.
    """
    names = [f"{method}_{subjects.learnt_by(method)}" for method in ("hypernetwork", "dreambooth")]
    return [required(trained_models, name).name for name in names]


def prompts_for(table, model, subject):
    """{prompt_id: prompt} of data/prompts.csv's table, all about one subject, in the words of this model.

    The paper's own prompts for the subject stay verbatim. The base model gets the prompts of the paper's method.
    """
    if model.subject == subject:
        word = model.word
    else:  # the base model
        word = _word("dreambooth" if subjects.SAMPLES["dreambooth"] == subject else "hypernetwork", subject, {})
    name = word.split()[0]
    return {
        row.prompt_id: row.prompt if "_" in name and name in row.prompt else address(row.prompt, word)
        for row in table.itertuples()
    }


def plain(prompts, subject):
    """{prompt_id: prompt} with the subject's class in the place of any name, as CLIP can read it."""
    return {row.prompt_id: address(row.prompt, subjects.class_of(subject)) for row in prompts.itertuples()}


def address(prompt, word):
    """A prompt of the paper with `word` in the place of its subject: "man" or "nesrelah_001".

    A name of one's own (with an underscore, or <new>) takes no article, a class word takes one after "of".
    A prompt that names neither comes back as it is.
    """

    def put(match):
        before = match["before"] or ""
        if "_" in word or word.startswith("<"):
            return before + word
        if before or match["article"]:
            return before + subjects.with_article(word)
        return word[:1].upper() + word[1:] if match["word"] == "Man" else word

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
    if model.method == "DreamBooth" and Path(model.weights).name == difference.NAME:
        pipe = dreambooth.load(model.base, base)
        difference.add(model.weights, pipe, machine.weights_id(model.base))
        return pipe, {}
    if model.method == "DreamBooth":
        return dreambooth.load(model.weights, base), {}
    if model.method == "textual inversion":  # U-Net and VAE stay shared; the other text encoder has the word
        parts = base.components | {"text_encoder": copy.deepcopy(base.text_encoder)}
        pipe = type(base)(**parts, requires_safety_checker=False)
        textual_inversion.attach(pipe, *textual_inversion.read(model.weights, pipe))
        return pipe, {}
    pipe = dreambooth.load(model.base, base)  # another one, so that `base` stays as it is
    lora.load(pipe, model.weights)
    return pipe, {}


@contextlib.contextmanager
def applied(model, base):
    """The pipeline of a model, its hypernetwork on; afterwards `base` is bit for bit what it was."""
    with contextlib.ExitStack() as stack:
        if model.named and model.method != "textual inversion":  # a second U-Net: both would not fit in 8 GB
            stack.enter_context(training.offloaded(base.unet, base.vae, base.text_encoder))
        pipe, networks = load(model, base)
        for network in networks.values():
            stack.enter_context(network.on(pipe.unet))
        yield pipe


@contextlib.contextmanager
def from_file(path, base, weights, strength=1.0):
    """The pipeline `base` with a training on it that lies in a file of any name, or another one from a folder.

    path: a hypernetwork, a LoRA's .safetensors, the difference.npz of a whole model or its folder; the last two have no
    strength. weights: of the base. Except for a hypernetwork, `base` stays changed.
    """
    path = Path(path)
    if path.is_dir():
        yield diffusion.load_pipeline(str(path))
    elif path.name == difference.NAME:
        difference.add(path, base, machine.weights_id(weights))
        yield base
    elif path.suffix == ".safetensors":
        lora.load(base, path, strength)
        yield base
    else:
        with hypernetwork_file.load(path).on(base.unet, strength):
            yield base
