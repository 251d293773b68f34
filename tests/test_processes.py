"""Importance in two processes against one."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from rcas_plugin import synapse_importance
from rcas_plugin.embedded.networks import Discriminator, Generator


def networks() -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    return Generator(z_dim=6, num_classes=4, g_conv_dim=1), Discriminator(num_classes=4, d_conv_dim=2)


def stop_at_128(importance: Any) -> bool:
    return bool(importance.settings["samples"] >= 128)


CASES: list[dict[str, Any]] = [
    {"num_samples": 7, "estimator": "per_sample"},
    {"num_samples": 7, "estimator": "fisher"},
    {"num_samples": 7, "estimator": "batch"},
    {"num_samples": 300, "stop": stop_at_128},
]


def work(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = [synapse_importance(*networks(), labels=[1, 2], seed=3, progress=False, **case) for case in CASES]
    torch.save([(dict(one.generator), dict(one.discriminator), one.settings["samples"]) for one in found], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for case, *results in zip(CASES, *both, strict=True):
        alone = synapse_importance(*networks(), labels=[1, 2], seed=3, progress=False, **case)
        for generator, discriminator, samples in results:
            assert samples == alone.settings["samples"]
            for found, expected in ((generator, alone.generator), (discriminator, alone.discriminator)):
                for name, value in expected.items():
                    torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6 * float(value.max()) + 1e-9)
