"""Modules of this package as graphs of PyTorch's and toolboxes' layers (``torch.fx``), and TorchScript by these.

Written down as a graph, a module needs no word of TorchScript itself: ``torch.jit.script(model)`` compiles the graph.
"""
from __future__ import annotations

import copy
import operator
from typing import Any, Callable

import torch
from torch import fx, nn


def record_in_place(function: Callable) -> Callable:
    """The method of a proxy that records an operator such as ``+=``."""
    return lambda proxy, other: proxy.tracer.create_proxy('call_function', function, (proxy, other), {})


# A stand-in for a tensor while a graph is recorded.
Proxy = type('Proxy', (fx.Proxy, ), {f'__{function.__name__}__': record_in_place(function) for function in (
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow,
    operator.iand, operator.ior, operator.ixor)})


class InPlaceTracer(fx.Tracer):
    """Tracer that sees ``x += y``: torch.fx takes it for ``x = x + y``, though x may have other names.

    Its graphs have no annotations. TorchScript does not know all of Python's, and those of this package are texts, with
    which a graph could not be stored.
    """

    def trace(self, *args: Any, **options: Any) -> fx.Graph:
        """The graph of a module; arguments as in ``torch.fx.Tracer``."""
        graph = super().trace(*args, **options)
        for node in graph.nodes:
            node.type = None
        return graph

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The stand-in for what a node gives."""
        return Proxy(node, self)


class LayerTracer(InPlaceTracer):
    """Tracer that looks into sequences and modules of this package, and leaves all other layers whole."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether a module is a layer."""
        return not (type(module) is nn.Sequential or is_of_this_package(module))

    def call_module(self, module: nn.Module, forward: Any, args: tuple, kwargs: dict) -> Any:
        """Note a call, unless somebody watches a module that does not occur in the graph."""
        if not self.is_leaf_module(module, ''):
            refuse_hooks(module, self.path_of_module(module))
        return super().call_module(module, forward, args, kwargs)


def is_of_this_package(module: nn.Module) -> bool:
    """Whether a module's class, or one that it inherits, is defined in this package."""
    return any(cls.__module__.startswith(f'{__package__.partition(".")[0]}.') for cls in type(module).__mro__)


def has_own_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks that a call of it runs: forward, backward, before or after."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
                or module._backward_pre_hooks)


def refuse_hooks(module: nn.Module, name: str) -> None:
    """Stop at a module with hooks of its own.

    Raises:
        RuntimeError: If it has some; the message names the module.
    """
    if has_own_hooks(module):
        raise RuntimeError(f'torch.jit.script: {name} has hooks, and TorchScript would leave them out; remove them, or '
                           'put them on the layers inside')


class Scriptable(nn.Module):
    """A module that ``torch.jit.script`` compiles by its graph, alone or as part of a model.

    The compiled module shares weights and names with this one, which stays as it is. It always stores its activations
    (``with_cp`` has no effect), and its ``train()`` is that of every compiled module, which knows nothing of
    ``frozen_stages`` and ``norm_eval``: set the mode before compiling.
    """

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` compiles instead of this module."""
        return ScriptableGraph(self)


class ScriptableGraph(fx.GraphModule):
    """The graph of a module for TorchScript, and the module itself for all others.

    ``torch.jit.script`` puts it into the place of the module in the model that it is given, and leaves it there. So it
    runs, trains, takes weights and hooks, and is copied as the module would be; but the stages and blocks in it are
    empty shells around the layers. Whoever needs them scripts a copy of the model.

    Args:
        module (nn.Module): The module; the layers in the graph are its own.

    Raises:
        RuntimeError: If there are hooks on the module, or on one inside that does not occur in the graph.
    """

    __jit_ignored_attributes__ = ['origin']

    def __init__(self, module: nn.Module) -> None:
        refuse_hooks(module, type(module).__name__)
        with torch.no_grad():  # where no gradient is wanted blocks are not checkpointed, which has no graph
            graph = LayerTracer().trace(module)
        super().__init__(module, graph, type(module).__name__)
        for name, child in self.named_modules():
            self._resemble(child, module.get_submodule(name))
        # A hook that is put on this graph later is one on the module.
        self.__dict__.update({name: hooks for name, hooks in module.__dict__.items() if '_hooks' in name})
        self.__dict__['origin'] = (module, )  # in a tuple it is no part of this module

    @staticmethod
    def _resemble(container: nn.Module, original: nn.Module) -> None:
        """Give a container of the graph the mode of its original, and the order of what is in it.

        That is the order of the parameters, by which the states of optimizers are kept.
        """
        if container is original:  # a layer
            return
        container.training = original.training
        for name in [name for name in original._modules if name in container._modules]:
            container._modules[name] = container._modules.pop(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        return self.origin[0](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """What this graph does not have, the module may."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if 'origin' not in self.__dict__:
                raise
            return getattr(self.__dict__['origin'][0], name)

    def train(self, mode: bool = True) -> ScriptableGraph:
        """Set the mode as the module does."""
        self.origin[0].train(mode)
        self.training = mode
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Take weights as the module does."""
        return self.origin[0].load_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any) -> None:
        self.origin[0]._load_from_state_dict(*args)

    def __deepcopy__(self, memo: dict) -> nn.Module:
        """A copy of the module."""
        return copy.deepcopy(self.origin[0], memo)

    def __reduce__(self) -> Any:
        """The module, for pickle."""
        return _itself, self.origin


def _itself(module: nn.Module) -> nn.Module:
    return module
