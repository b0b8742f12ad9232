"""The model, initial weights and optimizer of a config; frozen parts and modes of the model."""

import logging
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from detectron2.layers import NaiveSyncBatchNorm
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from omegaconf import DictConfig
from torch import nn
from torch._functorch import config as functorch
from torch.nn.modules.batchnorm import _BatchNorm

from roilab.cpu.optimize import optimize, replace_layers
from roilab.device import device_of
from roilab.engine import config
from roilab.engine.checkpoint import Checkpointer, InitialWeights
from roilab.engine.config_keys import full_name, target_of
from roilab.engine.process_invariant import process_invariant, refuse_dependent_layers
from roilab.errors import UserError
from roilab.modeling.box_predictor import WeightedBoxPredictor
from roilab.text import counted

log = logging.getLogger(__name__)


def build_model(cfg: DictConfig, *, training: bool = False) -> nn.Module:
    """The model of a config on its device, freshly initialised, frozen as `train.freeze` says.

    For a training it has the parts that `train.process_invariant` and `data.class_weights` ask for.

    Raises:
        UserError: a node cannot be built, or one of these keys refuses it.
    """
    device = device_of(cfg.train.device)
    invariant = training and cfg.train.process_invariant
    node = process_invariant(cfg) if invariant else cfg.model
    if training and cfg.data.get("class_weights") is not None:
        node = with_class_weights(cfg, node)
    model = config.build(node, "model")
    freeze(model, cfg.train.freeze)
    if device.type == "cpu":
        model = without_sync(model)
    if invariant:
        refuse_dependent_layers(model)
    if cfg.train.cpu_kernels:  # the compiler makes its own for the backbone
        optimize(model.roi_heads if cfg.train.compile else model)
    memory = torch.channels_last if cfg.train.channels_last else torch.contiguous_format
    return model.to(device, memory_format=memory)


def with_class_weights(cfg: DictConfig, model: DictConfig) -> DictConfig:
    """A config's model node, or a variant of it, with `data.class_weights` in its box predictor.

    Raises:
        UserError: it has another box predictor, or another loss.
    """
    predictor: Any = model.roi_heads.get("box_predictor") or {}
    is_stock = "_target_" in predictor and target_of(predictor) is FastRCNNOutputLayers
    if not is_stock or predictor.get("use_sigmoid_ce"):
        raise UserError(
            "the classification loss of this model has no weights for classes",
            key="model.roi_heads.box_predictor",
            found="use_sigmoid_ce=True" if is_stock else predictor.get("_target_"),
            expected=f"{full_name(FastRCNNOutputLayers)}, without use_sigmoid_ce",
            remedy="train.class_balance=null",
        )
    model = model.copy()
    model._set_parent(cfg)  # interpolations lead out of it
    weights = list(cfg.data.class_weights)
    target = full_name(WeightedBoxPredictor)
    model.roi_heads.box_predictor.update(_target_=target, class_weights=weights)
    return model


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze the parameters whose names match a pattern, with * for anything.

    Raises:
        UserError: a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        names = [name for name in parameters if fnmatchcase(name, pattern)]
        if not names:
            expected = f"for example backbone.bottom_up.*; the first is {next(iter(parameters))}"
            message = "no parameter has such a name"
            raise UserError(message, key="train.freeze", found=pattern, expected=expected)
        for name in names:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise UserError("nothing is left to train", key="train.freeze", found=list(patterns))


def without_sync(model: nn.Module) -> nn.Module:
    """The model with BatchNorm in place of SyncBatchNorm, which works on GPUs alone."""
    count = 0

    def plain(layer: nn.Module) -> nn.Module | None:
        nonlocal count
        if not isinstance(layer, nn.SyncBatchNorm | NaiveSyncBatchNorm):
            return None
        count += 1
        norm = nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum, layer.affine)
        norm.weight, norm.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            setattr(norm, name, buffer)
        return norm

    model = replace_layers(model, plain)
    if count:
        layers = counted(count, "SyncBN layer is", "SyncBN layers are")
        log.warning("%s BN on the CPU: statistics of each process alone", layers)
    return model


def train_mode(model: nn.Module, *, keep_statistics: bool = False) -> None:
    """Set training mode, in which a model gives losses.

    BatchNorms keep their statistics where they are wholly frozen, or all of them on request.
    """
    model.train()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            parameters = list(layer.parameters())
            is_frozen = bool(parameters) and not any(p.requires_grad for p in parameters)
            layer.train(not (keep_statistics or is_frozen))


def compile_backbone(model: nn.Module) -> None:
    """Compile the backbone at its first use; where that fails, it runs as it is, which is logged.

    Its gradient is compiled at once, too: a later failure would end the step.
    """
    inductor = torch._dynamo.lookup_backend("inductor")
    failed = False

    def compiled(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        nonlocal failed
        if not failed:
            try:
                with functorch.patch(force_non_lazy_backward_lowering=True):
                    return inductor(graph, inputs)
            except Exception as error:  # of the compiler's many kinds
                failed = True
                cause = getattr(error, "inner_exception", error)
                first_line = str(cause).strip().partition("\n")[0]
                reason = f"{type(cause).__name__}: {first_line}"
                text = "train.compile: the backbone cannot be compiled and runs as it is (%s)"
                log.warning(text, reason)
        return graph.forward

    torch._dynamo.config.suppress_errors = True  # of its own: what it cannot trace runs as it is
    backbone: Any = model.backbone
    backbone.compile(backend=compiled)


def build_optimizer(cfg: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config over the parameters of a model."""
    parameters = config.build(cfg.optimizer.params, "optimizer.params", model=model)
    return config.build(cfg.optimizer, "optimizer", params=parameters)


def weights_of(cfg: DictConfig) -> InitialWeights:
    """The initial weights: those of `train.init_checkpoint`, which may be a name in `weights`."""
    source = cfg.train.init_checkpoint or ""
    entries = cfg.get("weights") or {}
    named = {str(name): entry.get("file", "") for name, entry in entries.items()}
    may_differ = list(cfg.train.may_differ)
    if source in entries:
        may_differ = [*(entries[source].get("may_differ") or ()), *may_differ]
    return InitialWeights(named.get(source, source), may_differ, named)


def load_weights(model: nn.Module, weights: InitialWeights) -> None:
    """Load a checkpoint; parameters that may differ, and do, stay as they are, which is logged.

    Weights of torchvision's R-CNNs are renamed as `roilab.modeling.torchvision_weights` says.

    Raises:
        UserError: the file cannot be read, or does not hold the model's weights.
    """
    source, _, named = weights
    try:
        Checkpointer(model, weights).load(source, checkpointables=[])
    except UserError as error:
        raise error.replace(file=error.file or source, key="train.init_checkpoint") from error
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
