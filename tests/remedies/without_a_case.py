"""Remedies that no case follows, and why."""

_TORCHVISION = "tests/modeling/test_torchvision_weights.py follows it"
_MACHINE = "it is for a failure of the machine"
_INSTALLS = "it installs software, which needs the network"

WITHOUT_A_CASE: dict[str, str] = {
    # Notes of writing and joining files.
    "COCO has none, keep the VIA file": "it says what keeps what is lost here",
    # Installing.
    "Detectron2's lazy configs need omegaconf<2.4; run `make setup`, then "
    "`.venv/bin/roilab doctor`": _INSTALLS,
    "see `python scripts/doctor.py`": "it follows an installation that cannot be imported",
    "pip install onnx onnxruntime onnxscript": _INSTALLS,
    "pip install submitit": _INSTALLS,
    "run `make setup`, or pip install streamlit": _INSTALLS,
    "pip install {}": _INSTALLS,
    "{} -m pip install {}": _INSTALLS,
    "run `make setup`, then `.venv/bin/roilab doctor`": _INSTALLS,
    "the tested pair is {}: {}": _INSTALLS,
    "use a newer RoILab": _INSTALLS,
    # Weights of torchvision.
    "set what they need: {}": _TORCHVISION,
    "take them by their name, which brings these settings: train.init_checkpoint=torchvision "
    "{}": _TORCHVISION,
    "take torchvision's COCO weights, which are on another host: "
    "train.init_checkpoint=torchvision": _TORCHVISION,
    # Of the machine.
    "make room: a run folder takes up to 1 GiB": "only its owner can free space on a disk",
    "fewer of them: dataloader.train.num_workers=1, dataloader.test.num_workers=1, or 0 for "
    "none{}": _MACHINE,
    "give the process more, or let it take less: dataloader.train.num_workers=0, "
    "dataloader.test.num_workers=0{}; with a smaller dataloader.train.total_batch_size it is "
    "another training, in a folder of its own": _MACHINE,
    "look at the output of the processes on the other machines; {}": _MACHINE,
    "look for what did, such as the system's log; {}": _MACHINE,
    "go on with resume=true, from {}": "tests/engine/test_kills.py follows it",
    "nothing was saved yet: start again": "there is nothing to be followed",
    # Of other machines.
    "wait for it, or end it": "the process that writes who it is has the lock for milliseconds",
    "wait for it, or end it there; if it is gone with its machine, delete {}, or wait: after {} "
    "minutes without a sign of life it is taken over": "tests/engine/test_lock.py follows it",
    "start the command on each machine within half an hour, with its own machine_rank=RANK and the "
    "same num_machines=MACHINES, num_gpus=GPUS and "
    'dist_url="tcp://HOST:PORT"': "it needs other machines",
    # Not shown by themselves.
    "save it again, or give another file": "it is for an error that has no remedy of its own",
    "put it there": "the error that lists such images has a remedy of its own",
}
