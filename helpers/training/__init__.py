"""One loop for every training: batches, rates, updates, and the folder of a run."""

from helpers.training import optimizers, rates, run, updates
from helpers.training.examples import denoising_loss, encode, fill_template, held_out_by_photo, offloaded, on_device
from helpers.training.loop import restore, restore_best, shuffled, train
from helpers.training.monitor import watch
from helpers.training.rates import constant, cosine, rates_of, stretches
from helpers.training.updates import checkpoint_gradients, descend
