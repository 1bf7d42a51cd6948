"""Parameters, multiply-adds, running times and memory of classifiers, side by side."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Callable, Iterator, Sequence

from torch import Tensor, nn

from ..models.complexity import count, traffic
from ..models.names import resolve
from .contenders import BASELINE, CLASSES, OURS, build_contenders, check_paths, is_training, no_progress, random_batch
from .timing import MeasuringSettings, Ratio, matrix_product, peak_memory, ratio_of_times, tensor_copy, time_rounds

DEFAULT_ARCHS = (BASELINE, 'res2net50_48w2s', 'res2net50_26w4s', 'res2net50_14w8s', 'res2net50_18w4s')  # Table 3
TRAINING_COST = 3  # a step computes as much as three forward passes: one, and the gradients of inputs and of weights


# 1. What is known before anything runs.


@dataclass(frozen=True)
class ClassifierCost:
    """What a classifier needs.

    Attributes:
        params (int): Parameters.
        macs (int): Multiply-adds of an image.
        moved (int): Values of an image that convolutions and linear layers read and write.
        weights (int): Values of their weights.
        published_ratio (float | None): The running time that the paper prints, divided by ResNet-50's.
    """

    params: int
    macs: int
    moved: int
    weights: int
    published_ratio: float | None


def classifier_cost(arch: str, image_size: int) -> ClassifierCost:
    """Count what the classifier of an architecture needs for images of a size.

    Raises:
        ValueError: If there is no such architecture.
    """
    backbone = resolve(arch).config
    return ClassifierCost(*count(backbone, image_size, CLASSES), *traffic(backbone, image_size, CLASSES),
                          published_time_ratio(arch))


def published_time_ratio(arch: str) -> float | None:
    """The running time that Table 3 prints for an architecture divided by ResNet-50's; None if it prints none."""
    milliseconds, of_baseline = (resolve(name).published.runtime_ms for name in (arch, BASELINE))
    return milliseconds / of_baseline if milliseconds and of_baseline else None


# 2. Results.


@dataclass(frozen=True)
class ClassifierRow:
    """The times of a classifier from one source, run in one way on one batch.

    Attributes:
        arch (str): Name of the architecture.
        source (str): Whose model of it: ``OURS`` or a key of ``PEERS``.
        path (str): How it runs: a key of ``PATHS``.
        batch_size (int): Images in the batch.
        seconds (list[float]): Of every round.
        cost (ClassifierCost): What it needs.
        to_baseline (Ratio | None): Its times divided by those of ResNet-50 from the same source in the same way.
        to_ours (Ratio | None): Its times divided by those of our model in the same way; None for our own.
        product_share (float): Share of the rate at which the machine multiplies matrices.
        copy_share (float | None): Share of the bandwidth of a copy; None for training.
        step_memory (int | None): Bytes that a training step allocates at its peak; None for inference.
        memory (int | None): These, and the bytes that training holds between two steps; None for inference.
    """

    arch: str
    source: str
    path: str
    batch_size: int
    seconds: list[float]
    cost: ClassifierCost
    to_baseline: Ratio | None = None
    to_ours: Ratio | None = None
    product_share: float = 0.
    copy_share: float | None = None
    step_memory: int | None = None
    memory: int | None = None

    @property
    def ms(self) -> float:
        """Milliseconds of a run: the median over the rounds."""
        return 1e3 * median(self.seconds)

    @property
    def images_per_second(self) -> float:
        """Images per second, from the same median."""
        return self.batch_size / median(self.seconds)

    @property
    def tflops(self) -> float:
        """Floating-point operations per second, in 10^12."""
        return operations(self.cost, self.path, self.batch_size) / median(self.seconds) / 1e12

    def to_json(self) -> dict:
        """As benchmark.json has it."""
        cost = asdict(self.cost)
        memory = (dict(step_memory=self.step_memory, memory=self.memory) if is_training(self.path) else
                  dict(of_copy=self.copy_share))
        return dict(preset=self.arch, source=self.source, path=self.path, batch_size=self.batch_size, ms=self.ms,
                    images_per_second=self.images_per_second, paper=cost.pop('published_ratio'), **cost,
                    to_baseline=self.to_baseline and asdict(self.to_baseline),
                    to_ours=self.to_ours and asdict(self.to_ours), tflops=self.tflops, of_product=self.product_share,
                    **memory, seconds=self.seconds)


@dataclass(frozen=True)
class Ceilings:
    """What the machine does when nothing is in the way: 10^12 operations of a matrix product, 10^9 bytes of a copy."""

    product_tflops: float
    copy_gbs: float


@dataclass
class ClassifierReport:
    """The results of a benchmark.

    Attributes:
        settings (MeasuringSettings): Where and how often things were timed.
        provenance (dict): What ``settings.describe`` returned at the start.
        image_size (int): Side of the images in pixels.
        ceilings (Ceilings | None): Of the machine, with the last batch; None before the first.
        rows (list[ClassifierRow]): The times.
        left_out (list[str]): What was not timed, and why.
    """

    settings: MeasuringSettings
    provenance: dict
    image_size: int
    ceilings: Ceilings | None = None
    rows: list[ClassifierRow] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict:
        """The content of benchmark.json."""
        ceilings = asdict(self.ceilings) if self.ceilings else {}
        return dict(self.provenance, image_size=self.image_size, ceilings=ceilings,
                    rows=[row.to_json() for row in self.rows], left_out=self.left_out)


# 3. Measuring.


def benchmark_classifiers(archs: Sequence[str], sources: Sequence[str], paths: Sequence[str],
                          batch_sizes: Sequence[int], image_size: int, settings: MeasuringSettings,
                          progress: Callable[[], None] = no_progress) -> Iterator[ClassifierReport]:
    """Time every architecture from every source in every way on batches of noise.

    Args:
        archs (Sequence[str]): Names of architectures.
        sources (Sequence[str]): Whose models: ``OURS`` and keys of ``PEERS``.
        paths (Sequence[str]): How they run: keys of ``PATHS``.
        batch_sizes (Sequence[int]): Images in a batch.
        image_size (int): Side of the images in pixels.
        settings (MeasuringSettings): Where and how often.
        progress (Callable): Called after every model that is built. Defaults to doing nothing.

    Returns:
        Iterator[ClassifierReport]: After every batch size the report with what there is so far.

    Raises:
        ValueError: If there is no such architecture, or a path does not run on the device or in the type.
    """
    check_paths(paths, settings.device, settings.dtype)
    costs = {arch: classifier_cost(arch, image_size) for arch in archs}
    report = ClassifierReport(settings, settings.describe(), image_size)

    def measure_batches():
        for batch_size in batch_sizes:
            batch = random_batch(batch_size, image_size, settings)
            rows, report.ceilings, left_out = time_classifiers(costs, sources, paths, batch, settings.rounds, progress)
            report.rows += rows
            report.left_out += [line for line in left_out if line not in report.left_out]
            yield report

    return measure_batches()


def time_classifiers(costs: dict[str, ClassifierCost], sources: Sequence[str], paths: Sequence[str], batch: Tensor,
                     rounds: int, progress: Callable[[], None] = no_progress
                     ) -> tuple[list[ClassifierRow], Ceilings, list[str]]:
    """Time every architecture from every source in every way on one batch.

    Args:
        costs (dict[str, ClassifierCost]): What every architecture needs.
        sources (Sequence[str]): Whose models: ``OURS`` and keys of ``PEERS``.
        paths (Sequence[str]): How they run: keys of ``PATHS``.
        batch (Tensor): (n, 3, h, w).
        rounds (int): How often everything is timed.
        progress (Callable): Called after every model that is built. Defaults to doing nothing.

    Returns:
        tuple[list[ClassifierRow], Ceilings, list[str]]: A row for everything timed; the machine's ceilings; and why
        something was not timed.
    """
    contenders, left_out = build_contenders(costs, sources, paths, batch, progress)
    product, product_operations = matrix_product(batch.device, batch.dtype)
    copy, copied_bytes = tensor_copy(batch.device)
    runs = [*(contender.run for contender in contenders), product, copy]
    *all_seconds, product_seconds, copy_seconds = time_rounds(runs, rounds)
    seconds_by_contender = {(contender.arch, contender.source, contender.path): seconds
                            for contender, seconds in zip(contenders, all_seconds)}
    rows = []
    for contender, seconds in zip(contenders, all_seconds):
        arch, source, path, cost = contender.arch, contender.source, contender.path, costs[contender.arch]
        baseline_seconds = seconds_by_contender.get((BASELINE, source, path))
        our_seconds = seconds_by_contender.get((arch, OURS, path)) if source != OURS else None
        copy_share = step_memory = memory = None
        if is_training(path):
            step_memory = peak_memory(contender.run, batch.device)
            memory = step_memory + standing_memory(contender.model, batch)
        else:
            moved_bytes = (cost.moved * len(batch) + cost.weights) * batch.element_size()
            copy_share = moved_bytes / copied_bytes * ratio_of_times(copy_seconds, seconds).median
        product_share = (operations(cost, path, len(batch)) / product_operations
                         * ratio_of_times(product_seconds, seconds).median)
        rows.append(ClassifierRow(
            arch, source, path, len(batch), seconds, cost,
            to_baseline=ratio_of_times(seconds, baseline_seconds) if baseline_seconds else None,
            to_ours=ratio_of_times(seconds, our_seconds) if our_seconds else None,
            product_share=product_share, copy_share=copy_share, step_memory=step_memory, memory=memory))
    ceilings = Ceilings(product_operations / median(product_seconds) / 1e12, copied_bytes / median(copy_seconds) / 1e9)
    return rows, ceilings, left_out


def operations(cost: ClassifierCost, path: str, batch_size: int) -> int:
    """Floating-point operations of a run on a batch; a multiply-add counts as two."""
    return 2 * cost.macs * batch_size * (TRAINING_COST if is_training(path) else 1)


def standing_memory(model: nn.Module, batch: Tensor) -> int:
    """The bytes that training holds between two steps: weights and momentum, buffers, the images."""
    trained = sum(value.nbytes for value in model.parameters())
    return 2 * trained + sum(value.nbytes for value in model.buffers()) + batch.nbytes
