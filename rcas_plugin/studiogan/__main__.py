"""The same activation with no patch: `python -m rcas_plugin.studiogan PATH/src/main.py --plugin rcas …`."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path

_USAGE = "usage: python -m rcas_plugin.studiogan PATH/src/main.py [--plugin NAME] [the options of StudioGAN's main.py]"


def _split(arguments: list[str]) -> tuple[Path, list[str], str]:
    """The path of main.py, its own options and the plugin's name in a command line."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        raise SystemExit(0 if arguments else 2)
    main, rest, plugin = Path(arguments[0]), [], "rcas"
    options = iter(arguments[1:])
    for option in options:
        if option == "--plugin":
            plugin = next(options, "")
        elif option.startswith("--plugin="):
            plugin = option.partition("=")[2]
        else:
            rest.append(option)
    if not main.is_file():
        raise SystemExit(_fail(f"there is no file {main}; give the path of a StudioGAN's src/main.py"))
    return main, rest, plugin


def _fail(sentence: str) -> int:
    print(f"rcas: error: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    _main, _rest, _plugin = _split(sys.argv[1:])
    _plugins = {point.name: point for point in entry_points(group="studiogan.plugins")}
    if _plugin not in _plugins:
        raise SystemExit(_fail(f"--plugin: {_plugin!r} is unknown; there are: {', '.join(sorted(_plugins))}"))
    sys.argv = [str(_main), *_rest]
    sys.path[0] = str(_main.resolve().parent)
    _plugins[_plugin].load()()
    # run in this module's namespace: a spawned process then imports this module, which does nothing, and not main.py,
    # which would import upstream before it is cured
    exec(compile(_main.read_text(encoding="utf-8"), str(_main), "exec"), globals())
