"""The knobs of a training run, with their defaults."""

train = dict(
    # The run folder.
    output_dir="outputs/run",
    # Initial weights: a name in `weights` below, a path, or "" for none.
    init_checkpoint="imagenet",
    # Parameters that the initial weights may lack, have in another shape, or have beyond the
    # model's, with * for anything: those of a part that is new. All others must fit.
    may_differ=[],
    max_iter=90000,
    seed=0,
    # auto: CUDA where there is any, else the CPU.
    device="auto",
    # float32, bfloat16, or auto: bfloat16 where the hardware is faster with it.
    precision="float32",
    # The largest norm of all gradients together; None: not clipped.
    clip_norm=None,
    log_period=20,
    eval_period=5000,
    checkpoint_period=5000,
    checkpoints_kept=3,
)

# What `train.init_checkpoint` can name, each with a `may_differ` of its own. The ImageNet weights
# follow the depth of the backbone; the layers above it are new, its classifier is left over.
weights = dict(
    imagenet=dict(
        file="detectron2://ImageNetPretrained/MSRA/R-${model.backbone.bottom_up.stages.depth}.pkl",
        may_differ=["backbone.fpn_*", "proposal_generator.*", "roi_heads.*", "stem.fc.*"],
    ),
)


def zoo(path):
    """Weights of Detectron2's model zoo, whose last layers follow COCO's classes and keypoints."""
    last = ("box_predictor", "mask_head.predictor", "keypoint_head.score_lowres")
    return dict(file=f"detectron2://{path}", may_differ=[f"roi_heads.{layer}.*" for layer in last])
