"""One loop for every training: batches, rates, updates, and the folder of a run."""

from helpers.training import optimizers, run, steps
from helpers.training.examples import denoising_loss, encode, fill_template, held_out_by_photo, offloaded, on_device
from helpers.training.loop import restore, shuffled, train
from helpers.training.monitor import watch
from helpers.training.steps import checkpoint_gradients, constant, cosine, descend, rates_of, stretches
