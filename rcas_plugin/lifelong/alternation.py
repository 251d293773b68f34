"""Classifier and GAN in turn: each classifier learns from the GAN before it, each GAN is taught with the classifier before it.

C_0 and G_0 are of the first task, and the same for every strategy of a seed. At each later task t the classifier C_t learns the
new classes, with images of G_(t-1) in the place of the old ones; then G_t is taught the new classes, and keeps the old ones by
replay from G_(t-1). After the last task no GAN is needed any more.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from rcas_plugin.data.stock import Stock
from rcas_plugin.files import remove_leftovers, write_json
from rcas_plugin.gan import default_device
from rcas_plugin.lifelong.data import Images
from rcas_plugin.lifelong.generators import (
    MEMORY,
    base_config,
    draw_memory,
    newest_run,
    read_memory,
    task_section,
    train_gan,
)
from rcas_plugin.lifelong.plan import Plan
from rcas_plugin.lifelong.stages import Stage
from rcas_plugin.lifelong.strategies import STRATEGIES
from rcas_plugin.lifelong.training import Lesson, right_by_class, train_first, train_later
from rcas_plugin.methods.feature_replay.classifier import FeatureClassifier, load_classifier, save_classifier
from rcas_plugin.widen import widen_checkpoint

#: In a classifier's stage: its weights, and how many test images of each class it names rightly.
CLASSIFIER, RESULT = "classifier.safetensors", "result.json"
#: How the checkpoint folder of the first task's GAN is called once it has a label for every class.
WIDENED = "checkpoint"


@dataclass(frozen=True)
class Outcome:
    """What a strategy came to with one seed.

    Attributes:
        strategy: its name.
        seed: of the run.
        tasks: for each task, class so far -> (images named rightly, images), of the test images.
        seconds: of all that the strategy needs, the first task's classifier and GAN with it.
    """

    strategy: str
    seed: int
    tasks: tuple[Mapping[str, tuple[int, int]], ...]
    seconds: float


class Alternation:
    """The stages of a plan, in their order; a stage that is done is not done again.

    Args:
        plan: what is trained.
        config: of the first task's GAN; None where no strategy has one.
        folders: of each task's images.
        images: the same, in memory.
        out: where stages lie.
        studiogan: the root folder of a StudioGAN elsewhere.
    """

    def __init__(
        self,
        plan: Plan,
        config: Mapping[str, Any] | None,
        folders: tuple[Path, ...],
        images: Images,
        out: Path,
        *,
        studiogan: Path | None = None,
    ) -> None:
        self.plan, self.config, self.folders, self.images, self.out = plan, config, folders, images, out
        self.studiogan = studiogan
        self.device = default_device()

    def run(self) -> list[Outcome]:
        """Every stage that is not done yet; the outcomes of all, seeds outermost."""
        with tqdm(total=self._count(), desc="classify", unit="stage", disable=None) as self._bar:
            return [self._outcome(name, seed) for seed in range(self.plan.seeds) for name in self.plan.strategies]

    def _count(self) -> int:
        """How many stages there are, those that strategies share counted for each."""
        later = len(self.plan.tasks) - 1
        replayed = 3 + 2 * (later - 1)
        each = [1 + later + (replayed if STRATEGIES[name].past == "generated" else 0) for name in self.plan.strategies]
        return self.plan.seeds * sum(each)

    def _outcome(self, name: str, seed: int) -> Outcome:
        """One strategy from the first task to the last."""
        plan, strategy, shared = self.plan, STRATEGIES[name], self.out / f"seed-{seed}"
        own = shared / name
        classifiers = [self._do(shared / "classifier-0", partial(self._first_classifier, seed))]
        others: list[Stage] = []
        memory: Stage | None = None
        if strategy.past == "generated":
            gan = self._do(shared / "gan-0", partial(self._first_gan, seed))
            widened = self._do(shared / "widened", partial(self._widen, gan))
            run = widened.folder / WIDENED
            memory = self._do(shared / "memory-0", partial(self._draw, run, 0, seed))
            others = [gan, widened, memory]
        for task in range(1, len(plan.tasks)):
            learn = partial(self._later_classifier, name, task, seed, classifiers[-1], memory)
            classifiers.append(self._do(own / f"classifier-{task}", learn))
            if strategy.past == "generated" and task < len(plan.tasks) - 1:
                teach = partial(self._later_gan, name, task, seed, run, classifiers[-1])
                gan = self._do(own / f"gan-{task}", teach)
                run = _run_of(gan)
                memory = self._do(own / f"memory-{task}", partial(self._draw, run, task, seed))
                others += [gan, memory]
        results = [json.loads((stage.folder / RESULT).read_text(encoding="utf-8")) for stage in classifiers]
        tasks = tuple({name: (right, total) for name, (right, total) in result.items()} for result in results)
        return Outcome(name, seed, tasks, sum(stage.seconds for stage in [*classifiers, *others]))

    def _do(self, folder: Path, work: Callable[[Path], None]) -> Stage:
        """A stage, done now or before."""
        stage = Stage(folder)
        if not stage.done:
            self._bar.set_postfix_str(str(folder.relative_to(self.out)))
            remove_leftovers(folder)
            with stage.at_work():
                work(folder)
        self._bar.update(1)
        return stage

    # classifiers ------------------------------------------------------------------------------------------------------------

    def _first_classifier(self, seed: int, folder: Path) -> None:
        lesson = Lesson(self.images.of([0]), None, len(self.plan.seen(0)), 0, _seed(seed, 0), "classifier")
        self._keep(train_first(self.plan.classifier, lesson, len(self.plan.classes), self.device), folder, 0)

    def _later_classifier(self, name: str, task: int, seed: int, before: Stage, memory: Stage | None, folder: Path) -> None:
        strategy = STRATEGIES[name]
        past: Stock | None = None
        if strategy.past == "real":
            past = self.images.of(range(task))
        elif memory is not None:
            past = read_memory(memory.folder / MEMORY, len(self.plan.classes))
        lesson = Lesson(self.images.of([task]), past, len(self.plan.seen(task)), len(self.plan.seen(task - 1)),
                        _seed(seed, task), f"classifier, task {task}")  # fmt: skip
        earlier = load_classifier(before.folder / CLASSIFIER, "-o").classifier.to(self.device)
        self._keep(train_later(self.plan.classifier, self.plan.losses, lesson, earlier, distils=strategy.distils), folder, task)

    def _keep(self, classifier: FeatureClassifier, folder: Path, task: int) -> None:
        seen = self.plan.seen(task)
        write_json(folder / RESULT, right_by_class(classifier, self.images.test[: task + 1], seen))
        save_classifier(folder / CLASSIFIER, classifier, self.plan.classes)

    # GANs -------------------------------------------------------------------------------------------------------------------

    def _first_gan(self, seed: int, folder: Path) -> None:
        if self.plan.gan.ckpt is None:
            assert self.config is not None, "a plan with such a strategy has one"
            config = base_config(self.config, len(self.plan.tasks[0]), self.plan.gan.first_steps)
            train_gan(config, self.folders[0], folder, None, seed=seed, studiogan=self.studiogan)

    def _widen(self, gan: Stage, folder: Path) -> None:
        run = _run_of(gan) if self.plan.gan.ckpt is None else Path(self.plan.gan.ckpt)
        shutil.rmtree(folder / WIDENED, ignore_errors=True)  # of an attempt that was interrupted
        later = [name for task in self.plan.tasks[1:] for name in task]
        widen_checkpoint(run, folder / WIDENED, later, studiogan=self.studiogan)

    def _later_gan(self, name: str, task: int, seed: int, start: Path, judge: Stage, folder: Path) -> None:
        assert self.config is not None, "a plan with such a strategy has one"
        strategy, keys = STRATEGIES[name], self.plan.gan.rcas.get(name, {})
        assert strategy.method is not None, "its images are generated"
        classifier = judge.folder / CLASSIFIER if strategy.asks_classifier else None
        config = base_config(self.config, len(self.plan.classes), self.plan.gan.steps)
        config["RCAS"] = task_section(strategy.method, self.plan.tasks[task], keys, classifier)
        train_gan(config, self.folders[task], folder, start, seed=seed, studiogan=self.studiogan)

    def _draw(self, run: Path, task: int, seed: int, folder: Path) -> None:
        draw_memory(run, self.plan.seen(task), self.plan.classifier.memory, folder / MEMORY, seed=_seed(seed, task),
                    studiogan=self.studiogan)  # fmt: skip


def _run_of(gan: Stage) -> Path:
    run = newest_run(gan.folder)
    assert run is not None, "the stage is done"
    return run


def _seed(seed: int, task: int) -> int:
    """A seed for each task of each run."""
    return 1000 * seed + task
