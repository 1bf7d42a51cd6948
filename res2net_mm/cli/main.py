"""Names of cli under one roof, while modules still move."""
from ..utils.config_edits import apply_setting, move_data_root  # noqa: F401
from .arguments import common_arguments, device_argument, models_arguments, read_config  # noqa: F401
from .command import fail, run_tool  # noqa: F401
from .device import choose_device, split_device, torch_device  # noqa: F401
from .runner import build_runner, check_checkpoint, join_cpu_processes  # noqa: F401
from .test import accelerate_model, draw_predictions  # noqa: F401
from .test import main as test  # noqa: F401
from .train import main as train  # noqa: F401
from .train import use_mixed_precision  # noqa: F401
