"""`rcas fold`: one plain StudioGAN checkpoint from a run whose method has put adapters around the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint, write_checkpoint
from rcas_plugin.checkpoints.lineage import share_tasks
from rcas_plugin.errors import RcasError
from rcas_plugin.files import remove_leftovers, write_json
from rcas_plugin.methods.bn_propagation.drawing import draw_similarity, similarity_scores
from rcas_plugin.record import Record, plain_record, read_record, write_record
from rcas_plugin.weights.adapters import fold_state, is_plain

#: What of a run's record is true of the folded checkpoint too.
_KEPT = {"embedded", "labels_before", "slots", "remaining", "lineage", "base_sha256", "discriminator_sha256"}


def fold_checkpoint(source: str | Path, out: str | Path) -> list[str]:
    """Fold the newest and the best checkpoint of a run into plain ones that any StudioGAN loads; the run is only read.

    What is folded is exact: the same tensors that the run's networks compute. The optimisers start anew. Beside the checkpoint
    lie `similarity.png` and `similarity.json`: which pre-trained class each new one borrows from.

    Args:
        source: the run's checkpoint folder.
        out: a folder of its own.

    Returns:
        The names of the files written.

    Raises:
        RcasError: there is nothing to fold, or `out` is the run itself.
    """
    source, out = Path(source), Path(out)
    if out.resolve() == source.resolve():
        raise RcasError(f"-o: {out} is the run itself, which goes on from its own parameters; name another folder")
    current = {network: read_checkpoint(path) for network, path in checkpoint_files(source).items()}
    if all(is_plain(content["state_dict"]) for content in current.values()):
        raise RcasError(f"-ckpt: {source} holds plain weights alone; there is nothing to fold, use it as it is")
    record = read_record(source)
    remove_leftovers(out)
    for when in ("current", "best"):
        try:
            files = checkpoint_files(source, best=when == "best")
        except RcasError:  # a run that was interrupted before its first save as best
            continue
        for network, path in files.items():
            content = read_checkpoint(path)
            step = int(path.stem.partition("step=")[2])
            write_checkpoint(out, network, when, step, plain_content(content, record, network, out))
    if record.labels:
        kept = record.model_dump(mode="json", include=_KEPT, exclude_unset=True)
        share_tasks(source, out, record)
        write_record(out, {**plain_record(record.labels), **kept, "folded_from": str(source.resolve())})
    _write_similarity(out, current["G"]["state_dict"], record)
    return sorted(path.name for path in out.iterdir())


def plain_content(content: Mapping[str, Any], record: Record, network: str, out: Path) -> dict[str, Any]:
    """The content of a checkpoint file with its adapters folded, and an optimiser of a plain network that starts anew.

    Args:
        content: of the run's file.
        record: of the run.
        network: `G`, `D` or `G_ema`.
        out: the folder that it is written to.

    Raises:
        RcasError: the record does not say how many parameters the plain network has.
    """
    plain = {**content, "state_dict": fold_state(content["state_dict"])}
    role = {"G": "generator", "D": "discriminator"}.get(network)
    if content.get("optimizer") and role is not None:
        count = _plain_parameters(record).get(role)
        if count is None or not 0 < count <= len(plain["state_dict"]):
            raise RcasError(
                f"-ckpt: the record rcas.json does not say how many parameters {network} has; run a step of the run again"
            )
        first, *_ = content["optimizer"]["param_groups"]
        plain["optimizer"] = {"state": {}, "param_groups": [{**first, "params": list(range(count))}]}
    if "best_fid_ckpt" in plain:
        plain["best_fid_ckpt"] = str(out)
    return plain


def without_moments(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint file whose weights are others now: its optimiser, where it has one, starts anew."""
    optimizer = content.get("optimizer")
    return {**content, "optimizer": {**optimizer, "state": {}}} if optimizer else dict(content)


def _plain_parameters(record: Record) -> dict[str, int]:
    """Role -> the number of parameters of the plain network; runs of version 0.1.0 recorded it at the top level."""
    for place in (record.method, record.model_extra or {}):
        counts = place.get("plain_parameters")
        if isinstance(counts, dict):
            return {role: count for role, count in counts.items() if isinstance(count, int)}
    return {}


def _write_similarity(out: Path, state: dict[str, Any], record: Record) -> None:
    scores = similarity_scores(state)
    if not scores:
        return
    rows, columns = next(iter(scores.values())).shape
    before = record.labels_before if len(record.labels_before) == columns else [str(label) for label in range(columns)]
    new = list(record.slots.values()) if len(record.slots) == rows else [str(row) for row in range(rows)]
    draw_similarity(out / "similarity.png", state, before, new)
    layers = {name: [[round(float(score), 4) for score in row] for row in values] for name, values in scores.items()}
    write_json(out / "similarity.json", {"new": new, "before": before, "scores": layers})
