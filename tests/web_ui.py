"""What the web UI's safety check of March 2023 lets in (its modules/safe.py), and what it is there against."""

import pickle
import re
import zipfile

import torch

ALLOWED = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")}
ALLOWED |= {("torch", f"{kind}Storage") for kind in ("Float", "Half", "Int", "Long", "Double", "Byte")}


class Unpickler(pickle.Unpickler):
    """Reads nothing that is not on the allow-list."""

    def persistent_load(self, identity):
        assert identity[0] == "storage"
        return torch.storage.TypedStorage(_internal=True)

    def find_class(self, module, name):
        assert (module, name) in ALLOWED, f"{module}.{name} is forbidden"
        return super().find_class(module, name)


def accepts(path):
    """Fails for a file that the web UI would not read."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert all(re.fullmatch(r"[^/]+/(data/\d+|version|data\.pkl)", name) for name in names), names
        with archive.open(next(name for name in names if name.endswith("/data.pkl"))) as file:
            Unpickler(file).load()


class Evil:
    """Calls a function when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)
