"""What to say when the disk is full."""

import contextlib
import errno
import shutil

TORCH_SIGNS = ("inline_container", "iostream", "PytorchStreamWriter")  # its writer knows no OSError


@contextlib.contextmanager
def room_for(path, kept=()):
    """Says in one sentence that there was no room to write `path`; what was there before is still there.

    kept: the checkpoints that stay, the newest last. Raises OSError (ENOSPC); other errors pass as they are.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and not any(sign in str(error) for sign in TORCH_SIGNS):
            raise
        free = shutil.disk_usage(path.parent).free / 2**30
        on = f"checkpoint {kept[-1].name}" if kept else "the start"
        raise OSError(
            errno.ENOSPC, f"no room to write {path} ({free:.1f} GiB free): make room, run again, it goes on from {on}"
        ) from error
