"""How the user's modules are run: evaluating, their weights constant, left as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*modules: object) -> Iterator[None]:
    """Run modules in evaluation mode and without gradients of their weights.

    Gradients with respect to inputs stay on; leaving out those of the weights saves the memory
    of the activations that only they need. Flags are as before on exit.

    Args:
        modules: what is no ``torch.nn.Module`` is left alone.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> with frozen(layer):
        ...     layer.training, layer.weight.requires_grad
        (False, False)
        >>> layer.training, layer.weight.requires_grad
        (True, True)
    """
    networks = [module for module in modules if isinstance(module, nn.Module)]
    training = [m for network in networks for m in network.modules() if m.training]
    learning = [p for network in networks for p in network.parameters() if p.requires_grad]
    # By attribute, not by train() and requires_grad_(): wrappers override these.
    for module in training:
        module.training = False
    for parameter in learning:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad = True
