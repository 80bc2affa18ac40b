"""Excitation backprop: where a classifier sees a class (Zhang et al. 2016; row TD of Table 1).

A winner's chance is passed from each neuron down to those that excite it, in proportion to what
they add to it: P(x_j | y_i) ~ x_j w_ij where that is positive. Summed over the channels of a layer
it is the marginal winning probability (MWP) of each place. The contrastive map is the MWP of the
class less that of everything but it, whose last weights are the negated ones.

Where inputs are negative, as behind the linear bottlenecks of EfficientNet, a neuron's chance goes
to what has the sign of the neuron: P(x_j | y_i) ~ sign(y_i) x_j w_ij where positive. In a network
of ReLUs the two are one. Batch norms are folded into the weights before them; activations pass on
everything, and so does a max pooling to the greatest.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError

# A linear map and its weights: what it makes of (input, weights).
Linear = Callable[[Tensor, Tensor], Tensor]

_WEIGHTED = (nn.Conv2d, nn.Linear)
_POOLED = (nn.AdaptiveAvgPool2d, nn.AvgPool2d)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6)
_AS_IT_IS = (nn.Identity, nn.Dropout, nn.Flatten, nn.MaxPool2d)
_SUMS = (operator.add, operator.iadd, torch.add)
_PLAIN_FUNCTIONS = (torch.flatten, torch.cat)


class _Win(torch.autograd.Function):
    """A linear layer that hands down chances of winning where others hand down gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, weight: Tensor, linear: Linear) -> Tensor:
        ctx.save_for_backward(x, output, weight)
        ctx.linear = linear
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *chances: Tensor) -> tuple[Tensor | None, ...]:
        x, output, weight = ctx.saved_tensors
        return winners_below(x, output, weight, chances[0], ctx.linear), None, None, None


def winners_below(
    x: Tensor, output: Tensor, weight: Tensor, chances: Tensor, linear: Linear
) -> Tensor:
    """What the inputs of a linear layer win of the chances of its outputs, in the shape of `x`.

    Args:
        x: what the layer read.
        output: what it gave, bias included; only signs matter.
        weight: its weights.
        chances: of the outputs; they are shared out linearly and may be negative.
        linear: the layer without its bias, as a function of input and weights.
    """
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    with torch.enable_grad():
        high = x.detach().clamp(min=0).requires_grad_()
        low = x.detach().clamp(max=0).requires_grad_()
        raises, lowers = linear(high, up), linear(high, down)
        if low.any():
            raises, lowers = raises + linear(low, down), lowers + linear(low, up)
        parts = torch.where(output >= 0, raises, -lowers)
        share = torch.where(parts > 0, chances / parts, 0)
        by_high, by_low = torch.autograd.grad(parts, (high, low), share, allow_unused=True)
    return high.detach() * by_high + (0 if by_low is None else low.detach() * by_low)


class _PassOn(torch.autograd.Function):
    """An activation, or a batch norm: each output has one input, which wins with it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor) -> Tensor:
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *chances: Tensor) -> tuple[Tensor | None, ...]:
        return chances[0], None


class _Tracer(fx.Tracer):
    """Down to layers; a batch norm is one together with the activation that timm gives it."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, _BatchNorm) or not any(True for _ in module.children())


class ExcitationNetwork(fx.Interpreter):
    """A classifier whose backward pass hands down chances of winning.

    Raises:
        InputError: a layer is of no known kind, or the last is not linear.
    """

    def __init__(self, classifier: nn.Module) -> None:
        classifier = classifier.eval().requires_grad_(False)
        try:
            graph = _Tracer().trace(classifier)
        except Exception as error:  # torch.fx raises what the network's own code raises
            raise InputError(f"{_refusal(type(classifier))} (it cannot be traced)") from error
        super().__init__(fx.GraphModule(classifier, graph), garbage_collect_values=False)
        self.nodes = [node for node in graph.nodes if node.op != "output"]
        end = self.nodes[-1]
        last = self.fetch_attr(str(end.target)) if end.op == "call_module" else None
        if not isinstance(last, nn.Linear):
            raise InputError(_refusal(type(classifier)))
        self.last = last

    def observe(self, images: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """What the classifier makes of normalised images, (B, 3, H, W).

        Returns:
            The map that the rest is computed from, (B, C, H', W'), the last of at least H / stride
            rows; and what the last layer reads, (B, d). The second hands its chances down to the
            first.
        """
        self.run(images.requires_grad_())
        cuts = _bottlenecks(self.nodes)
        maps = [self.env[n] for n in cuts if self.env[n].ndim == 4]
        tall = list(takewhile(lambda m: m.shape[2] * stride >= images.shape[2], maps))
        return tall[-1], self.env[self.nodes[-1].args[0]]

    def contrast(self, seen: Tensor, read: Tensor, classes: Tensor) -> Tensor:
        """The contrastive MWP of a class of each image: (B, H', W'), at least 0.

        Where nothing is left of it anywhere in an image, as for a class that the classifier does
        not find there, the MWP of the class alone.

        Args:
            seen, read: of `observe`.
            classes: (B,) int64.
        """
        weight = self.last.weight[classes]
        for_class, against = ((read * w).clamp(min=0) for w in (weight, -weight))
        chances = [c / c.sum(dim=1, keepdim=True).clamp(min=1e-12) for c in (for_class, against)]
        maps = _won(seen, read, chances[0] - chances[1])
        nothing = maps.amax(dim=(1, 2), keepdim=True) == 0
        return torch.where(nothing, _won(seen, read, chances[0]), maps) if nothing.any() else maps

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """Run a layer, and tie to its output how its chances are shared out."""
        module, (x, *_) = self.fetch_attr(target), args
        with torch.no_grad():
            output = module(*args, **kwargs)
        if isinstance(module, _WEIGHTED):
            return _Win.apply(x, output, module.weight, _linear(module))
        if isinstance(module, _BatchNorm):
            return self._call_norm(module, x, output)
        if isinstance(module, _POOLED):
            return _Win.apply(x, output, x.new_ones(()), lambda x, one: module(x) * one)
        if isinstance(module, _ACTIVATIONS):
            return _PassOn.apply(x, output)
        if isinstance(module, _AS_IT_IS):
            return module(*args, **kwargs)
        raise InputError(_refusal(type(module)))

    def _call_norm(self, norm: _BatchNorm, x: Tensor, output: Tensor) -> Tensor:
        """A batch norm as part of the convolution before it, which then knows its sign."""
        (source,) = (node for node, value in self.env.items() if value is x)
        layer = self.fetch_attr(str(source.target)) if source.op == "call_module" else None
        if not isinstance(layer, nn.Conv2d):
            raise InputError(_refusal(type(norm)))
        variance = norm.running_var
        if variance is None or not isinstance(source.args[0], fx.Node):
            raise InputError(_refusal(type(norm)))
        scale = norm.weight / (variance + norm.eps).sqrt()
        weight = layer.weight * scale.view(-1, 1, 1, 1)
        return _Win.apply(self.env[source.args[0]], output, weight, _linear(layer))

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """Run a function, likewise."""
        if target in _SUMS and all(isinstance(a, Tensor) for a in args):
            terms = torch.stack(args)
            with torch.no_grad():
                output = args[0] + args[1]
            return _Win.apply(terms, output, terms.new_ones(()), lambda x, one: x.sum(0) * one)
        if target in (functional.relu, functional.relu6):
            return _PassOn.apply(args[0], target(args[0]))
        if target in _PLAIN_FUNCTIONS:
            return target(*args, **kwargs)
        if target is functional.adaptive_avg_pool2d:
            pool = nn.AdaptiveAvgPool2d(args[1])
            return _Win.apply(
                args[0], pool(args[0]), args[0].new_ones(()), lambda x, one: pool(x) * one
            )
        raise InputError(_refusal(target))

    def call_method(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """Methods of tensors that only rearrange them."""
        if target in ("flatten", "view", "reshape", "size"):
            return super().call_method(target, args, kwargs)
        raise InputError(_refusal(target))


def _won(seen: Tensor, read: Tensor, chances: Tensor) -> Tensor:
    """What each place of a map wins of the chances (B, d) of `read`: (B, H', W'), at least 0."""
    (won,) = torch.autograd.grad(read, seen, chances.detach(), retain_graph=True)
    return won.sum(dim=1).clamp(min=0)


def _linear(module: Any) -> Linear:
    """A layer without its bias, as a function of its input and weights."""
    bias = {} if module.bias is None else {"bias": torch.zeros_like(module.bias)}
    return lambda x, weight: functional_call(module, {"weight": weight, **bias}, (x,))


def _bottlenecks(nodes: list[fx.Node]) -> list[fx.Node]:
    """The nodes that all that comes later is computed from, in order."""
    place = {node: i for i, node in enumerate(nodes)}
    found, furthest = [], 0  # the last node that reads anything before this one
    for i, node in enumerate(nodes):
        if furthest <= i:
            found.append(node)
        furthest = max([furthest, *(place[user] for user in node.users if user in place)])
    return found


def _refusal(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    return (
        f"excitation backprop: {name} is of no known kind; choose a classifier of convolutions,"
        " batch norms, ReLUs, poolings and sums that ends in a linear layer"
    )
