"""The page of ``tools/app.py``, in Gradio; ``cli/app.py`` configures Gradio before this is used."""
from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Sequence

from ..utils.errors import UserError
from .app_models import Limits, Map, Question, Reply

if TYPE_CHECKING:
    import gradio

KEPT = 3600  # seconds that an upload is kept; all are deleted at the end
WAITING = 20  # people in the queue; the next is told to come later
SCORE = 0.3  # the least score of an object that is drawn, to begin with
WAITING_TEXT = 'Choose an image, or an example, and press Run.'
CSS = '''
.gradio-container, .gradio-container > main {width: 100%; max-width: 1280px !important; margin: 0 auto}
#answer {font-size: 1rem; line-height: 1.5}
#answer .error {border-left: 4px solid #d32f2f; padding-left: .6rem}
#picture .image-frame, #map .image-frame {padding-top: 30px}  /* the label hides nothing of the image */
'''
NAME_EXAMPLES = '''() => document.querySelectorAll('button.gallery-item').forEach(
    (button, i) => button.setAttribute('aria-label', NAMES[i]))'''


def build_page(answer: Callable[[Question], Reply], tasks: dict[str, str], limits: Limits,
               examples: Sequence[Path] = ()) -> gradio.Blocks:
    """Build the page.

    Args:
        answer (Callable): Answers a ``Question`` with a ``Reply``, or raises a UserError for the page to show.
        tasks (dict[str, str]): The tasks of models, by their names on the page.
        limits (Limits): What the page takes.
        examples (Sequence[Path]): Images to choose from. Defaults to none.
    """
    import gradio as gr

    def models_of(task: str) -> list[str]:
        return [name for name, its_task in tasks.items() if its_task == task]

    def choose_task(task: str) -> Any:
        return gr.Dropdown(choices=models_of(task), value=models_of(task)[0])

    def run(file: str | None, model: str, score: float, explain: bool) -> tuple:
        try:
            if not file:
                raise UserError('choose an image first')
            reply = answer(Question(model, file, score, explain))
        except UserError as error:
            return error_html(str(error)), None, None
        its_map = reply.map or Map(None, '')
        return (reply_html(reply), gr.Image(reply.picture, alt_text=reply.text),
                gr.Image(its_map.picture, alt_text=its_map.text))

    def redraw(file: str | None, model: str, score: float, explain: bool) -> Any:
        return run(file, model, score, explain) if file else [gr.skip()] * 3

    names = list(dict.fromkeys(tasks.values()))
    with gr.Blocks(title='Res2Net', analytics_enabled=False, delete_cache=(KEPT // 10, KEPT)) as page:
        gr.Markdown('# Res2Net on your image\nThe image goes to the machine that serves this page and to no other, and '
                    'is deleted there after about an hour.')
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                upload = gr.Image(label=f'Image (up to {limits.megabytes:g} MB and {limits.megapixels:g} megapixels)',
                                  type='filepath', sources=['upload', 'clipboard'], height=260, buttons=[],
                                  alt_text='The image that you have chosen')
                take_unread(upload)
                if examples:
                    gr.Examples([str(path) for path in examples], upload, label='Examples', api_visibility='private')
                    labels = [f'Example: {path.stem.replace("_", " ")}' for path in examples]
                    page.load(js=NAME_EXAMPLES.replace('NAMES', json.dumps(labels)))
                task = gr.Radio(names, value=names[0], label='Task')
                model = gr.Dropdown(list(tasks), value=models_of(names[0])[0], label='Model')  # programs may name any
                explain = gr.Checkbox(True, label='Show where the result comes from (Grad-CAM)')
                button = gr.Button('Run', variant='primary')
            with gr.Column(scale=2, min_width=320):
                text = gr.HTML(f'<p>{WAITING_TEXT}</p>', elem_id='answer')
                with gr.Row():
                    result: dict[str, Any] = dict(interactive=False, format='png', buttons=['download'])
                    picture = gr.Image(label='Result', elem_id='picture', **result)
                    shown = gr.Image(label='Where it comes from', elem_id='map', **result)
                score = gr.Slider(0, 1, SCORE, step=0.01, label='Least score of an object that is drawn')
        inputs, outputs = [upload, model, score, explain], [text, picture, shown]
        one_at_a_time: dict[str, Any] = dict(inputs=inputs, outputs=outputs, concurrency_limit=1,
                                             concurrency_id='models')
        gr.on([page.load, task.input], choose_task, task, model, queue=False, api_visibility='private')
        button.click(run, **one_at_a_time, api_name='run', scroll_to_output=True)
        score.input(redraw, **one_at_a_time, trigger_mode='always_last', show_progress='hidden',
                    api_visibility='private')
    return page


def serve_page(page: gradio.Blocks, host: str, port: int, limits: Limits) -> str:
    """Serve the page in a thread.

    Args:
        page (gradio.Blocks): What ``build_page`` returns.
        host (str): The address to listen at.
        port (int): The port to listen at.
        limits (Limits): What the page takes.

    Returns:
        str: The page's address.

    Raises:
        OSError: If the port is taken.
    """
    import gradio as gr
    theme = gr.themes.Default(primary_hue='blue', font=('system-ui', 'sans-serif'),  # fonts that nobody has to fetch
                              font_mono=('ui-monospace', 'monospace'))
    theme.set(body_text_color_subdued='*neutral_600', body_text_color_subdued_dark='*neutral_300')  # for contrast
    _, address, _ = page.queue(max_size=WAITING, api_open=False).launch(
        server_name=host, server_port=port, share=False, ssr_mode=False, pwa=False, mcp_server=False, footer_links=[],
        max_file_size=int(limits.megabytes * 1e6), theme=theme, css=CSS, prevent_thread_lock=True,
        state_session_capacity=100, quiet=True, enable_monitoring=False)
    return address


def take_unread(upload: gradio.Image) -> None:
    """Have an upload reach our function as it is: Gradio would decode it before its size is known.

    A program may also send an address in the place of a file, which Gradio would fetch; that is refused.
    """
    import gradio as gr
    move = upload.async_move_resource_to_block_cache

    async def move_file(file: str | Path | None) -> str | None:
        if str(file).lower().startswith(('http:', 'https:')):
            raise gr.Error('upload a file: this page fetches nothing from other machines')
        return await move(file)

    vars(upload).update(async_move_resource_to_block_cache=move_file,
                        preprocess=lambda payload: payload and payload.path)


def reply_html(reply: Reply) -> str:
    """The result in words, and how long it took."""
    lines = [f'<p>{escape(reply.text)}</p>']
    if reply.map:
        lines.append(f'<p>{escape(reply.map.text)}</p>')
    times = ', '.join(f'{name} {value:.0f} ms' for name, value in reply.times.items())
    return f'<div role="status">{"".join(lines)}<p>Time: {times}.</p></div>'


def error_html(message: str) -> str:
    """A sentence that says what is wrong."""
    sentence = message[:1].upper() + message[1:].rstrip('.') + '.'
    return f'<div role="alert"><p class="error">{escape(sentence)}</p></div>'
