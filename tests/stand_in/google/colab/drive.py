import os
from pathlib import Path

REFUSALS = {
    "policy": ValueError("The domain policy has disabled Drive File Stream"),
    "declined": ValueError("mount failed"),
    "unsupported": NotImplementedError("Mounting drive is unsupported in this environment."),
}


def mount(mountpoint, force_remount=False, timeout_ms=120000, readonly=False):
    """Mounts Drive; a second time it does nothing."""
    answer = os.environ.get("COLAB_DRIVE", "mounted")
    if answer in REFUSALS:
        raise REFUSALS[answer]
    mountpoint = Path(mountpoint)
    if (mountpoint / "MyDrive").is_dir() and not force_remount:
        print(f"Drive already mounted at {mountpoint}; to attempt to forcibly remount, call drive.mount(...)")
        return
    if mountpoint.exists() and any(mountpoint.iterdir()):
        raise ValueError("Mountpoint must not already contain files")
    (mountpoint / "MyDrive").mkdir(parents=True)
    print(f"Mounted at {mountpoint}")
