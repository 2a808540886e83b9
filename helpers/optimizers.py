"""Optimizers for training.train beside torch's own: any function of the parameters to an optimizer."""

import torch


def adamw_8bit(parameters):
    """AdamW that keeps its two averages in 8 bits (Dettmers et al. 2022): 2 bytes a weight instead of 8.

    For DreamBooth on SD 1.x that is 5 GB less; for a hypernetwork 0.1 GB. On a CPU it is slower than AdamW.
    Raises ImportError with what to do where bitsandbytes is missing.
    """
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ImportError(
            "8-bit AdamW needs bitsandbytes: run `pip install bitsandbytes`, or leave the optimizer as it is, "
            "torch.optim.AdamW, which takes 6 bytes more for each weight that learns"
        ) from error
    return AdamW8bit(parameters, weight_decay=0.01)


def name_of(optimizer):
    """What settings.json calls an optimizer; None for the usual one."""
    return None if optimizer is torch.optim.AdamW else getattr(optimizer, "__name__", type(optimizer).__name__)
