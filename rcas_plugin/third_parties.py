"""Packages of third parties that add to the tables of `registry`: entry points of one group, each loaded once, broken or not."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

GROUP = "rcas_plugin.methods"


@dataclass(frozen=True)
class ThirdParty:
    """An entry point of a third party's package, and the error of loading it.

    Attributes:
        name: of the entry point.
        package: that offers it.
        target: module (and attribute) that it names.
        error: why it cannot be loaded; empty where it was.
    """

    name: str
    package: str
    target: str
    error: str

    @property
    def sentence(self) -> str:
        """The sentence for an entry point that could not be loaded: the fault and the cure."""
        return (
            f"{self.name} of the package {self.package} could not be loaded from {self.target} ({self.error}): "
            f"mend it, or pip uninstall {self.package}"
        )


def load() -> list[ThirdParty]:
    """Load every entry point of the group, in this process's first call; returns each with its error.

    What an entry point raises is kept and not passed on: a broken package takes its own methods away, and no other's.
    """
    if not _loaded:
        _loaded.append([])  # a module that looks into a table while it is loaded comes back here
        _loaded[0] += [_load(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
    return _loaded[0]


_loaded: list[list[ThirdParty]] = []


def broken_sentences() -> list[str]:
    """A sentence for each entry point that could not be loaded."""
    return [party.sentence for party in load() if party.error]


def _load(point: EntryPoint) -> ThirdParty:
    error = ""
    try:
        point.load()
    except (Exception, SystemExit) as raised:  # anything may happen while a stranger's module is imported
        error = " ".join(f"{type(raised).__name__}: {raised}".split())[:300]
    return ThirdParty(point.name, _package(point), point.value, error)


def _package(point: EntryPoint) -> str:
    name = getattr(point.dist, "name", None)
    return str(name) if name else point.value.partition(":")[0].partition(".")[0]
