"""Settings of a training and of its evaluation, with their defaults."""

from torchvision.models import get_weight

from roilab.modeling import TorchvisionAnchorGenerator

train = dict(
    # These may not change when a run is resumed.
    # Initial weights: a name in `weights` below, a path, or "" for none.
    init_checkpoint="imagenet",
    # Parameters of new parts, with * for anything: the initial weights may lack them, have them in
    # another shape, or have them where the model does not. All other parameters must fit.
    may_differ=[],
    freeze=[],  # parameters that are not trained, with * for anything: [backbone.bottom_up.*]
    seed=0,  # of all random numbers: the same one gives the same weights on a machine's CPU
    # The images per step for which optimizer.lr is meant: for another number it is scaled linearly.
    # None: it stays as it is.
    lr_batch_size=16,
    accumulate=1,  # batches whose gradients make one step
    clip_norm=None,  # the largest norm of all gradients together; None: not clipped
    # The decay of a moving average of the weights, which is evaluated and saved beside them, for
    # example 0.999; None: no average.
    ema=None,
    # float32, bfloat16, float16 (GPUs), or auto: bfloat16 where the hardware computes faster in it.
    precision="auto",
    # Keep images and features with their channels innermost, which makes convolutions faster.
    channels_last=True,
    # RoILab's own convolutions, GroupNorm, RoIAlign, keypoint decoding and use of memory on the CPU
    # (roilab.cpu): faster than torch's, and equal up to rounding. With compile, in the heads alone.
    cpu_kernels=True,
    # Let several processes train like one with the same batch, up to rounding: regions are sampled
    # for each image by its number, and losses are means over the whole batch. Not with layers that
    # mix images: BN (SyncBN works on GPUs), dropout, PointRend's head.
    process_invariant=False,
    # Let an instance weigh the more in the classification loss of the box head, the fewer its class
    # has: the beta of "Class-Balanced Loss" (arXiv 1901.05555), such as 0.999. The weights,
    # data.class_weights, follow from the training set. None: all weigh the same.
    class_balance=None,
    # Keep model_best.pth by a metric of the evaluation: segm/AP, keypoints/AP50, bbox/AP-person,
    # ema/bbox/AP, or val_total_loss. None: no.
    best=None,
    # These may change when a run is resumed: no step depends on them.
    output_dir="outputs/run",  # the run folder
    # 1x or 3x: 12 or 36 epochs of COCO. Steps of the learning rate lie at these shares of the run;
    # those of 3x are 60,000 and 20,000 iterations before its end ("Rethinking ImageNet
    # Pre-training", arXiv 1811.08883). Any other length: max_iter.
    schedule="1x",
    schedules={
        "1x": dict(max_iter=90000, drops=[2 / 3, 8 / 9]),
        "3x": dict(max_iter=270000, drops=[7 / 9, 25 / 27]),
    },
    max_iter="${train.schedules.${train.schedule}.max_iter}",
    device="auto",  # CUDA if it is available, else the CPU
    # torch.compile of the backbone: faster on GPUs, after a minute or more at the first step.
    compile=False,
    # Iterations between two lines of the log, evaluations (0: only at the end), checkpoints.
    log_period=20,
    eval_period=5000,
    checkpoint_period=5000,
    checkpoints_kept=3,
    patience=None,  # stop after this many evaluations without a better one; None: never
    # The share of the training images that may turn out to be unreadable; each is replaced.
    max_unreadable=0.01,
    tracker=None,  # wandb or trackio: log there as well
)

# Settings of the evaluation. A change needs no new training, and may be made when a run is resumed.
evaluation = dict(
    # The number of detections of a class that AP counts in an image, the best by score, and of all
    # detections that the model gives in an image. None: for AP, COCO's 100 for boxes and masks and
    # 20 for keypoints, and for the model, Detectron2's 100; if an image has more objects, their
    # number.
    max_detections=None,
)

# The names for `train.init_checkpoint`, each with its own `may_differ`, and with the `settings` of
# the config that the weights need; overrides come after these. The ImageNet weights follow the
# depth of the backbone; the layers above it are new, and its classifier is not used.
weights = dict(
    imagenet=dict(
        file="detectron2://ImageNetPretrained/MSRA/R-${model.backbone.bottom_up.stages.depth}.pkl",
        may_differ=["backbone.fpn_*", "proposal_generator.*", "roi_heads.*", "stem.fc.*"],
    ),
)

_layers = ("box_predictor", "mask_head.predictor", "keypoint_head.score_lowres")
_LAST = [f"roi_heads.{layer}.*" for layer in _layers]


def zoo(path):
    """Weights of Detectron2's model zoo, whose last layers follow COCO's classes and keypoints."""
    return dict(file=f"detectron2://{path}", may_differ=list(_LAST))


def torchvision_weights(name):
    """Weights of torchvision, by their name there, with the settings that the model needs for them.

    Their host is not the model zoo's, and they are used only on request:
    train.init_checkpoint=torchvision. For a file of your own, add weights.torchvision.file=PATH.
    """
    model = dict(
        input_format="RGB",
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
        backbone=dict(bottom_up=dict(stages=dict(stride_in_1x1=False))),
        proposal_generator=dict(anchor_generator=dict(_target_=TorchvisionAnchorGenerator)),
    )
    settings = dict(model=model, pooler=dict(aligned=False, sampling_ratio=2))
    return dict(file=get_weight(name).url, may_differ=list(_LAST), settings=settings)
