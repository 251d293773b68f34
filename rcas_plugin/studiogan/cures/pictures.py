"""Cure for upstream's pictures and arrays: whole, or not there."""

from __future__ import annotations

import functools
from typing import Any

from rcas_plugin.files import atomic_path
from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.seams import replace


@cure("utils/misc.py", "canvases, plots and statistics are written in place: a process that is killed leaves half of one")
def pictures_and_arrays_written_whole() -> None:
    """Let upstream's PNG and numpy files appear whole or not at all."""
    replace("utils.misc.save_image", "whole", lambda original: _written_whole(original, 1))
    replace("utils.misc.plt", "whole", _WholeFigures)
    replace("utils.misc.np", "whole", _WholeArrays)
    replace("metrics.preparation.np", "whole", _WholeArrays)


def _written_whole(write: Any, place: int) -> Any:
    """A file-writing function, whose path is its argument at `place`, made to write the file whole or not at all."""

    @functools.wraps(write)
    def whole(*args: Any, **kwargs: Any) -> None:
        with atomic_path(args[place]) as temporary:
            write(*args[:place], temporary, *args[place + 1 :], **kwargs)

    return whole


class _WholeFigures:
    """pyplot, but for the figures that it makes: they are saved whole."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def figure(self, *args: Any, **kwargs: Any) -> Any:
        figure = self._module.figure(*args, **kwargs)
        figure.savefig = _written_whole(figure.savefig, 0)
        return figure


class _WholeArrays:
    """numpy, but for the functions that write files."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.save, self.savez = _written_whole(module.save, 0), _written_whole(module.savez, 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
