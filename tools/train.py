"""Trains without a notebook: a hypernetwork, DreamBooth, a LoRA or a new word, in one process or in several.

    python -m tools.train --method hypernetwork --subject amir
    python -m tools.train --method textual_inversion --subject nesrelah --vectors 4
    accelerate launch -m tools.train --method dreambooth --accumulate 2

What is learnt is what notebook 03, 04 or 05 learns with the same settings, bit for bit on a CPU: its photos, its split,
its class images, its seeds. Textual inversion learns from the same photos. Several processes, started by `accelerate
launch` or torchrun, share the parts of each step (--accumulate) and end where one process would, up to the order of
sums. The first line says how many there are.
"""

import argparse
import functools
import math
from pathlib import Path

import torch

from helpers import diffusion, machine, photos, training
from helpers.diffusion import device, latents
from helpers.methods import concepts, dreambooth, hypernetwork, hypernetwork_file, lora, memory, textual_inversion
from helpers.training import optimizers


def main(arguments=None):
    """Runs the command; arguments as on the command line."""
    options, state = _options(arguments), device.state()
    if (count := state.num_processes) > options.accumulate:
        raise SystemExit(f"{count} processes share the parts of a step: say --accumulate {count} or more.")
    try:
        _train(options, state)
    finally:
        state.destroy_process_group()


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__.splitlines()[0])
    add, both = parser.add_argument, "DreamBooth and LoRA: "
    add("--method", choices=("hypernetwork", "dreambooth", "lora", "textual_inversion"), default="hypernetwork")
    add("--subject", help="whose prepared photos to learn; default: notebook 01's, else amir or nesrelah")
    add("--model", default="pocket", help="pocket, sd15, a folder, a file or a hub id")
    add("--folder", type=Path, help="the run's folder; default: METHOD_SUBJECT where runs are kept")
    add("--steps", type=int, help="default: as in the table of models, a quarter less for a LoRA")
    add("--learning-rate", type=_rate, help='a number, or "2e-3:100, 5e-4:300"; default: the table\'s, along a cosine')
    add("--batch-size", type=int, help="photos a part; default: as in the table of models")
    add("--accumulate", type=int, default=1, help="parts a step, shared by the processes")
    add("--seed", type=int, default=1)
    add("--checkpoint-every", type=int, help="steps; default: every few minutes, more for large models")
    add("--keep", type=int, default=1, help="so many checkpoints")
    add("--setting", choices=tuple(memory.SETTINGS), help="against too little memory; default: as in the notebook")
    add("--activation", help='hypernetwork: between its layers, such as swish; "linear" is none; default: the table\'s')
    add("--class-prompt", action="append", help="practise the model's pictures of this, or of '', too; often")
    add("--template", action="append", help='hypernetwork, new word: "[filewords], close-up" or so; may be given often')
    add("--flip", action="store_true", help="hypernetwork: learn mirrored photos too")
    add("--concepts", type=Path, help=both + "several subjects, in a file that concepts.read takes")
    add("--captions", action="store_true", help=both + "each photo with its caption, instead of one prompt for all")
    add(
        "--further",
        type=Path,
        help=both + "more pictures to learn, in a folder with captions.csv, such as second_round's",
    )
    add("--no-identifier", action="store_true", help=both + "the class word itself learns, as with a hypernetwork")
    add("--class-images", type=int, help="how many: of each class, for a hypernetwork of all; default: the table's")
    add("--class-guidance", type=float, help="the guidance of class images; default: the table's")
    add("--prior-weight", type=float, help="how much class images count beside the photos; default: 1")
    add("--rank", type=int, default=8, help="LoRA: rows and columns of its thin matrices")
    add("--vectors", type=int, help="textual inversion: of the new word; default: as in the table of models")
    add("--words", help="textual inversion: what the new word begins as; default: the subject's class")
    options = parser.parse_args(arguments)
    if problem := _problem(options):
        parser.error(problem)
    options.prior_weight = 1.0 if options.prior_weight is None else options.prior_weight
    options.subject = options.subject or machine.subjects.learnt_by(options.method)
    name = f"{options.method}_{options.subject}" + "_class_word" * options.no_identifier
    options.folder = options.folder or machine.RUNS / name
    return options


def _problem(options):
    """What of the options does not go together, in a sentence with the fix; None if all do."""
    named, weight = options.method in ("dreambooth", "lora"), options.prior_weight
    if options.class_prompt and options.method == "textual_inversion":
        return "--class-prompt is not for textual inversion, which practises no class: leave it out."
    practises = bool(options.class_prompt) or named
    if options.class_guidance is not None and not (practises and 0 <= options.class_guidance < math.inf):
        return "--class-guidance is a number from 0 up, of class images: a hypernetwork has them by --class-prompt."
    if weight is not None and not (practises and 0 <= weight < math.inf):
        return "--prior-weight is a number from 0 up, beside class images: a hypernetwork has them by --class-prompt."
    if options.further and not named:
        return "--further is for DreamBooth and a LoRA: leave it out."
    if options.no_identifier and not (named and options.class_prompt and not options.concepts):
        return (
            "--no-identifier is for DreamBooth or a LoRA of one subject: "
            "add --class-prompt, once or more, for the people who shall stay as they are."
        )
    return None


def _train(options, state):
    config, light = diffusion.model_config(options.model), options.method == "lora"
    pipe, plan = diffusion.load_pipeline(config), getattr(config, "dreambooth" if light else options.method)
    steps = options.steps or (plan["steps"] * 3 // 4 if light else plan["steps"])  # as in notebook 05
    rate = options.learning_rate or plan["lora_learning_rate" if light else "learning_rate"]
    options.batch_size = options.batch_size or plan["batch_size"]
    checkpointing, optimizer = _setting(options, config)
    checkpoints, result = options.folder / "checkpoints", None
    if options.method == "dreambooth":
        checkpoints = machine.local(checkpoints)  # not on Google Drive, which they would fill
        result = lambda: dreambooth.result(options.folder / "model", pipe, plan["text_encoder"])
        learning = pipe.unet.num_parameters() + plan["text_encoder"] * pipe.text_encoder.num_parameters()
        settings = {"model": config.name, "steps": steps}
        dreambooth.check_disk(options.folder, pipe, learning, optimizer, settings, checkpoints)
    prepare = {"hypernetwork": _hypernetwork, "textual_inversion": _textual_inversion}.get(options.method, _dreambooth)
    learn, held_out_loss, settings, idle, save = prepare(options, config, pipe, checkpointing)
    run = training.train(
        options.folder, *learn, steps=steps, learning_rate=rate, seed=options.seed, accumulate=options.accumulate,
        optimizer=optimizer, held_out_loss=held_out_loss, watch_every=min(100, max(2, steps // 6)),  # as in the notebooks
        checkpoint_every=options.checkpoint_every, keep=options.keep, settings=settings, checkpoints=checkpoints,
        result=result,
    )  # fmt: skip
    state.print(f"training in {state.num_processes} process" + "es" * (state.num_processes > 1), flush=True)
    with training.offloaded(*idle):
        for step in run:
            if step.held_out_loss is not None:  # in the first process alone
                print(
                    f"step {step.number:6}   held-out loss {step.held_out_loss:.4f}   {step.seconds:6.0f} s", flush=True
                )
    if state.is_main_process:
        save(steps)
    state.wait_for_everyone()
    state.print(f"saved in {options.folder}")


def _rate(text):
    """A number, which falls along a cosine, or the text of a schedule as it is."""
    return text if ":" in text else float(text)


def _setting(options, config):
    """(whether activations are computed twice, the optimizer): what is asked for, else what the notebook takes.

    The notebook's "in backward" cannot add up the parts of a step: with several it is "8 bit".
    """
    small = options.method in ("hypernetwork", "textual_inversion") or config.name == "pocket"
    usual = "plain" if small else "in backward" if options.accumulate == 1 else "8 bit"
    setting = memory.SETTINGS[options.setting or usual]
    if options.setting:
        return setting["checkpointing"], setting["optimizer"]
    of_notebook = {"lora": optimizers.adamw, "dreambooth": setting["optimizer"]}.get(options.method, torch.optim.AdamW)
    return setting["checkpointing"] and device.find_device().type != "cpu", of_notebook


def _captioned(options, config):
    """((training photos, held-out ones), {file: caption}, templates) and what settings.json says of all that."""
    folder, templates = photos.prepared_folder(options.subject), options.template or ["[filewords]"]
    table = photos.read_captions(folder)
    caption = dict(zip(table["file"], table["caption"]))
    # dealt as in notebook 01, whatever --seed, by the first process alone, which writes split.json
    groups = device.from_first(lambda: photos.split([folder / file for file in caption], 4))
    settings = {"model": config.name, "weights": machine.weights_id(config.weights), "batch_size": options.batch_size}
    settings |= {"photos": machine.fingerprint(groups[0] + groups[1]), "captions": caption, "templates": templates}
    return (groups, caption, templates), settings


def _hypernetwork(options, config, pipe, checkpointing):
    """((parameters, loss, batches), held-out loss, settings, networks that are idle, saving) of notebook 03."""
    (groups, caption, templates), settings = _captioned(options, config)

    def encode(paths, flip=False):
        prompts = [[training.fill_template(t, options.subject, caption[p.name]) for t in templates] for p in paths]
        return training.encode(pipe, [photos.open_photo(path) for path in paths], prompts, config.image_size, flip)

    (train_set, held_out), names = (encode(groups[0], options.flip), encode(groups[1])), [p.name for p in groups[1]]
    scheduler, unet = diffusion.training_scheduler(pipe), pipe.unet.requires_grad_(False)
    kept = latents.held_out_examples(*held_out.first(), scheduler, options.seed)
    if options.class_prompt:  # while the model is as it was
        class_set, more = _class_set(options, config, pipe)
    if checkpointing:
        training.checkpoint_gradients(unet)
    torch.manual_seed(options.seed)
    activation = options.activation or config.hypernetwork["activation"]
    net = hypernetwork.Hypernetwork(hypernetwork.widths_of(unet), activation_func=activation).train()
    hypernetwork.attach(unet, net)
    settings |= {"config": net.config, "flip": options.flip}
    batches = training.shuffled(len(groups[0]), options.batch_size, options.seed)
    learn = net.parameters(), training.denoising_loss(unet, scheduler, train_set.draw), batches
    if options.class_prompt:
        learn, settings = (net.parameters(), *_practised(options, config, pipe, train_set, class_set)), settings | more
    held_out_loss = lambda: training.held_out_by_photo(unet, scheduler, kept, names)
    path, config = options.folder / "hypernetwork.pt", {"name": options.subject, "sd_checkpoint_name": config.name}
    save = lambda step: hypernetwork_file.save(path, net.eval(), step=step, **config)
    return learn, held_out_loss, settings, [pipe.vae, pipe.text_encoder], save


def _class_set(options, config, pipe):
    """The Examples of pictures that the model makes of each class prompt, and what settings.json says of them."""
    count = (options.class_images or config.dreambooth["class_images"]) // len(options.class_prompt)
    paths = {prompt: _class_images(options, config, pipe, prompt, count) for prompt in options.class_prompt}
    asked = [(prompt, path) for prompt, of_one in paths.items() for path in of_one]
    images, prompts = [photos.open_photo(path) for _, path in asked], [[prompt] for prompt, _ in asked]
    settings = {"class_prompts": options.class_prompt, "loss_weights": config.loss_weights}
    settings |= {"prior_weight": options.prior_weight}
    settings |= {"class_images": machine.fingerprint([path for _, path in asked])}
    return training.encode(pipe, images, prompts, config.image_size), settings


def _practised(options, config, pipe, train_set, class_set):
    """(loss, batches) of photos and as many class images: those of notebook 04, whatever it is that learns."""
    draw = lambda pair: [torch.cat(sides) for sides in zip(train_set.draw(pair[0]), class_set.draw(pair[1]))]
    error = functools.partial(dreambooth.dreambooth_loss, prior_weight=options.prior_weight)
    scheduler, counts = diffusion.training_scheduler(pipe), (len(train_set.latents), len(class_set.latents))
    loss = training.denoising_loss(pipe.unet, scheduler, draw, error, weights=config.loss_weights)
    return loss, dreambooth.paired_batches(*counts, options.batch_size, options.seed)


def _class_images(options, config, pipe, prompt, count):
    sampler, folder = _class_sampler(options, config), machine.RUNS / "class_images"
    return dreambooth.class_images(pipe, prompt, folder, count, options.seed, weights=config.weights, **sampler)


def _class_sampler(options, config):
    scale = config.dreambooth["class_guidance"] if options.class_guidance is None else options.class_guidance
    return {"guidance_scale": scale, "num_inference_steps": config.num_inference_steps}


def _textual_inversion(options, config, pipe, checkpointing):
    """The same of a new word, which stands in each caption for the subject's class, or in the paper's templates."""
    if config.textual_inversion["prompts"] == "paper":
        options.template = options.template or list(textual_inversion.TEMPLATES)
    (groups, caption, templates), settings = _captioned(options, config)
    word, class_word = textual_inversion.word_for(options.subject), machine.subjects.class_of(options.subject)
    count, words = options.vectors or config.textual_inversion["vectors"], options.words or class_word
    renamed = {name: textual_inversion.renamed(text, class_word, word) for name, text in caption.items()}
    fill = lambda paths: [[training.fill_template(t, word, renamed[p.name]) for t in templates] for p in paths]
    encode = lambda paths: diffusion.encode_images(pipe.vae, [photos.open_photo(p) for p in paths], config.image_size)
    (train_set, held_out), prompts, scheduler = map(encode, groups), fill(groups[0]), diffusion.training_scheduler(pipe)
    vectors, first = textual_inversion.begin(pipe, words, count), [texts[0] for texts in fill(groups[1])]
    textual_inversion.attach(pipe, word, vectors)
    if checkpointing:
        training.checkpoint_gradients(pipe.unet, pipe.text_encoder)

    def held_out_loss():
        embeds = diffusion.encode_prompts(pipe, first)
        kept = latents.held_out_examples(held_out, embeds, scheduler, options.seed)
        return latents.held_out_loss(pipe.unet, scheduler, kept, weights=config.loss_weights)

    def save(step):
        textual_inversion.save(options.folder / "learned_embeds.safetensors", word, vectors)
        web_ui = options.folder / f"{word.strip('<>')}.pt"
        textual_inversion.export(web_ui, word, vectors, step=step, sd_checkpoint_name=config.name)

    loss = textual_inversion.denoising_loss(pipe, scheduler, train_set, prompts, config.loss_weights)
    batches = training.shuffled(len(groups[0]), options.batch_size, options.seed)
    settings |= {"word": word, "vectors": count, "words": words, "loss_weights": config.loss_weights}
    return ([vectors], loss, batches), held_out_loss, settings, [pipe.vae], save


def _dreambooth(options, config, pipe, checkpointing):
    """The same of notebook 04, the whole model, or of 05, a LoRA beside it."""
    text, (*sets, settings) = config.dreambooth["text_encoder"], _subjects(options, config, pipe)
    encode_text = dreambooth.PromptEncoder(pipe, [prompt for _, prompts in sets for prompt in prompts], text)
    encode = lambda paths: diffusion.encode_images(pipe.vae, [photos.open_photo(p) for p in paths], config.image_size)
    train_set, class_set, held_out = ((encode(paths), prompts) for paths, prompts in sets)
    parts, scheduler = [pipe.unet, pipe.text_encoder][: 1 + text], diffusion.training_scheduler(pipe)
    if options.method == "lora":
        torch.manual_seed(options.seed)
        parameters, settings["rank"] = lora.add(*parts, rank=options.rank), options.rank
        if checkpointing:
            training.checkpoint_gradients(*parts)
    else:
        parameters = dreambooth.learn(pipe, text, checkpointing)

    def held_out_loss():
        kept = latents.held_out_examples(held_out[0], encode_text(held_out[1]), scheduler, options.seed)
        return latents.held_out_loss(pipe.unet, scheduler, kept, weights=config.loss_weights)

    def save(step):
        if options.method == "dreambooth":
            return dreambooth.save(options.folder / "model", pipe)
        lora.save(options.folder / f"{options.subject}.safetensors", *parts)
        lora.export(options.folder / f"{options.subject}_webui.safetensors", *parts)

    weights = {"prior_weight": options.prior_weight, "weights": config.loss_weights}
    loss = dreambooth.denoising_loss(pipe.unet, scheduler, encode_text, train_set, class_set, **weights)
    batches = dreambooth.paired_batches(len(train_set[1]), len(class_set[1]), options.batch_size, options.seed)
    return (parameters, loss, batches), held_out_loss, settings, dreambooth.idle(pipe, text), save


def _subjects(options, config, pipe):
    """(paths, prompts) of the photos to learn from, of class images and of photos held out; what settings.json says."""
    word, plan = machine.subjects.class_of(options.subject), config.dreambooth
    identifier = concepts.propose(pipe.tokenizer, options.subject)
    plain, folder = f"a photo of {machine.subjects.with_article(word)}", photos.prepared_folder(options.subject)
    pair = (plain, None) if options.no_identifier else (f"{identifier} {word}", plain)
    subjects = concepts.read(options.concepts) if options.concepts else [concepts.Concept(*pair, folder)]
    for subject in subjects:
        subject.check()
    sampler = _class_sampler(options, config)
    count = plan["class_images"] if options.class_images is None else options.class_images
    make = lambda prompt: _class_images(options, config, pipe, prompt, count)
    class_set = concepts.class_images(subjects, make, options.class_prompt or ())
    # dealt as in notebook 01, by the first process alone, which writes split.json
    train_set, held_out = device.from_first(lambda: concepts.split(subjects, 4, use_captions=options.captions))
    if options.further:
        further = _further(options.further)
        times = max(1, round(3 * len(further[0]) / len(train_set[0])))  # of all that is learnt they are a quarter
        train_set = [[*ours * times, *more] for ours, more in zip(train_set, further)]
    settings = {"model": config.name, "weights": machine.weights_id(config.weights), "batch_size": options.batch_size}
    settings |= {"subjects": [[s.instance_prompt, s.class_prompt] for s in subjects], **sampler}
    settings |= {"prior_weight": options.prior_weight, "prompts": settings["subjects"][0]}
    settings |= {"captions": train_set[1] if options.captions or options.further else None}
    settings |= {"photos": machine.fingerprint(train_set[0] + held_out[0]), "loss_weights": config.loss_weights}
    settings |= {"class_images": [len(class_set[0]), machine.fingerprint(class_set[0])]}
    settings |= {"class_prompts": options.class_prompt} if options.class_prompt else {}  # beside the subjects' own
    return train_set, class_set, held_out, settings | {"text_encoder": plan["text_encoder"]}


def _further(folder):
    """(paths, captions) of the pictures in a folder that have a caption there, with consent as for photos."""
    photos.consent.check_squares(folder)
    table = photos.read_captions(folder)
    if table.empty:
        raise ValueError(f"{folder / 'captions.csv'} names no picture: run tools.second_round again, or leave it out.")
    return [folder / file for file in table["file"]], list(table["caption"])


if __name__ == "__main__":
    main()
