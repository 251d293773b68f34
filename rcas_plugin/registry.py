"""Tables of names: how the plugin and third parties add something to a class-swap run.

A name is taken once; asking for a name that is not there lists the names that are. The plugin's own entries (`hooks`) are there
before any name is entered or asked for. Packages of third parties are loaded when a name is asked for that the plugin itself does
not register, or when names are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from rcas_plugin import third_parties
from rcas_plugin.errors import RcasError

T = TypeVar("T")


class Table(Mapping[str, T], Generic[T]):
    """A read-only mapping from names to entries that grows by `register` alone.

    Args:
        kind: what an entry is called in sentences.
        own: brings in the plugin's own entries, and nothing more when it is called again; nothing by default.
        load: brings in the entries of third parties likewise; nothing by default.
    """

    def __init__(self, kind: str, own: Callable[[], object] = lambda: None, load: Callable[[], object] = lambda: None) -> None:
        self.kind = kind
        self._own, self._load = own, load
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: enter the decorated object under `name`; a name that is taken is an error."""

        def enter(entry: T) -> T:
            self._own()
            if name in self._entries and self._entries[name] is not entry:
                raise RcasError(f"the {self.kind} {name!r} is registered already, by {self._entries[name]!r}")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise RcasError(f"there is no {self.kind} {name!r}; there are: {self.names()}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._own()
        if name not in self._entries:
            self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load_all()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load_all()
        return len(self._entries)

    def _load_all(self) -> None:
        self._own()
        self._load()

    def names(self) -> str:
        """The names of the entries, sorted, as text for a sentence, followed by the packages that could not be loaded."""
        return "; ".join([", ".join(sorted(self)), *third_parties.broken_sentences()])


def _hooks() -> None:
    import_module("rcas_plugin.hooks")  # by name, and late: what it registers imports this module


#: `RCAS.method`: what happens to a loaded GAN before and during fine-tuning. Entries are `methods.base.Method` classes.
methods: Table[Any] = Table("method", _hooks, third_parties.load)
#: The earlier name of the same table, which packages of third parties register with.
phases = methods
#: Terms added to the generator's or the discriminator's loss, asked for by a method.
losses: Table[Any] = Table("loss", _hooks, third_parties.load)
#: Functions that a method calls at a moment of its own, such as `synapse_importance` before the selection.
callbacks: Table[Any] = Table("callback", _hooks, third_parties.load)
#: Parametrizations of upstream's weights; each is rebuilt from a checkpoint by its class method `rebuild(parts)`, or
#: `rebuild(parts, earlier=())` where it builds on those of the same weight in the swaps before (see `weights.adapters.rebuilt`).
#: A class whose state repeats parts of those, so that a checkpoint is whole, names them in `inherited`: tasks leave them out.
adapters: Table[Any] = Table("adapter", _hooks, third_parties.load)
#: What importance differentiates: (D's outputs, labels (n,)) -> (n,).
objectives: Table[Any] = Table("objective", _hooks, third_parties.load)
