"""Brings the fixtures of `shared.py`, but not into the process that only hands the tests out (`pytest -n`): they import torch."""

from __future__ import annotations

import importlib

import pytest


def pytest_configure(config: pytest.Config) -> None:
    hands_out = getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput")
    if not hands_out:
        config.pluginmanager.register(importlib.import_module(".shared", __package__))
