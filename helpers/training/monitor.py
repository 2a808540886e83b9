"""A panel that shows where a training stands, with a button that stops it: async for step in watch(run, steps): ...

A kernel that is busy with a cell reads no click; `async` lets it read between two steps. Works with ipywidgets 7
(Colab) and 8.
"""

import asyncio
import contextlib
import time

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

from helpers import show

REST = 0.2  # seconds between two looks at the button


async def watch(run, steps):
    """Passes the steps of `training.train` on and shows them; Stop ends the loop after a whole step.

    run: the generator; it is closed at the end, which saves a checkpoint, so the cell can be run again to go on.
    """
    panel, looked = Panel(steps), 0.0
    if get_ipython():
        display(panel.box)
    try:
        with _clicks() as read_clicks:
            for step in run:
                panel.show(step)
                yield step
                if time.perf_counter() - looked > REST:
                    read_clicks()
                    await asyncio.sleep(0.002)  # now newer kernels read their messages
                    looked = time.perf_counter()
                if panel.stopped:
                    break
    finally:
        run.close()
        panel.end()


@contextlib.contextmanager
def _clicks():
    """A function that lets a busy kernel read its clicks.

    Kernels from version 7 on do so wherever a cell awaits; older ones, Colab's too, need jupyter_ui_poll.
    """
    if not hasattr(getattr(get_ipython(), "kernel", None), "do_one_iteration"):
        yield lambda: None
        return
    from jupyter_ui_poll import ui_events

    with ui_events() as poll:
        yield lambda: poll(8)


class Panel:
    """Progress, losses and the newest preview; `stopped` turns True when the button is pressed."""

    def __init__(self, steps):
        self.steps, self.stopped, self.step, self.first, self.held_out = steps, False, None, None, ""
        self.began, self.shown = time.perf_counter(), 0.0
        self.progress = widgets.IntProgress(0, 0, steps, description="training", layout={"width": "320px"})
        self.stop = widgets.Button(description="Stop and keep", button_style="warning", icon="stop")
        self.stop.on_click(self._press)
        self.words, self.picture = widgets.HTML(), widgets.HTML()
        self.box = widgets.VBox([widgets.HBox([self.progress, self.stop]), self.words, self.picture])

    def _press(self, _):
        self.stopped = self.stop.disabled = True
        self.stop.description = "stopping ..."

    def show(self, step):
        """Takes a Step in, and says how long the rest will take, previews included."""
        self.step, seconds = step, time.perf_counter() - self.began
        self.first = step.number - 1 if self.first is None else self.first
        if step.held_out_loss is not None:
            self.held_out = f"held-out loss {step.held_out_loss:.4f}"
        if step.preview:
            words = f"preview at step {step.number}"
            self.picture.value = f'<img src="{show.data_url(step.preview, None, "PNG")}" alt="{words}"><br>{words}'
        if seconds - self.shown > REST or step.held_out_loss is not None:  # not at every step: messages cost time
            self.shown, self.progress.value = seconds, step.number
            left = seconds / max(1, step.number - self.first) * (self.steps - step.number)
            self._say(f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left")

    def _say(self, end):
        loss = f"loss {self.step.loss:.4f}" if self.step.number else ""
        words = (f"step {self.step.number} of {self.steps}", loss, self.held_out, end)
        self.words.value = " &nbsp; ".join(filter(None, words))

    def end(self):
        """Says how the loop ended."""
        self.stop.layout.display = "none"
        if self.step is None:
            self.progress.value, self.words.value = self.steps, "This training was finished before; nothing to do."
            return
        self.progress.value = self.step.number
        done = self.step.number == self.steps
        self.progress.bar_style = "success" if done else "warning"
        self._say("Finished." if done else "Stopped, with a checkpoint: run the cell again and it goes on.")
