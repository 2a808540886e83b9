"""Train the pocket Stable Diffusion from nothing, on two cores.

    python -m pocket.train               every part in order, about nine hours
    python -m pocket.train vae           one part
    python -m pocket.train unet 120      one part, for 120 minutes of work in all
    python -m pocket.train reader 40 --further   40 minutes more for the weights in data/pocket

Stop it at any time and start it again: each part goes on from its last checkpoint in runs/pocket and
writes itself into data/pocket when its minutes are up. Held-out figures and minutes are logged to
runs/pocket/<part>.csv. With --further a part that has no checkpoint there starts with the weights in
data/pocket; of the VAE then only the decoder learns, for the U-Net knows the encoder's latents.
"""

import argparse
from importlib import import_module

MINUTES = {"vae": 60, "clip": 24, "unet": 120, "reader": 90, "face": 25, "blip": 130, "upscaler": 100}
TRIALS = {"decoder": 60}  # only when named


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=MINUTES | TRIALS, help="all but decoder when left out")
    parser.add_argument("minutes", nargs="?", type=float, help="minutes of training in all")
    parser.add_argument("--further", action="store_true", help="start with what data/pocket holds")
    options = parser.parse_args()
    for part in [options.part] if options.part else MINUTES:
        import_module(f"pocket.train_{part}").train(options.minutes or (MINUTES | TRIALS)[part], options.further)


if __name__ == "__main__":
    main()
