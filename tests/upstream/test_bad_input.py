"""Bad input ends at once: one sentence that names the key and what is allowed, exit code 2, nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from .. import warm_python
from .conftest import TRAIN, Trained, write_config, write_images

pytestmark = pytest.mark.slow

#: Activates once and runs main.py in a forked child a case: its exit code and what it printed.
DRIVER = """
import json, os, sys
from rcas_plugin.studiogan.activation import activate
source, cases = sys.argv[1], json.loads(sys.stdin.read())
sys.path.insert(0, source)
activate()
code = compile(open(source + "/main.py").read(), source + "/main.py", "exec")
results = []
for name, options in cases.items():
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1), os.dup2(write, 2)
        sys.argv = ["main.py", *options]
        status = 1
        try:
            exec(code, {"__name__": "__main__"})
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    results.append([name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text])
print(json.dumps(results))
"""


def files(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*") if "__pycache__" not in path.parts}


def driven(studiogan: Path, cases: dict[str, list[Any]], **environment: str) -> dict[str, tuple[int, str]]:
    """Exit code and output of main.py a case, in forks of one process that has activated the plugin."""
    given = json.dumps({name: [str(part) for part in options] for name, options in cases.items()})
    environment = {"WANDB_MODE": "disabled", **environment}
    ended = warm_python.run("-c", DRIVER, studiogan / "src", input=given, environment=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return {name: (code, text) for name, code, text in json.loads(ended.stdout.splitlines()[-1])}


def names_that_are_paths(trained: Trained, room: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """S2: StudioGAN makes paths of these names; case -> (sentence, options)."""
    strangers = room / "strangers"
    shutil.copytree(trained.checkpoint, strangers)
    (discriminator,) = strangers.glob("model=D-current*")
    torch.save({**torch.load(discriminator, weights_only=True), "run_name": "../../elsewhere"}, discriminator)
    said, plain = "holds '../../elsewhere' as run_name, which is no name", write_config(room / "named.yaml")
    swap: dict[str, Any] = {"method": "class_swap"}
    return {
        "run-name": (said, {"ckpt": strangers, **swap}),
        "run-name-plain": (said, {"ckpt": strangers, "cfg": plain}),
        "data-name": ("DATA.name: '../toy' is not allowed", {"sections": {"DATA": {"name": "../toy"}}, **swap}),
        "new-class": ("RCAS.new_data: '../old' is not", {"swap": {"b": "../old"}, "new_data": str(trained.new_data), **swap}),
    }


#: Cases that two processes have to see.
OF_TWO = ("canvas", "several-gpus")


def refused_otherwise(studiogan: Path, made: dict[str, tuple[list[Any], str]]) -> list[str]:
    """What main.py did in each case (options, sentence) that it did not refuse with that sentence alone."""
    alone = {name: options for name, (options, _) in made.items() if name not in OF_TWO}
    ends = driven(studiogan, alone) | driven(studiogan, {name: made[name][0] for name in OF_TWO}, RCAS_CPU_PROCESSES="2")
    wrong = []
    for name, (code, text) in ends.items():
        said = [line for line in text.splitlines() if line.startswith("rcas: error: ")]
        if code != 2 or len(said) != 1 or made[name][1] not in said[0] or "Traceback" in text:
            wrong.append(f"{name}: exit code {code}, wanted {made[name][1]!r} in\n{text[-1500:]}")
    return wrong


def test_bad_input(trained: Trained, tmp_path: Path) -> None:
    made: dict[str, tuple[list[Any], str]] = {}
    out, room = tmp_path / "out", tmp_path / "room"
    for folder in (out, room):
        folder.mkdir()

    def case(
        name: str,
        sentence: str,
        *,
        ckpt: Path | None = trained.checkpoint,
        data: Path = trained.new_data,
        sections: dict[str, Any] | None = None,
        options: tuple[str, ...] = (),
        cfg: Path | None = None,
        **rcas: Any,
    ) -> None:
        config = cfg or trained.swap_config(room / f"{name}.yaml", sections=sections, **rcas)
        given = [*TRAIN, *options, "-cfg", str(config), "-data", str(data), "-save", str(out / name)]
        made[name] = ([*given, *(["-ckpt", str(ckpt)] if ckpt else [])], sentence)

    truncated, foreign, empty = (room / name for name in ("truncated", "foreign", "empty"))
    shutil.copytree(trained.checkpoint, truncated)
    generator = next(truncated.glob("model=G-current*"))
    generator.write_bytes(generator.read_bytes()[:1000])
    shutil.copytree(trained.checkpoint, foreign)
    for path in foreign.glob("model=D-*"):
        path.write_bytes(b"\x80\x04\x95 no checkpoint")
    empty.mkdir()
    no_images = write_images(room / "data", "abcd")
    for path in (no_images / "train" / "d").iterdir():
        path.unlink()

    case("unknown-key", "RCAS.swpa: this key is unknown; allowed: method, preset, swap", swpa={9: 0})
    case("slot-outside", "RCAS.swap: slot 7 is outside the labels; allowed: 0 to 2", swap={7: "d"})
    case("slot-remains", "RCAS.remaining: slot b of RCAS.swap cannot remain as well", remaining=["a", "b"])
    case("no-images", "RCAS.swap: the new class 'd' has no images", data=no_images)
    case("no-class", "RCAS.swap: the new class 'z' has no images; classes of the data set: a, b, c, d", swap={"b": "z"})
    case("none-remain", "RCAS.remaining: the list is empty", remaining=[])
    case("ratio", "RCAS.selection.generator_ratio: 1.5 is not allowed; allowed: 0 to 1", selection={"generator_ratio": 1.5})
    case("no-ckpt", "-ckpt is missing", ckpt=None)
    case("missing-ckpt", "-ckpt: there is no folder", ckpt=room / "nowhere")
    case("empty-ckpt", "-ckpt: ", ckpt=empty)
    case("truncated-ckpt", "cannot be read", ckpt=truncated)
    case("foreign-ckpt", "cannot be read", ckpt=foreign)
    case("other-backbone", "is not of this config's deep_conv network",
         sections={"MODEL": {"backbone": "deep_conv", "g_conv_dim": "N/A", "d_conv_dim": "N/A"}})  # fmt: skip
    case("other-width", "is not of this config's resnet network", sections={"MODEL": {"g_conv_dim": 4}})
    case("other-classes", "is not of this config's resnet network (its ", sections={"DATA": {"num_classes": 4}},
         labels=["a", "b", "c", "e"], remaining=["a"])  # fmt: skip
    case(
        "unconditional",
        "RCAS: this config's GAN is not conditional",
        sections={"MODEL": {"g_cond_mtd": "W/O", "d_cond_mtd": "W/O"}},
    )
    case("no-data", "-data: ", data=empty)
    case("frequencies", "--save_freq 3 is no multiple of --print_freq 2", options=("--save_freq", "3"))
    case("canvas", "OPTIMIZATION.batch_size: 12 images a process; allowed: a multiple of 8, or at least 24",
         sections={"OPTIMIZATION": {"batch_size": 24}})  # fmt: skip
    case("upstream-refuses", "load_data_in_memory option is appliable", options=("-l",))
    case("upstream-key", "has a key that StudioGAN does not know", sections={"MODEL": {"no_such_key": 1}})
    case("no-config", "cannot be read", cfg=room / "nowhere.yaml")
    case("ifid", "-ifid: label 2 has no images any more", remaining=["a"], options=("-ifid",))
    propagation: dict[str, tuple[str, dict[str, Any]]] = {
        "stages": ("RCAS.stages: bn 3 and ft 3 do not make up OPTIMIZATION.total_steps 4", {"stages": {"bn": 3, "ft": 3}}),
        "labels-to-add": ("RCAS.add: that makes 4 labels, and DATA.num_classes is 3; set it to 4", {"swap": {}, "add": ["d"]}),
        "classes-and-swap": ("RCAS.classes: it names every label; leave out RCAS.swap", {"classes": ["a", "d", "c"]}),
        "nothing-new": ("RCAS.classes: no class is new", {"swap": {}, "classes": ["a", "b", "c"]}),
        "not-for-class-swap": ("RCAS.add: not with method class_swap", {"method": "class_swap", "add": ["d"]}),
    }
    for name, (sentence, section) in {**propagation, **names_that_are_paths(trained, room)}.items():
        case(name, sentence, **{"method": "bn_propagation", **section})
    case("plain-run-missing-ckpt", "-ckpt: there is no folder", ckpt=room / "nowhere", cfg=write_config(room / "plain.yaml"))
    case("several-gpus", "-DDP is missing: there are several GPUs; add it, or choose one of them")

    before = files(tmp_path) | files(trained.root)
    wrong = refused_otherwise(trained.studiogan, made)
    assert not wrong, "\n\n".join(wrong)
    assert files(tmp_path) | files(trained.root) == before, "something was written"
