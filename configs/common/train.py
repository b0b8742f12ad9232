"""The knobs of a training run, with their defaults."""

train = dict(
    # The run folder.
    output_dir="outputs/run",
    # Initial weights: a name in `weights` below, a path, or "" for none.
    init_checkpoint="imagenet",
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

# What `train.init_checkpoint` can name. The ImageNet weights follow the depth of the backbone.
weights = dict(
    imagenet="detectron2://ImageNetPretrained/MSRA/R-${model.backbone.bottom_up.stages.depth}.pkl",
)
