"""The web UI's X/Y/Z plot: one labelled picture over two or three settings, and a JSON that makes it again."""

import dataclasses
import inspect
import itertools
import warnings
from pathlib import Path

import diffusers

from helpers import diffusion, machine, show
from helpers.compare import trained
from helpers.diffusion import kept, png_info

FINISHED = "finished"
SETTINGS = {  # what a plot may vary, and what holds where it does not
    "prompt": "a photo of a man",
    "negative_prompt": "",
    "seed": 1,
    "steps": 20,
    "guidance": 5.0,
    "sampler": "",  # the pipeline's own
    "strength": 1.0,
    "model": "base",
    "checkpoint": FINISHED,  # or the number of a step of which the run kept a copy
}
SAMPLERS = {name: kind for kind, name in png_info.SAMPLERS.items() if kind != "DPMSolverSDEScheduler"}


def plot(model, base, path, /, x, y=None, z=None, **settings):
    """One labelled picture: x over its columns, y and z over its rows; saved as `path`.png and `path`.json.

    x, y, z: (name, values) of SETTINGS; settings: others of them, for all pictures. Values of prompt are whole
    prompts, or as in the web UI words: the first is searched in the prompt and replaced by each. model: a name of
    model_config; the setting `model`: one of trained.find. Strength is for hypernetworks; in a plot with one, the
    other models ignore it, and their labels say so. A plot on disk of the same weights, safety checker and settings
    is read again. Raises ValueError for a setting or model that does not exist or cannot vary, FileNotFoundError for
    a run that is missing.
    """
    axes = [[axis[0], list(axis[1])] for axis in (x, y, z) if axis]  # lists, as JSON gives them back
    settings = SETTINGS | settings
    _check(axes, settings)
    cells = [_cell(settings, axes, values) for values in itertools.product(*[values for _, values in axes])]
    models = trained.find(model)
    used = {cell["model"]: trained.required(models, cell["model"]) for cell in cells}
    fixed = _without_strength(cells, used)
    recipe = {"model": model} | dict(zip("xyz", [*axes, None, None]))
    recipe |= {"settings": settings, "safety_checker": kept.is_checked(base)}
    recipe |= {"weights": _weights(models["base"], cells, used)}
    path = Path(path)
    picture, written = path.with_suffix(".png"), path.with_suffix(".json")
    if picture.exists() and written.exists() and machine.read_json(written) == recipe:
        return kept.read(picture)
    grid = _grid(axes, _make(cells, used, base), fixed)
    with machine.atomic_write(picture) as partial:
        grid.save(partial, format="PNG")
    machine.write_json(written, recipe)
    return grid


def remake(path, base):
    """The picture of a plot's JSON, made again from scratch beside it as <name>-again.png.

    Warns where a model's weights are no longer those of the first time.
    """
    recipe, path = machine.read_json(path), Path(path)
    again = path.with_name(f"{path.stem}-again")
    again.with_suffix(".json").unlink(missing_ok=True)
    picture = plot(recipe["model"], base, again, *(recipe[axis] for axis in "xyz"), **recipe["settings"])
    for name, weights in machine.read_json(again.with_suffix(".json"))["weights"].items():
        if recipe["weights"].get(name, weights) != weights:
            warnings.warn(f"{name} has been trained again since: its pictures differ.", stacklevel=2)
    return picture


def _check(axes, settings):
    for name in [name for name, _ in axes] + list(settings):
        if name not in SETTINGS:
            raise ValueError(f"A plot has no setting {name!r}: it has {', '.join(SETTINGS)}.")
    if len({name for name, _ in axes}) < len(axes):
        raise ValueError("Two axes vary the same setting: choose different ones.")
    if empty := [name for name, values in axes if not values]:
        raise ValueError(f"The axis {empty[0]} has no values.")


def _without_strength(cells, used):
    """The models that ignore the strength of these cells. Raises ValueError if all of them do."""
    if all(cell["strength"] == 1 for cell in cells):
        return set()
    fixed = {name for name, model in used.items() if model.method != "hypernetwork"}
    if fixed == set(used):
        raise ValueError(f"{', '.join(used)} has no strength: vary it for a hypernetwork only.")
    return fixed


def _weights(base, cells, used):
    """{name: fingerprint} of all that makes the pictures: the base model, finished trainings, copies of a step."""
    weights = {"base": machine.weights_id(base.weights)}
    for name, step in dict.fromkeys((cell["model"], cell["checkpoint"]) for cell in cells):
        label = name if step == FINISHED else f"{name}, step {step}"
        weights[label] = machine.weights_id(at_step(used[name], step))
    return weights


def _cell(settings, axes, values):
    """The settings of one picture."""
    cell = dict(settings)
    for (name, all_values), value in zip(axes, values):
        cell[name] = value
        if name == "prompt" and (word := all_values[0]) != settings["prompt"] and word in settings["prompt"]:
            cell[name] = settings["prompt"].replace(word, value)
    return cell


def _make(cells, used, base):
    """One picture a cell; what shares a model is made under one loading of it, what shares a sampler in batches."""
    names = ("model", "checkpoint", "sampler", "steps", "guidance", "negative_prompt")
    shared = lambda i: [str(cells[i][name]) for name in names]
    pictures = [None] * len(cells)
    for _, group in itertools.groupby(sorted(range(len(cells)), key=shared), key=shared):
        group = list(group)
        first = cells[group[0]]
        model = used[first["model"]]
        weights = str(at_step(model, first["checkpoint"]))
        pipe, networks = trained.load(dataclasses.replace(model, weights=weights), base)
        tag = f" <hypernet:{model.name}:{{}}>" if networks else ""
        text = diffusion.prompts.without_comments  # at the end of a prompt one would hide the tag
        prompts = [text(cells[i]["prompt"]) + tag.format(cells[i]["strength"]) for i in group]
        images = diffusion.generate(
            pipe, prompts, [cells[i]["seed"] for i in group], hypernetworks=networks, scheduler=sampler(pipe, first["sampler"]),
            guidance_scale=first["guidance"], num_inference_steps=first["steps"], negative_prompt=first["negative_prompt"],
        )  # fmt: skip
        for i, image in zip(group, images):
            pictures[i] = image
    return pictures


def at_step(model, step):
    """The weights of a model, finished or at a step of its run. Raises ValueError that names the steps there are."""
    if step == FINISHED:
        return model.weights
    kept = {} if model.run is None else copies(model.run)
    if step not in kept:
        raise ValueError(f"{model.name} kept no copy of step {step}: there are {', '.join(map(str, kept)) or 'none'}.")
    return kept[step]


def copies(run):
    """{step: path} of the copies a run kept on its way: <name>-<step>.pt or model-<step>/, in whatever folder."""
    paths = [*Path(run).rglob("*-*.pt"), *(path.parent for path in Path(run).rglob("model-*/model_index.json"))]
    steps = {path.stem.rsplit("-", 1)[1]: path for path in paths}
    return {int(step): steps[step] for step in sorted(steps, key=lambda s: (len(s), s)) if step.isdigit()}


def sampler(pipe, name):
    """A diffusers scheduler by the web UI's name, such as "Euler a" or "DPM++ 2M Karras"; "" is the pipeline's own."""
    if not name:
        return pipe.scheduler
    plain = name.removesuffix(" Karras")
    if plain not in SAMPLERS:
        raise ValueError(f"There is no sampler {name!r}: there are {', '.join(SAMPLERS)}, some also with Karras.")
    kind = getattr(diffusers, SAMPLERS[plain])
    # as the name says, whatever the pipeline's own sampler does; PLMS begins as the web UI's, not by Runge-Kutta,
    # which takes nine calls of the U-Net more, and four steps at least
    settings = {"use_karras_sigmas": plain != name, "skip_prk_steps": True}
    known = inspect.signature(kind.__init__).parameters
    return kind.from_config(pipe.scheduler.config, **{key: settings[key] for key in settings if key in known})


def _grid(axes, pictures, fixed):
    """x over the columns; y, then z over the rows. fixed: the models that ignore the strength."""
    labels = [[_label(name, value, fixed) for value in values] for name, values in axes]
    rows = ["\n".join(reversed(row)) for row in itertools.product(*labels[1:])] if len(axes) > 1 else None
    height = len(pictures) // len(labels[0])  # cells were made with x outermost, column by column
    images = [pictures[row::height] for row in range(height)]
    return show.image_grid(images, rows, labels[0], cell=min(256, pictures[0].width))


def _label(name, value, fixed=()):
    if name == "model" and value in fixed:
        return f"{value} (has no strength)"
    if name == "checkpoint":
        return value if value == FINISHED else f"step {value}"
    return str(value) if name in ("prompt", "model") else f"{name} {value}"
