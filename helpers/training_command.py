"""Trains a hypernetwork without a notebook, in one process or in many; `python -m helpers.training --help`.

    python -m helpers.training --subject amir
    torchrun --nproc_per_node 2 -m helpers.training --subject amir --accumulate 2

The hypernetwork is that of notebook 03 with the same settings, bit for bit on a CPU: its photos, its split, its
seeds. Of the run folder only previews/ and copies/ are left out. Hypernetworks alone: DreamBooth and LoRA are
trained in notebook 04. Several processes share the parts of each step (--accumulate) and end where one process
would, up to the order of sums; whatever launches them, the first line says how many there are.
"""

import argparse
import os
from pathlib import Path

import torch

from helpers import (
    captions,
    compare,
    diffusion,
    examples,
    files,
    hypernetwork,
    models,
    optimizers,
    photos,
    places,
    processes,
    training,
    updates,
)

LIMIT = "This command trains hypernetworks only; DreamBooth and LoRA are trained in notebook 04."


def main(arguments=None):
    """Runs the command; arguments as on the command line."""
    options = _options(arguments)
    processes.start()
    if processes.count() > options.accumulate:
        raise SystemExit(f"{processes.count()} processes share each step: say --accumulate {processes.count()} or more")
    try:
        _train(options)
    finally:
        processes.stop()


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training", description=__doc__.splitlines()[0], epilog=LIMIT
    )
    parser.add_argument("--subject", default="amir", help="whose prepared photos to learn (default: %(default)s)")
    parser.add_argument("--model", default="pocket", help="pocket, sd15, a folder, a file or a hub id")
    parser.add_argument(
        "--folder", type=Path, help="the run's folder (default: hypernetwork_SUBJECT where runs are kept)"
    )
    parser.add_argument("--steps", type=int, help="default: as in the table of models")
    parser.add_argument("--learning-rate", help='a number, or "2e-3:100, 5e-4:300"; default: the table\'s, a cosine')
    parser.add_argument(
        "--activation", help='between the layers, such as swish; "linear" is none; default: the table\'s'
    )
    parser.add_argument("--batch-size", type=int, help="photos a part; default: as in the table of models")
    parser.add_argument("--accumulate", type=int, default=1, help="parts a step, shared by the processes")
    parser.add_argument("--template", action="append", help='such as "[filewords], close-up"; may be given often')
    parser.add_argument("--flip", action="store_true", help="learn mirrored photos too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=100, help="steps")
    parser.add_argument("--keep", type=int, default=1, help="so many checkpoints")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="half the memory, a third more time")
    parser.add_argument("--eight-bit", action="store_true", help="AdamW in 8 bits, by bitsandbytes")
    return parser.parse_args(arguments)


def _train(options):
    row = models.model(options.model)
    pipe = models.load_pipeline(row)
    learning, held_out, names, told = _photos(options, row, pipe)
    scheduler = diffusion.training_scheduler(pipe)
    net = _attached(pipe.unet, options, options.activation or row.hypernetwork["activation"])
    told |= {"facts": net.facts}
    steps, batch_size = options.steps or row.hypernetwork["steps"], options.batch_size or row.hypernetwork["batch_size"]
    frozen = diffusion.held_out_examples(*held_out.first(), scheduler, options.seed)
    folder = options.folder or places.RUNS / f"hypernetwork_{options.subject}"
    run = training.train(
        folder,
        net.parameters(),
        examples.denoising_loss(pipe.unet, scheduler, learning),
        training.shuffled(len(learning.latents), batch_size, options.seed),
        steps=steps,
        learning_rate=_rate(options.learning_rate or row.hypernetwork["learning_rate"]),
        seed=options.seed,
        accumulate=options.accumulate,
        optimizer=optimizers.adamw_8bit if options.eight_bit else torch.optim.AdamW,
        held_out_loss=lambda: examples.held_out_by_photo(pipe.unet, scheduler, frozen, names),
        watch_every=min(100, max(2, steps // 6)),  # as in notebook 03
        checkpoint_every=options.checkpoint_every,
        keep=options.keep,
        settings=told | {"batch_size": batch_size},
    )
    with examples.parked(pipe.vae, pipe.text_encoder):
        _follow(run)
    if processes.rank() == 0:
        facts = {"name": options.subject, "step": steps, "sd_checkpoint_name": row.name}
        hypernetwork.save(folder / "hypernetwork.pt", net.eval(), **facts)
        print(f"saved {folder / 'hypernetwork.pt'}")


def _photos(options, row, pipe):
    """(Examples to learn from, Examples held out, the names of these photos, what settings.json says of all)."""
    folder = photos.prepared_folder(options.subject)
    table = captions.read_captions(folder)
    caption = dict(zip(table["file"], table["caption"]))
    templates = options.template or ["[filewords]"]
    # dealt as in notebooks 01 and 03, whatever --seed; by the first process alone, which writes split.json
    groups = processes.from_first(
        photos.split([folder / file for file in caption], 4) if not processes.rank() else None
    )
    encoded = []
    for paths, flip in zip(groups, (options.flip, False)):
        prompts = [[examples.fill_template(t, options.subject, caption[p.name]) for t in templates] for p in paths]
        images = [photos.open_photo(path) for path in paths]
        encoded.append(examples.encode(pipe, images, prompts, row.image_size, flip=flip))
    told = {"model": row.name, "weights": compare.fingerprint(row.weights), "captions": caption}
    told |= {"photos": files.fingerprint(groups[0] + groups[1]), "templates": templates, "flip": options.flip}
    return *encoded, [path.name for path in groups[1]], told


def _attached(unet, options, activation):
    """A new hypernetwork before the attention of a frozen U-Net."""
    unet.requires_grad_(False)
    if options.gradient_checkpointing:
        updates.checkpoint_gradients(unet)
    torch.manual_seed(options.seed)
    net = hypernetwork.Hypernetwork(hypernetwork.widths_of(unet), activation_func=activation).train()
    hypernetwork.attach(unet, net)
    return net


def _rate(text):
    """A number for the cosine, or the text of a schedule as it is."""
    return str(text) if ":" in str(text) else float(text)


def _follow(run):
    """Prints where the training stands; the first process alone."""
    if processes.rank() == 0:
        print(f"training in {processes.count()} process{'es' if processes.count() > 1 else ''}", flush=True)
        if processes.count() == 1 and any(name.startswith("ACCELERATE_") for name in os.environ):
            print(
                "accelerate has started one process; torchrun --nproc_per_node N starts several on CPUs, too",
                flush=True,
            )
    for step in run:
        if step.held_out_loss is not None:
            told = f"step {step.number:6}   held-out loss {step.held_out_loss:.4f}   {step.seconds:6.0f} s"
            print(told, flush=True)
