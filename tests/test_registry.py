"""Tables of names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from torch import nn

import rcas_plugin
from rcas_plugin import Context, Method, RcasError
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.registry import Table, callbacks, losses, methods, objectives, phases
from rcas_plugin.settings import parse_settings

from .shared import begin


def test_what_the_plugin_registers() -> None:
    assert {"class_swap", "fine_tune"} <= set(methods)
    assert phases is methods, "the earlier name, which packages of third parties register with"
    assert set(losses) == {"class_swap"}
    assert set(callbacks) == {"synapse_importance"}
    assert set(objectives) == {"adv_output", "class_logit", "class_probability", "feature_norm"}


def test_a_name_is_taken_once() -> None:
    table: Table[int] = Table("thing")
    table.register("a")(1)
    table.register("a")(1)  # the same entry again, as where a module is imported twice
    with pytest.raises(RcasError, match="the thing 'a' is registered already"):
        table.register("a")(2)


def test_an_unknown_name_lists_those_there_are() -> None:
    table: Table[int] = Table("thing")
    table.register("b")(1)
    table.register("a")(2)
    with pytest.raises(RcasError, match="there is no thing 'c'; there are: a, b"):
        table["c"]


def test_a_method_of_a_third_party_is_run_by_its_name(monkeypatch: pytest.MonkeyPatch, pair: Any) -> None:
    monkeypatch.setattr(methods, "_entries", dict(methods._entries))

    @methods.register("hold_the_generator")
    class Hold(Method):
        def trained(self, gan: Gan) -> Iterable[nn.Parameter]:
            return gan.discriminator.parameters()

    settings = parse_settings({"method": "hold_the_generator", "swap": {0: 1}})
    method = methods[settings.method](Context(settings, LabelPlan(2, {0: 1}, {}, ("b",), ("a",))))
    gan = Gan(*pair, None, gaussian_latents(6))
    lifecycle = begin(method, gan)
    lifecycle.choose_trained()
    assert lifecycle.freezes
    assert not any(parameter.requires_grad for parameter in gan.generator.parameters())
    assert all(parameter.requires_grad for parameter in gan.discriminator.parameters())


def test_a_method_of_the_old_contract_is_refused() -> None:
    with pytest.raises(RcasError, match=r"Old.trainable is not called any more; return the parameters that move from trained"):

        class Old(Method):
            def trainable(self, role: str, name: str) -> bool:
                return True


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(rcas_plugin.__all__) == sorted(rcas_plugin.__all__)
    assert all(hasattr(rcas_plugin, name) for name in rcas_plugin.__all__)
    assert set(rcas_plugin.__all__) <= set(dir(rcas_plugin))
    assert not hasattr(rcas_plugin, "no_such_name")


def test_the_plugins_own_names_come_first_whoever_enters_one() -> None:
    """A registry that nobody has asked yet refuses a name that the plugin has."""
    code = (
        "from rcas_plugin.registry import methods\n"
        "from rcas_plugin.errors import RcasError\n"
        "try: methods.register('class_swap')(object())\n"
        "except RcasError as error: assert 'is registered already' in str(error); raise SystemExit(0)\n"
        "raise SystemExit('taken twice')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_plugin_alone_imports_nothing_of_upstream() -> None:
    code = (
        "import sys, rcas_plugin.hooks, rcas_plugin.studiogan.activation, rcas_plugin.cli;"
        "rcas_plugin.cli.build_parser();"  # imports every command
        "assert not {'config', 'loader', 'worker', 'kornia', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
