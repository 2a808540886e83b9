"""Train the pocket Stable Diffusion from nothing, on two cores.

    python -m pocket.train               every part in order, about five hours
    python -m pocket.train vae           one part
    python -m pocket.train unet 120      one part, for 120 minutes of work in all

Stop it at any time and start it again: each part goes on from its last checkpoint in runs/pocket and
writes itself into data/pocket when its minutes are up. Held-out figures and minutes are logged to
runs/pocket/<part>.csv.
"""

import argparse
from importlib import import_module

MINUTES = {"vae": 60, "clip": 24, "unet": 120, "reader": 30, "blip": 60}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=MINUTES, help="all of them when left out")
    parser.add_argument("minutes", nargs="?", type=float, help="minutes of training in all")
    options = parser.parse_args()
    for part in [options.part] if options.part else MINUTES:
        import_module(f"pocket.train_{part}").train(options.minutes or MINUTES[part])


if __name__ == "__main__":
    main()
