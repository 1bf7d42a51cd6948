"""What ``tools/train.py`` and ``tools/test.py`` do: any config of any toolbox, through mmengine's Runner."""
import argparse
import functools
import os
import sys
from pathlib import Path

from mmengine.config import ConfigDict, DictAction

from ..datasets.checks import BadDataError, check_data, check_photos, skip_bad_samples

# This module imports mmengine's Runner, and with it torch, only after --device has been read: mmengine decides for a
# device when it is imported.


def stop_at_bad_data(command):
    """End a command with the message of a BadDataError, also of one raised in a process that loads data."""

    @functools.wraps(command)
    def run(argv=None):
        try:
            command(argv)
        except BadDataError as error:
            fail(str(error).rpartition('BadDataError: ')[2].strip())  # what torch puts before it is a traceback

    return run


@stop_at_bad_data
def train(argv=None):
    """Train the model of a config: the command ``tools/train.py``."""
    parser = common_arguments('Train the model of a config.')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from CHECKPOINT, or from the last one in the work directory')
    parser.add_argument('--amp', nargs='?', const='float16', choices=('float16', 'bfloat16'),
                        help='automatic mixed precision in float16 or the type that is given')
    parser.add_argument('--accelerate', action='store_true',
                        help='train the same model faster and in less memory: the same up to rounding')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate from auto_scale_lr.base_batch_size to the actual batch size')
    parser.add_argument('--strict-data', action='store_true',
                        help='stop at the first bad photo or mask of the training data instead of skipping it')
    args = parser.parse_args(argv)
    choose_device(args.device)
    cfg = read_config(args)

    if args.amp:
        use_mixed_precision(cfg, args.amp)
    if args.accelerate:
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='res2net_mm.AccelerateTraining')]
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            fail(f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume

    check_data(cfg, ('train', 'val'))
    check_checkpoint(cfg.get('load_from'))
    skip_bad_samples(cfg, strict=args.strict_data)
    runner = build_runner(cfg, args)
    check_photos(runner.val_loop)
    runner.train()


@stop_at_bad_data
def test(argv=None):
    """Evaluate a checkpoint: the command ``tools/test.py``."""
    parser = common_arguments('Evaluate a checkpoint on the test set of a config.')
    parser.add_argument('checkpoint', help="checkpoint of the whole model; of a classifier also 'res2net_mm://NAME'")
    parser.add_argument('--setting', metavar='NAME', help='how to test, if the config has several test_settings')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the predictions to FILE.pkl')
    parser.add_argument('--accelerate', nargs='?', const='pytorch',
                        choices=('pytorch', 'onnxruntime', 'openvino', 'triton'),
                        help='run a faster copy of the model, by PyTorch or what is given: the same up to rounding')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into DIR')
    parser.add_argument('--wait-time', type=float, default=2, metavar='SECONDS', help='how long --show shows one')
    args = parser.parse_args(argv)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        fail(f'--out {args.out}: must end with .pkl or .pickle')
    choose_device(args.device)
    cfg = read_config(args, args.setting)

    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    check_data(cfg, ('test', ))
    check_checkpoint(args.checkpoint)
    cfg.load_from = None
    if cfg.get('runner_type') == 'FlexibleRunner':
        cfg.pop('runner_type')  # how the model was trained; a whole checkpoint is tested without
    runner = build_runner(cfg, args)
    check_photos(runner.test_loop)
    if args.out:
        from mmengine.evaluator import DumpResults
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    try:
        runner.load_checkpoint(args.checkpoint, strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        fail(f"checkpoint '{args.checkpoint}' for {args.config}: {error}")
    if args.accelerate:
        accelerate_model(runner, args.accelerate)
    runner.test()


def common_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help="config file, or one that a package ships: 'res2net_mm::NAME.py'")
    parser.add_argument('--work-dir', metavar='DIR', help='where logs and checkpoints go (work_dirs/CONFIG)')
    parser.add_argument('--data-root', metavar='DIR', help="take the data from DIR instead of the config's data_root")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override settings of the config: model.backbone.depth=101 test_dataloader.batch_size=4')
    device_argument(parser)
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none',
                        help='what started the processes of a distributed run (tools/dist_train.sh: pytorch)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def device_argument(parser):
    parser.add_argument('--device', metavar='NAME', help='cpu, cuda or cuda:INDEX; by default a GPU if there is one')


def models_arguments(parser, checkpoint):
    """A model and others to compare it with; ``checkpoint`` is what to say of theirs."""
    parser.add_argument('config', help="config file, or one that a package ships: 'res2net_mm::NAME.py'")
    parser.add_argument('checkpoint', help=checkpoint)
    parser.add_argument('--compare', nargs=2, action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='another model to draw beside the first; may be repeated')


def run_tool(run, args):
    """Run what a tool does, on a device that it is given; what its arguments get wrong becomes a message."""
    try:
        run(args, torch_device(args.device))
    except (BadDataError, OSError, ValueError, ModuleNotFoundError) as error:
        fail(error)


def fail(message):
    sys.exit(f'{Path(sys.argv[0]).name}: error: {message}')


def choose_device(name):
    """Have mmengine use the named device as the first that is visible; mmengine.device must not be loaded yet."""
    kind, index = split_device(name)
    if kind == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    elif index:
        os.environ['CUDA_VISIBLE_DEVICES'] = index
    if kind == 'cuda':
        torch_device('cuda')


def torch_device(name):
    """The torch.device of ``--device``; without a name the GPU, if there is one."""
    import torch
    kind, index = split_device(name)
    if kind == 'cuda' and not torch.cuda.device_count() > int(index or 0):
        fail(f'--device {name}: no such CUDA device; use --device cpu')
    return torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))


def split_device(name):
    """The kind and the index of ``--device``, both '' without a name."""
    kind, colon, index = (name or '').partition(':')
    if name and (kind not in ('cpu', 'cuda') or (colon and not (kind == 'cuda' and index.isdigit()))):
        fail(f'--device {name}: must be cpu, cuda or cuda:INDEX')
    return kind, index


def read_config(args, setting=None):
    from ..utils.config import load_config
    try:
        cfg = load_config(args.config)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        fail(error)
    if setting:
        apply_setting(cfg, setting, args.config)
    if args.data_root:
        move_data_root(cfg, args.data_root)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / Path(args.config.rpartition('::')[2]).stem)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return cfg


def apply_setting(cfg, name, config):
    """Merge one of the config's ``test_settings``, a dict of partial configs by name, into the config."""
    settings = cfg.get('test_settings') or {}
    if name not in settings:
        fail(f'--setting {name}: {config} has {"only " + ", ".join(settings) if settings else "no test_settings"}')
    cfg.merge_from_dict(settings[name])


def move_data_root(cfg, root):
    """Replace the config's ``data_root`` wherever a path starts with it."""
    old = cfg.get('data_root') or cfg.train_dataloader.dataset.get('data_root')
    if not old:
        fail('--data-root: this config has no data_root; use --cfg-options')
    root = root.rstrip('/') + '/'

    def moved(value):
        if isinstance(value, dict):
            return type(value)({key: moved(item) for key, item in value.items()})
        if isinstance(value, (list, tuple)):
            return type(value)(moved(item) for item in value)
        if isinstance(value, str) and (value + '/').startswith(old.rstrip('/') + '/'):
            return root + value[len(old):].lstrip('/')
        return value

    for key in list(cfg):
        cfg[key] = moved(cfg[key])


def check_checkpoint(path):
    """Fail, before anything is built, if a checkpoint cannot be read."""
    if not path or '://' in path:
        return
    if not os.path.isfile(path):
        fail(f"checkpoint '{path}' does not exist")
    from ..checkpoints.files import load_from_local
    try:
        load_from_local(path, map_location='cpu')
    except Exception as error:
        fail(f"checkpoint '{path}' cannot be read: {str(error).splitlines()[0]}")


def draw_predictions(cfg, args):
    """Turn on the toolbox's visualization hook; the toolboxes call its switches by different names."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if not hook:
        fail(f'--show and --show-dir: {args.config} has no default_hooks.visualization')
    det_or_seg = hook.type.rpartition('.')[2] in ('DetVisualizationHook', 'SegVisualizationHook')
    hook['draw' if det_or_seg else 'enable'] = True
    hook.show = args.show
    if args.show:
        hook.wait_time = args.wait_time
    if args.show_dir:
        show_dir = os.path.abspath(args.show_dir)  # mmdet would put a relative one inside the work directory
        if 'SegVisualizationHook' in hook.type:
            cfg.visualizer = ConfigDict(cfg.get('visualizer') or {}, save_dir=show_dir)
        else:
            hook['test_out_dir' if det_or_seg else 'out_dir'] = show_dir


def build_runner(cfg, args):
    from mmengine.device import get_device
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from ..checkpoints.files import install_reader
    install_reader()
    if args.launcher != 'none' and get_device() == 'cpu':
        join_cpu_processes(cfg, args.launcher)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def accelerate_model(runner, backend):
    from ..acceleration.backends import accelerate
    wrapped = runner.distributed
    try:
        fast = accelerate(runner.model.module if wrapped else runner.model, backend)
    except (ValueError, ModuleNotFoundError) as error:
        fail(f'--accelerate: {error}')
    if wrapped:
        runner.model.module = fast
    else:
        runner.model = fast


def use_mixed_precision(cfg, dtype):
    """Autocast, with a dynamic loss scale for float16; in bfloat16 a detector's heads stay in float32."""
    if dtype == 'bfloat16' and cfg.get('default_scope') == 'mmdet':
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='res2net_mm.BFloat16Features')]
        return
    from mmengine.device import get_device
    if get_device() == 'cpu':
        fail(f'--amp {dtype}: on the CPU only detectors have mixed precision, --amp bfloat16')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic' if dtype == 'float16' else 1.)


def join_cpu_processes(cfg, launcher):
    """Start gloo, and have the model wrapped without device numbers: mmengine would ask for CUDA devices in both."""
    import torch.distributed
    if launcher != 'pytorch':
        fail(f'--launcher {launcher}: on the CPU only --launcher pytorch (tools/dist_train.sh) works')
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    if cfg.pop('sync_bn', None) and torch.distributed.get_rank() == 0:
        print('sync_bn is left out: batch norms synchronise on GPUs only; here each process has its own statistics')
    if not cfg.get('model_wrapper_cfg'):
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))
