"""What all passes over a backbone's graph share: the tracer, and questions about nodes."""
from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from ..models.tracing import InPlaceTracer
from .eager import has_hooks

if TYPE_CHECKING:
    from typing import TypeGuard  # from Python 3.10 on

PACKAGE = __name__.partition('.')[0]
Function = TypeVar('Function', bound=Callable)
Layer = TypeVar('Layer', bound=nn.Module)

# Functions that a graph calls as they are.
whole_functions: list[Callable] = []


def whole(function: Function) -> Function:
    """A decorator: the tracer does not look into the function; without it a stored graph could not be read again."""
    whole_functions.append(function)
    return function


class Tracer(InPlaceTracer):
    """Tracer that looks into this package's modules alone.

    Whole, as they are, stay layers of PyTorch and of toolboxes, modules with hooks, which would not run otherwise, and
    subclasses whose methods are not ours.
    """

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(whole_functions))

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return not is_untouched(module) or not (type(module).forward is nn.Sequential.forward or is_ours(module))


def is_untouched(module: nn.Module) -> bool:
    """Whether a module does what its class says: it has no hooks, and no forward of its own."""
    return not has_hooks(module) and 'forward' not in vars(module)


def is_ours(module: nn.Module) -> bool:
    """Whether a module is of a class of this package, or of a subclass that adds to it and changes nothing."""
    classes = type(module).__mro__
    ours = next((i for i, cls in enumerate(classes) if cls.__module__.partition('.')[0] == PACKAGE), None)
    if ours is None:
        return False
    changed = {name for cls in classes[:ours] for name in vars(cls) if not name.startswith('__')}
    return not any(hasattr(classes[ours], name) for name in changed)


def trace(module: nn.Module) -> fx.GraphModule:
    """The graph of a module as a module, which shares the layers.

    Raises:
        ValueError: If the module is not a graph: it has a forward of its own, or what it does depends on its input.
    """
    name = type(module).__name__
    if 'forward' in vars(module):
        raise ValueError(f'{name} has a forward of its own, which its class does not know of')
    tracer = Tracer()
    try:
        graph = tracer.trace(module)
    except Exception as error:  # whatever a foreign forward does with what is no tensor
        raise ValueError(f'{name} is not a graph of layers: {error}') from error
    return fx.GraphModule(tracer.root, graph, f'Fast{name}')


def note_shapes(module: fx.GraphModule, images: Tensor) -> None:
    """Note the shape and type of every tensor, for these images."""
    with torch.no_grad():
        ShapeProp(module).propagate(images)


def noted(node: Any) -> tuple[tuple[int, ...], torch.dtype] | None:
    """The noted shape and type of a tensor; None of anything else."""
    metadata = node.meta.get('tensor_meta') if isinstance(node, fx.Node) else None
    return (tuple(metadata.shape), metadata.dtype) if isinstance(metadata, TensorMetadata) else None


def feature_shape(node: fx.Node) -> tuple[int, ...]:
    """The noted shape of a feature map, (n, c, h, w); () of anything else."""
    shape = (noted(node) or ((), None))[0]
    return shape if len(shape) == 4 else ()


def called_module(node: Any, module: fx.GraphModule) -> nn.Module | None:
    """The module that a node calls; None if it calls none, or is no node."""
    return module.get_submodule(node.target) if isinstance(node, fx.Node) and node.op == 'call_module' else None


def plain_layer(node: Any, module: fx.GraphModule, *types: type[Layer]) -> Layer | None:
    """The layer that a node calls with one tensor, if it is of one of these types and nobody changed it."""
    layer = called_module(node, module)
    if layer is None or not is_of(layer, *types) or not is_untouched(layer) or len(node.args) != 1 or node.kwargs:
        return None
    return layer if isinstance(node.args[0], fx.Node) else None


def is_of(layer: nn.Module, *types: type[Layer]) -> TypeGuard[Layer]:
    """Whether a layer is of exactly one of these types; mmcv's SyncBatchNorm is PyTorch's, and checks less."""
    return type(layer) in types or (isinstance(layer, nn.SyncBatchNorm) and nn.SyncBatchNorm in types
                                    and type(layer).forward is nn.SyncBatchNorm.forward)


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that uses a node's output, if there is exactly one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def is_addition(node: fx.Node) -> bool:
    """Whether a node adds two values to a new one, without a factor."""
    return (node.op == 'call_function' and node.target in (operator.add, torch.add) and not node.kwargs
            and len(node.args) == 2)


HARMLESS_LAYERS = (nn.Conv2d, nn.Identity, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Sigmoid,
                   nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm)
HARMLESS_CALLS = (operator.add, operator.mul, operator.getitem, getattr, torch.add, torch.cat, torch.sigmoid,
                  'split', 'chunk', 'size')


def may_change_tensors(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a node may write into a tensor that exists; all are assumed to but those that are known not to."""
    layer = called_module(node, module)
    if layer is None:
        return node.op.startswith('call') and ('out' in node.kwargs
                                               or node.target not in (*HARMLESS_CALLS, *whole_functions))
    harmless = (type(layer).__module__.startswith(__name__.rpartition('.')[0]) or is_of(layer, *HARMLESS_LAYERS)
                or type(layer) is nn.ReLU and not layer.inplace)
    return not (harmless and is_untouched(layer))


def nothing_changes_between(first: fx.Node, last: fx.Node, module: fx.GraphModule) -> bool:
    """Whether no node after the first and before the last, in their order, may write into a tensor that exists."""
    node = first.next
    while node is not last:
        if may_change_tensors(node, module):
            return False
        node = node.next
    return True
