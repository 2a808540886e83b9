"""Several processes that train as one, each with a GPU or a core of its own: torchrun starts them.

    torchrun --nproc_per_node 2 -m helpers.training

They share the parts of every step and add up their gradients. `accelerate launch` works where it really
starts several processes; with --cpu it quietly starts one, so the command says how many there are.
"""

import os
import sys

import torch
import torch.distributed as dist


def start():
    """Joins the processes that torchrun started, if it did; a process alone needs nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # An optimizer's first step imports it. Imported inside a group it keeps the group's threads alive past
        # stop(), and one that frees a tensor while the interpreter ends aborts the process: one time in twenty.
        import torch._dynamo

        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def stop():
    """Leaves the group again, at the end of a command."""
    if dist.is_initialized():
        dist.destroy_process_group()


def count():
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank():
    """The number of this process, from 0. Number 0 alone writes files and makes previews."""
    return dist.get_rank() if dist.is_initialized() else 0


def from_first(value):
    """What the first process has for `value`, in all of them."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def copy_from_first(tensors):
    """Overwrites tensors with those of the first process."""
    for tensor in tensors if count() > 1 else ():
        dist.broadcast(tensor.detach(), src=0)


def add_up(tensors):
    """Replaces each tensor by its sum over all processes."""
    for tensor in tensors if count() > 1 else ():
        dist.all_reduce(tensor)


def measure_anew():
    """Lets `peak_memory` forget what came before, on a GPU; main memory has one highest mark for all of a process."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory():
    """{"peak_bytes", "how"}: the most memory this process has held since `measure_anew`, the GPU's where there is one."""
    if torch.cuda.is_available():
        return {"peak_bytes": torch.cuda.max_memory_allocated(), "how": f"measured on {torch.cuda.get_device_name()}"}
    try:
        import resource
    except ImportError:  # Windows
        return {"peak_bytes": None, "how": "not measured on this system"}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    return {"peak_bytes": most, "how": "measured on the CPU: main memory of the whole process"}
