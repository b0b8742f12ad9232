"""A model, its initial weights and its optimizer, as a config says."""

import logging
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from detectron2.layers import NaiveSyncBatchNorm
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._functorch import config as functorch

from roilab.cpu.kernels import use_cpu_kernels
from roilab.device import device_of
from roilab.engine import config
from roilab.engine.checkpoint import Checkpointer
from roilab.engine.process_invariant import process_invariant, refuse_dependent_layers
from roilab.errors import UserError
from roilab.text import counted

log = logging.getLogger(__name__)


def build_model(cfg: DictConfig, *, training: bool = False) -> nn.Module:
    """The model of a config on its device, freshly initialised and partly frozen, if so wanted.

    Args:
        training: as it is trained, which `train.process_invariant` makes a difference for.

    Raises:
        UserError: a node cannot be built, or not as it is to be trained.
    """
    device = device_of(cfg.train.device)
    invariant = training and cfg.train.process_invariant
    model = config.build(process_invariant(cfg) if invariant else cfg.model, "model")
    freeze(model, cfg.train.freeze)
    if device.type == "cpu":
        model = without_sync(model)
    if invariant:
        refuse_dependent_layers(model)
    if cfg.train.cpu_kernels and not cfg.train.compile:  # the compiler makes its own
        model = use_cpu_kernels(model)
    memory = torch.channels_last if cfg.train.channels_last else torch.contiguous_format
    return model.to(device, memory_format=memory)


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Keep the parameters as they are whose names match, with * for anything.

    Raises:
        UserError: a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        names = [name for name in parameters if fnmatchcase(name, pattern)]
        if not names:
            raise UserError(
                "no parameter has such a name",
                key="train.freeze",
                found=pattern,
                expected=f"for example backbone.bottom_up.*; the first is {next(iter(parameters))}",
            )
        for name in names:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise UserError("nothing is left to train", key="train.freeze", found=list(patterns))


def without_sync(model: nn.Module) -> nn.Module:
    """The model with BatchNorm in place of SyncBatchNorm, which works on GPUs alone."""
    count = 0
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.SyncBatchNorm | NaiveSyncBatchNorm):
                plain = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine)
                plain.__dict__.update(_parameters=norm._parameters, _buffers=norm._buffers)
                setattr(parent, name, plain)
                count += 1
    if count:
        layers = counted(count, "SyncBN layer is", "SyncBN layers are")
        log.warning("%s BN on the CPU: statistics of each process alone", layers)
    return model


def train_mode(model: nn.Module) -> None:
    """Training mode, but for BatchNorms that are frozen whole: they keep their statistics, too."""
    model.train()
    for norm in _batch_norms(model):
        parameters = list(norm.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            norm.eval()


def _batch_norms(model: nn.Module) -> list[nn.Module]:
    kinds = nn.modules.batchnorm._BatchNorm
    return [module for module in model.modules() if isinstance(module, kinds)]


def loss_mode(model: nn.Module) -> None:
    """Training mode in which nothing is learnt: a model gives losses, no BatchNorm counts."""
    model.train()
    for norm in _batch_norms(model):
        norm.eval()


def compile_backbone(model: nn.Module) -> None:
    """Compile the backbone at its first use; where that fails, it stays as it is, which is said.

    Its gradient is compiled at once, too: later, a failure would end the step.
    """
    backbone: Any = model.backbone
    eager = backbone.forward
    compiled = torch.compile(eager)
    failed = False

    def forward(images: Tensor) -> dict[str, Tensor]:
        nonlocal failed
        if not failed:
            try:
                with functorch.patch(force_non_lazy_backward_lowering=True):
                    return compiled(images)
            except Exception as error:  # of the compiler's many kinds
                failed = True
                cause = getattr(error, "inner_exception", error)
                reason = str(cause).strip().splitlines() or [""]
                log.warning(
                    "train.compile: the backbone cannot be compiled and runs as it is (%s: %s)",
                    type(cause).__name__,
                    reason[0],
                )
        return eager(images)

    backbone.forward = forward


def build_optimizer(cfg: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config over the parameters of a model."""
    parameters = config.build(cfg.optimizer.params, "optimizer.params", model=model)
    return config.build(cfg.optimizer, "optimizer", params=parameters)


class InitialWeights(NamedTuple):
    """The weights that a model begins with.

    Attributes:
        source: a path or a URL; "" for none.
        may_differ: names of parameters that may differ, with * for anything.
        named: weights that the config has a name for, name -> path or URL.
    """

    source: str
    may_differ: Sequence[str]
    named: Mapping[str, str]


def weights_of(cfg: DictConfig) -> InitialWeights:
    """The initial weights: those of `train.init_checkpoint`, which may be a name in `weights`."""
    wanted = cfg.train.init_checkpoint or ""
    entries = cfg.get("weights") or {}
    places = {str(name): entry.get("file", "") for name, entry in entries.items()}
    if wanted not in entries:
        return InitialWeights(wanted, list(cfg.train.may_differ), places)
    own = entries[wanted].get("may_differ") or []
    return InitialWeights(places[wanted], [*own, *cfg.train.may_differ], places)


def load_weights(
    model: nn.Module,
    source: str,
    may_differ: Sequence[str] = (),
    named: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Load a checkpoint; parameters that may differ and do are left as they are and logged.

    Weights of torchvision's R-CNNs are renamed as `roilab.modeling.torchvision_weights` says.

    Args:
        source: a path or a URL.
        may_differ: names of parameters, with * for anything.
        named: weights that the config has a name for, name -> path or URL.

    Raises:
        UserError: the file cannot be had, or is not one of the model's weights.
    """
    try:
        Checkpointer(model, may_differ=may_differ, named=named).load(source, checkpointables=[])
    except UserError as error:
        raise UserError(
            error.message,
            file=error.file or source,
            key="train.init_checkpoint",
            found=error.found,
            expected=error.expected,
            remedy=error.remedy,
        ) from error
    except (OSError, *config.UNBUILDABLE) as error:
        remedies = ["check the path or the network"]
        if named.get("torchvision", source) != source:
            remedies.append(
                "take torchvision's COCO weights, which are on another host: "
                "train.init_checkpoint=torchvision"
            )
        remedies.append(
            "train from scratch: train.init_checkpoint='' (with the R50 and R101 configs, "
            "model.backbone.bottom_up.freeze_at=0 too)"
        )
        raise UserError(
            "the initial weights cannot be loaded",
            key="train.init_checkpoint",
            found=f"{source} ({error})",
            expected=", ".join([*named, "a path or a URL"]),
            remedy=", or ".join(remedies),
        ) from error
