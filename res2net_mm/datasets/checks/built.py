"""What the checks look at once datasets are built."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from .configs import leaves

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset
    from mmengine.runner import BaseLoop, Runner
    from torch import nn
    from torch.utils.data import DataLoader


@dataclass(frozen=True)
class BuiltSplit:
    """One split of a run, built.

    Attributes:
        name (str): 'train', 'val' or 'test'.
        datasets (list[BaseDataset]): Its datasets of mmengine's kind, without wrappers.
        metrics (list[BaseMetric]): What it is evaluated by. Defaults to none.
        dataloader (DataLoader | None): What makes batches of it. Defaults to None.
        bad_images_are_fatal (bool): Whether bad images to evaluate on end the run; otherwise they count as wrong.
            Defaults to True.
        iterations (int | None): After how many batches the training ends. Defaults to None: not known.
    """

    name: str
    datasets: list[BaseDataset]
    metrics: list[Any] = field(default_factory=list)
    dataloader: DataLoader | None = None
    bad_images_are_fatal: bool = True
    iterations: int | None = None

    @classmethod
    def from_loop(cls, name: str, loop: BaseLoop | None, bad_images_are_fatal: bool = True) -> BuiltSplit:
        """The split that a loop of a Runner goes over; one without datasets if there is no loop."""
        from mmengine.dataset import BaseDataset
        dataloader = getattr(loop, 'dataloader', None)
        datasets = [leaf for leaf in leaves(getattr(dataloader, 'dataset', None)) if isinstance(leaf, BaseDataset)]
        return cls(name, datasets, list(getattr(getattr(loop, 'evaluator', None), 'metrics', [])), dataloader,
                   bad_images_are_fatal, getattr(loop, 'max_iters', None))

    @staticmethod
    def annotations(dataset: BaseDataset) -> Iterator[dict]:
        """What one of the datasets knows of each of its images."""
        from mmengine.dataset import BaseDataset
        for index in range(len(dataset)):
            # mmpose's own get_data_info copies the metainfo for each of 100,000 detections, and counts them as loaded.
            yield BaseDataset.get_data_info(dataset, index)

    def pipelines(self, dataset: BaseDataset) -> list[Any]:
        """The pipelines of one of the datasets, and of wrappers: mmpose's CombinedDataset loads the images."""
        wrappers = [item for item in with_wrapped(getattr(self.dataloader, 'dataset', None))
                    if item not in self.datasets]
        return [item.pipeline for item in [dataset, *wrappers] if hasattr(item, 'pipeline')]

    def transforms(self, dataset: BaseDataset) -> list[Any]:
        """The transforms in those pipelines."""
        return [transform for pipeline in self.pipelines(dataset) for transform in getattr(pipeline, 'transforms', [])]


def with_wrapped(dataset: Any) -> list:
    """A dataset and all that it wraps, such as those of a ConcatDataset; nothing for None."""
    if dataset is None or isinstance(dataset, str):
        return []
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    return [dataset, *(item for wrapped in inner for item in with_wrapped(wrapped))]


@dataclass(frozen=True)
class BuiltModel:
    """The model of a run, and the config that it was built from.

    Attributes:
        module (nn.Module): The model, without a distributed wrapper.
        config (Mapping[str, Any]): The whole config; the messages name its keys. Defaults to an empty one.
    """

    module: nn.Module
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_runner(cls, runner: Runner) -> BuiltModel | None:
        """The model of a Runner; None if it is built later, by a training strategy of its own."""
        from torch import nn

        from ...models.parts import bare_model
        return cls(bare_model(runner.model), runner.cfg) if isinstance(runner.model, nn.Module) else None
