"""Publications pushed to the Hugging Face hub, or to another host with its interface (``HF_ENDPOINT``)."""
from __future__ import annotations

from pathlib import Path

from ..utils.errors import UserError

SILENCE = 120.0  # seconds that the hub may take for an answer; huggingface_hub itself would wait for ever
REASONS = {
    401: 'it does not accept the token; make one with the right to write, and log in again: hf auth login',
    403: 'the token may not write there; is the owner in REPO_ID yours, and has the token the right to write?',
    404: 'there is no such repository, or the token may not see it',
}


class PushError(UserError, OSError):
    """A push did not succeed. The folder on this machine is as before."""


def check_push(repo_id: str) -> None:
    """Check, without a network, that a push can be tried.

    Args:
        repo_id (str): The repository, 'OWNER/NAME'.

    Raises:
        PushError: If huggingface_hub is not installed, the name is not allowed, or there is no token.
    """
    try:
        from huggingface_hub import constants, get_token
        from huggingface_hub.utils import HFValidationError, validate_repo_id
    except ImportError as error:
        raise PushError('--push needs huggingface_hub; first: pip install huggingface_hub') from error
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PushError(f'--push {repo_id}: {error}') from error
    if repo_id.count('/') != 1:
        raise PushError(f'--push {repo_id}: must be OWNER/NAME')
    if constants.HF_HUB_OFFLINE:
        raise PushError('--push: HF_HUB_OFFLINE forbids the network; unset it')
    if not get_token():
        raise PushError('--push: there is no token; log in with: hf auth login, or set HF_TOKEN')


def resolve_url(repo_id: str, file: str) -> str:
    """The address of a file of a repository, which ``load_from`` and ``init_cfg`` take."""
    from huggingface_hub import HfApi
    return f'{HfApi().endpoint}/{repo_id}/resolve/main/{file}'


def push_folder(folder: Path, repo_id: str, private: bool = False) -> None:
    """Push all files of a folder to a repository of models, in one commit; make the repository where there is none.

    Args:
        folder (Path): The folder.
        repo_id (str): The repository, 'OWNER/NAME'.
        private (bool): Make a private repository, and refuse one that is public. Defaults to False.

    Raises:
        PushError: If the host refuses, fails or does not answer, or the repository is public and must not be.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import get_session
    get_session().timeout = SILENCE
    api = HfApi(library_name='res2net_mm')
    try:
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise PushError(f'{repo_id} is public already, and --private was given; nothing was pushed')
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=f'Publish {folder.name}')
    except PushError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = REASONS.get(status) or f'it answered {status}: {error}'
        raise PushError(_explained(folder, repo_id, api.endpoint, reason)) from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # no connection, or an answer without sense
        text = f'{type(error).__name__}: {error}'
        raise PushError(_explained(folder, repo_id, api.endpoint, text)) from error


def _explained(folder: Path, repo_id: str, endpoint: str, reason: str) -> str:
    return (f"{repo_id} on {endpoint}: {reason.rstrip('.')}. '{folder}' is complete; the same command pushes it again")
